"""An objective on a shared backbone and a kind of rows from outside the package, as a user would write them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.config import NonNegative, Size
from foretell.data.batches.batches import Batches, BatchKind, Ints, RowBatches, Text, TextBatchesConfig
from foretell.data.tokenizers.specials import Specials
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.models.model_spec import ModelSpec
from foretell.nn.ragged import real_tokens
from foretell.objectives.electra.objective import ReplacedConfig
from foretell.objectives.masked import MaskedConfig, MaskedLM
from foretell.objectives.objective import MeasuredBy, Objective, ObjectiveConfig
from foretell.types import IGNORED, Batch, Inputs, State, Step, Term

# --- a kind of rows -------------------------------------------------------------------------------


class SlidingConfig(TextBatchesConfig):
    """Rows of equal length that overlap."""

    provides: ClassVar[BatchKind] = "rows"
    batch: Size = 8
    length: Size = 16
    stride: Size = 8

    def build(self, text: Text, specials: Specials, seed: int) -> "Sliding":
        return Sliding(text, specials, self, seed)


class Sliding(RowBatches):
    """`begin text separator` around tokens from every `stride`-th on, in a random order in each epoch."""

    def __init__(self, text: Text, specials: Specials, config: SlidingConfig, seed: int) -> None:
        super().__init__()
        self.text, self.specials, self.batch, self.seed = text, specials, config.batch, seed
        self.length = config.length
        self.starts = np.arange(0, max(len(text.tokens) - config.length + 2, 1), config.stride)  # [R]

    def size(self, epoch: int) -> int:
        return -(-len(self.starts) // self.batch)

    def number(self) -> int:
        return len(self.starts)

    def rows(self, k: int) -> tuple[int, Ints]:
        epoch, place, _ = self.locate(k)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.starts))
        return epoch, order[place * self.batch : (place + 1) * self.batch]

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        return self.pick(self.rows(k)[1])

    def pick(self, rows: Ints) -> Batch:
        index = self.starts[rows][:, None] + np.arange(self.length - 2)  # [B, T - 2]
        text = self.text.tokens[index.clip(max=len(self.text.tokens) - 1)].astype(np.int64)
        tokens = torch.from_numpy(np.pad(text, ((0, 0), (1, 1))))
        tokens[:, 0], tokens[:, -1] = self.specials.begin, self.specials.separator
        inputs = Inputs(tokens=tokens, fresh=torch.ones(len(rows), dtype=torch.bool))
        return Batch(inputs=inputs, targets=torch.full(tokens.shape, IGNORED))


# --- an objective that shares its backbone with another -------------------------------------------


class RepeatedConfig(ObjectiveConfig):
    """Masked tokens, and for every token whether it occurs again in its row."""

    requires: ClassVar[BatchKind] = "rows"
    measured_by: ClassVar[MeasuredBy] = "terms"
    masked: MaskedConfig = MaskedConfig()
    weight: NonNegative = 0.5

    def build(self, spec: ModelSpec) -> "Repeated":
        return Repeated(self, spec)

    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        return self.masked.batches(source, tokenizer, seed)


class Repeated(Objective):
    """Terms: "masked" of a masked model on the same backbone, and "repeated"."""

    needs: ClassVar[frozenset[str]] = frozenset({"bidirectional"})

    def __init__(self, config: RepeatedConfig, spec: ModelSpec):
        backbone, head = spec.build()
        super().__init__(backbone, head)
        self.masked: MaskedLM = config.masked.build(spec.with_built(backbone, head))
        self.weight, self.occurs_again = config.weight, nn.Linear(backbone.dim, 1)

    def forward(self, batch: Batch, state: State) -> Step:
        step = self.masked(batch, state)
        scores = self.occurs_again(self.backbone(batch.inputs, None).dropped)[..., 0]  # [B, T]
        repeated, real = repeats(batch), real_positions(batch)
        losses = F.binary_cross_entropy_with_logits(scores, repeated.to(scores.dtype), reduction="none")
        metrics = {} if self.training else {"repeated": (((scores > 0) == repeated) & real).sum()}
        terms = {**step.terms, "repeated": Term((losses * real).sum(), self.weight)}
        return Step(terms=terms, metrics={**step.metrics, **metrics})

    def counts(self, batch: Batch) -> Mapping[str, int]:
        return {**self.masked.counts(batch), "repeated": batch.tokens}


def repeats(batch: Batch) -> Tensor:
    """[B, T] bool: whether a token, as it was before masking, occurs again in its row."""
    tokens = torch.where(batch.targets != IGNORED, batch.targets, batch.inputs.tokens)
    return (tokens[:, :, None] == tokens[:, None]).sum(-1) > 1


def real_positions(batch: Batch) -> Tensor:
    """[B, T] bool: positions that are not padding."""
    if batch.inputs.lengths is None:
        return torch.ones_like(batch.targets, dtype=torch.bool)
    return real_tokens(batch.targets.shape[1], batch.inputs.lengths)


RECIPE: dict[str, Any] = {
    "limit": "30steps",
    "data": {
        "tokenizer": {"kind": "word", "specials": "bert"},
        "batches": {"kind": "outside_rows:SlidingConfig", "batch": 4, "length": 12, "stride": 5},
    },
    "model": {"kind": "transformer", "layers": 1, "hidden": 16, "heads": 2, "context": 16, "direction": "both"},
    "objective": {"kind": "outside_rows:RepeatedConfig", "weight": 0.25},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "evaluation": {"every": "10steps"},
    "checkpoint": {"every": "10steps"},
}


# --- the same on a shared ELECTRA -----------------------------------------------------------------


class HeavyConfig(ObjectiveConfig):
    """ELECTRA, whose loss is far above that of one token, and the parity of a row's first token."""

    requires: ClassVar[BatchKind] = "rows"
    measured_by: ClassVar[MeasuredBy] = "terms"
    inner: ReplacedConfig = ReplacedConfig()

    def build(self, spec: ModelSpec) -> "Heavy":
        return Heavy(self, spec)

    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        return self.inner.batches(source, tokenizer, seed)


class Heavy(Objective):
    """Two objectives on one backbone and one head."""

    needs = frozenset({"bidirectional"})

    def __init__(self, config: HeavyConfig, spec: ModelSpec) -> None:
        backbone, head = spec.build()
        super().__init__(backbone, head)
        self.inner = config.inner.build(spec.with_built(backbone, head))
        self.parity = nn.Linear(backbone.dim, 1)

    def forward(self, batch: Batch, state: State) -> Step:
        step = self.inner(batch, state)
        scores = self.parity(self.backbone(batch.inputs, None).dropped[:, 0])[:, 0]  # [B]
        odd = (batch.inputs.tokens[:, 1] % 2).to(scores.dtype)
        loss = F.binary_cross_entropy_with_logits(scores, odd, reduction="sum")
        return Step(terms={**step.terms, "parity": Term(loss)}, metrics=step.metrics)

    def counts(self, batch: Batch) -> Mapping[str, int]:
        return {**self.inner.counts(batch), "parity": len(batch.targets)}
