"""A backbone, a head and an objective from outside the package, as a user would plug them in by dotted path."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from foretell.config import Config
from foretell.models.backbone import Backbone
from foretell.models.model_config import ModelConfig
from foretell.models.model_spec import ModelSpec
from foretell.nn.embedding import Embedding, TokenEmbedding
from foretell.nn.heads import Head
from foretell.nn.vocabulary import Counts
from foretell.objectives.objective import Objective, ObjectiveConfig
from foretell.types import IGNORED, Batch, Hidden, Inputs, State, Step, Term


class PairsConfig(ModelConfig):
    width: int = 8
    reads: tuple[str, ...] = ("causal", "lengths")

    def build(self, vocabulary: int, counts: Counts | None = None) -> "Pairs":
        return Pairs(self, vocabulary)


class Pairs(Backbone):
    """Knows the present token and nothing else."""

    def __init__(self, config: PairsConfig, vocabulary: int):
        super().__init__()
        self.reads = frozenset(config.reads)
        self.dim = config.width
        self.embedding = TokenEmbedding(vocabulary, config.width)
        self.blocks = nn.ModuleList([nn.Linear(config.width, config.width)])

    def initial_state(self, rows: int, ahead: int = 0) -> State:
        return None

    def forward(self, inputs: Inputs, state: State) -> Hidden:
        x = self.blocks[0](self.embedding(inputs.tokens)).tanh()
        return Hidden(last=x, dropped=x, layers=(x,))


class CosineHeadConfig(Config):
    sharpness: float = 10.0

    def build(
        self, width: int, vocabulary: int, embedding: Embedding | None, counts: Counts | None = None
    ) -> "CosineHead":
        return CosineHead(width, vocabulary, self.sharpness)


class CosineHead(Head):
    """Softmax over cosines."""

    def __init__(self, width: int, vocabulary: int, sharpness: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary, width))
        self.sharpness = sharpness

    def log_probs(self, hidden: Tensor) -> Tensor:
        directions = nn.functional.normalize(self.weight, dim=-1)
        cosines = nn.functional.normalize(hidden, dim=-1) @ directions.t()
        return (self.sharpness * cosines).log_softmax(-1)

    def token_rows(self) -> dict[str, range]:
        return {"weight": range(len(self.weight))}

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return -self.log_probs(hidden).gather(1, targets[:, None])[:, 0]


class TwofoldConfig(ObjectiveConfig):
    second: float = 0.5

    def build(self, spec: ModelSpec) -> "Twofold":
        return Twofold(*spec.build(), self.second)


class Twofold(Objective):
    """The next token, and with a parameter of its own whether it is the same as this one: two terms."""

    needs: ClassVar[frozenset[str]] = frozenset({"causal"})

    def __init__(self, backbone: Backbone, head: Head, second: float):
        super().__init__(backbone, head)
        self.second = second
        self.repeats = nn.Linear(backbone.dim, 1)

    def forward(self, batch: Batch, state: State) -> Step:
        hidden = self.backbone(batch.inputs, state)
        real = batch.targets != IGNORED
        nll = self.head.nll(hidden.last[real], batch.targets[real])
        same = (batch.targets == batch.inputs.tokens)[real].to(nll.dtype)
        again = nn.functional.binary_cross_entropy_with_logits(
            self.repeats(hidden.last[real])[:, 0], same, reduction="sum"
        )
        terms = {"next": Term(nll.sum()), "same": Term(again, self.second)}
        return Step(terms=terms, state=hidden.state)

    def counts(self, batch: Batch) -> Mapping[str, int]:
        number = int((batch.targets != IGNORED).sum())
        return {"next": number, "same": number}
