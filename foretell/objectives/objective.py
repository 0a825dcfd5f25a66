"""The contract between what is learned and the trainer."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from foretell.config import Config
from foretell.data.batches.batches import Batches, BatchKind
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.models.backbone import Backbone
from foretell.models.model_spec import ModelSpec
from foretell.nn.flops import macs_per_token
from foretell.nn.heads import Head
from foretell.objectives.penalties import Penalty
from foretell.types import Batch, State, Step

MeasuredBy = Literal["likelihood", "terms", "task"]
"""likelihood: the probability of text, in nats per token and bits per byte; terms: the terms of the objective, on the
same rows and masks each time; task: the metric of a task, on labelled examples"""


class ObjectiveConfig(Config):
    """What all objectives' settings have in common; abstract."""

    requires: ClassVar[BatchKind] = "next tokens"
    """the batches it learns from; compare `BatchesConfig.provides`"""
    measured_by: ClassVar[MeasuredBy] = "likelihood"
    """how a validation is measured"""
    token_loss: ClassVar[str] = ""
    """figure of a validation that the entropy of token frequencies bounds for a model that learned nothing else; "":
    none"""

    @abstractmethod
    def build(self, spec: ModelSpec) -> Objective:
        """The objective with what it builds of its model."""

    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        """The batches it learns from and is measured on, made of those that `data.batches` gives."""
        return source

    def generator_spec(self, main: ModelSpec) -> ModelSpec | None:
        """Spec of the model trained along with the main one, in submodule `generator`; None if there is none."""
        return None

    def output_notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Sentences about the outputs that their names do not say, for a model card."""
        return ()


class Objective(nn.Module):
    """A function `(batch, state) -> Step` that owns everything trained; abstract: subclasses are final.

    `needs` names what the backbone has to read (see `Backbone.reads`); a backbone that does not is refused here.
    """

    needs: ClassVar[frozenset[str]]

    def __init__(self, backbone: Backbone, head: Head, penalties: tuple[Penalty, ...] = ()):
        super().__init__()
        missing = self.needs - backbone.reads
        if missing:
            raise ConfigError(
                f"objective {type(self).__name__} needs a model that reads {', '.join(sorted(missing))}; "
                f"{type(backbone).__name__} reads {', '.join(sorted(backbone.reads))}"
            )
        self.backbone, self.head, self.penalties = backbone, head, penalties

    @abstractmethod
    def forward(self, batch: Batch, state: State) -> Step:
        """The sums of the losses of one batch [B, T], and the state after it."""

    @abstractmethod
    def counts(self, batch: Batch) -> Mapping[str, int]:
        """What each term's sum is to be divided by, from the batch alone.

        Added up over micro-batches and ranks before the backward pass, so that accumulation, ragged windows and data
        parallelism average exactly. Called on the host's copy of the batch: it costs no device synchronisation.
        """

    def shares(self, counts: Mapping[str, int], number: Mapping[str, int]) -> dict[str, float]:
        """What `Step.metrics` of an evaluation say, added up, of so many targets of each term that there was."""
        return {f"{name}_accuracy": counts.get(name, 0) / of for name, of in number.items()}

    def uniform_loss(self) -> float:
        """What guessing blindly costs, in nats: a training whose loss is far above that is lost."""
        return math.log(self.backbone.embedding.vocabulary)

    def macs_per_token(self, length: int) -> float:
        """Multiplications that one token takes, of rows of `length` tokens; those of matrix products only."""
        return self.backbone.macs_per_token(length) + macs_per_token(self.head)

    def layer_depths(self) -> dict[nn.Parameter, int]:
        """How many layers below the output each parameter lies, for layer-wise rates and unfreezing.

        With L blocks: L + 1 for what the backbone has ahead of them, L - i for block i from 0, and 0 for everything
        behind them. What two places share, such as tied word vectors, counts where it is uppermost.
        """
        block_of = {p: i for i, block in enumerate(self.backbone.blocks) for p in block.parameters()}
        top, ahead = len(self.backbone.blocks), True
        others = {p for part in self.children() if part is not self.backbone for p in part.parameters()}
        layer_depths = dict.fromkeys(self.parameters(), 0)
        for parameter in self.backbone.parameters():
            ahead = ahead and parameter not in block_of
            if parameter not in others:
                layer_depths[parameter] = top + 1 if ahead else top - block_of.get(parameter, top)
        return layer_depths

    def penalty_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint has to keep of the penalties, as `number.name`."""
        penalties = enumerate(self.penalties)
        return {f"{number}.{name}": kept for number, penalty in penalties for name, kept in penalty.tensors().items()}

    def load_penalties(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `penalty_tensors`; onto the device of the parameters."""
        device = next(self.parameters()).device
        for number, penalty in enumerate(self.penalties):
            mine = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{number}.")}
            penalty.load({name.partition(".")[2]: tensor.to(device) for name, tensor in mine.items()})
