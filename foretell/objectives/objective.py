"""The contract between objectives and the trainer."""

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
from foretell.optim.param_groups import LayerDepths
from foretell.types import Batch, State, Step

MeasuredBy = str
"""likelihood: the probability of text, in nats per token and bits per byte; terms: the terms of the objective, on fixed
rows and masks; task: the metric of a task, on labelled examples. The path of a `DataModule` from outside the package,
as "package.module:Class", is another way."""

Part = Literal["backbone", "head", "outputs", "extra"]
"""backbone: reads tokens; head: predicts tokens; outputs: layers that depend on the labels of a task; extra: others,
such as a pooler or a generator"""


class ObjectiveConfig(Config):
    """Base of all objective settings; abstract."""

    requires: ClassVar[BatchKind] = "next tokens"
    """the kind of batches it learns from; compare `BatchesConfig.provides`"""
    measured_by: ClassVar[MeasuredBy] = "likelihood"
    """how it is evaluated"""
    token_loss: ClassVar[str] = ""
    """figure of a validation that the entropy of token frequencies bounds for a model that learned nothing else; "":
    none"""

    @property
    def no_likelihood(self) -> str:
        """Reason it assigns no probability to text, as in "RUN is a masked model"; "" if it assigns one."""
        return "" if self.measured_by == "likelihood" else f'learns with objective.kind = "{self.kind_name()}"'

    def judged_by(self) -> object:
        """A key of the settings that a validation figure depends on: figures compare only where it is equal.

        The likelihood of text depends on none of them, the terms of an objective on all.
        """
        return self if self.measured_by == "terms" else type(self)

    @abstractmethod
    def build(self, spec: ModelSpec) -> Objective:
        """The objective with its model, freshly initialised."""

    def batches(self, source: Batches, tokenizer: Tokenizer, seed: int) -> Batches:
        """The batches for training and evaluation, made from those of `data.batches`."""
        return source

    def generator_spec(self, main: ModelSpec) -> ModelSpec | None:
        """Spec of the model trained along with the main one, in submodule `generator`; None if there is none."""
        return None

    @property
    def has_classes(self) -> bool:
        """Whether every example has one class, so that batches can be balanced."""
        return False

    @property
    def balances(self) -> bool:
        """Whether the loss balances classes."""
        return False

    def output_notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Sentences about the outputs that their names do not say, for a model card."""
        return ()


class Objective(nn.Module):
    """A function `(batch, state) -> Step` that owns all trained parameters; abstract.

    `needs` names what the backbone has to read (see `Backbone.reads`); the constructor raises `ConfigError` for one
    that does not.
    """

    needs: ClassVar[frozenset[str]]
    inherits: ClassVar[frozenset[Part]] = frozenset(("backbone", "head", "outputs", "extra"))
    """parts that have to match those of the run that `init` names; others are taken over if they fit"""

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
        """Sums of losses over a batch [B, T], and the state after it."""

    @abstractmethod
    def counts(self, batch: Batch) -> Mapping[str, float]:
        """The denominator of each term, from the batch alone: its number of targets, or the sum of their weights.

        They are added over micro-batches and ranks before the backward pass, so gradient accumulation, ragged windows
        and data parallelism average exactly. Called on the host's copy of the batch, without device synchronisation.
        """

    def parts(self) -> Mapping[str, Part]:
        """The part each submodule is, by its name; all others are "extra"."""
        return {"backbone": "backbone", "head": "head"}

    def part_of(self, weight: str) -> Part:
        """The part a weight belongs to, from its name."""
        return self.parts().get(weight.partition(".")[0], "extra")

    def ratios(self, counts: Mapping[str, int], targets: Mapping[str, float]) -> dict[str, float]:
        """Metrics of an evaluation, from the sums of `Step.metrics` and the number of targets of each term."""
        return {f"{term}_accuracy": counts.get(term, 0) / number for term, number in targets.items()}

    def uniform_loss(self) -> float:
        """The loss of a uniform guess in nats, all terms included; by default that of one token.

        Training counts as diverged where its loss is far above this and far above that of its first step.
        """
        return math.log(self.backbone.embedding.vocabulary)

    def macs_per_token(self, length: int) -> float:
        """Multiply-accumulates of matrix products per token, in rows of `length` tokens."""
        return self.backbone.macs_per_token(length) + macs_per_token(self.head)

    @property
    def models(self) -> Sequence[Backbone]:
        """The models that are trained; the `backbone` is the main one."""
        return (self.backbone,)

    def layer_depths(self) -> LayerDepths:
        """The number of layers between each parameter and the output, for layer-wise learning rates and unfreezing.

        Shared parameters, such as tied embeddings, take the smaller depth.
        """
        block_of = {p: i for i, block in enumerate(self.backbone.blocks) for p in block.parameters()}
        top, ahead = len(self.backbone.blocks), True
        others = {p for part in self.children() if part is not self.backbone for p in part.parameters()}
        layer_depths = dict.fromkeys(self.parameters(), 0)
        for parameter in self.backbone.parameters():
            ahead = ahead and parameter not in block_of
            if parameter not in others:
                layer_depths[parameter] = top + 1 if ahead else top - block_of.get(parameter, top)
        return LayerDepths(layer_depths, (p for model in self.models for p in model.blocks.parameters()))

    def penalty_tensors(self) -> dict[str, Tensor]:
        """Tensors of the penalties for the checkpoint, as `number.name`."""
        penalties = enumerate(self.penalties)
        return {f"{number}.{name}": value for number, penalty in penalties for name, value in penalty.tensors().items()}

    def load_penalties(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore `penalty_tensors`, on the device of the parameters."""
        device = next(self.parameters()).device
        for number, penalty in enumerate(self.penalties):
            own = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{number}.")}
            penalty.load({name.partition(".")[2]: tensor.to(device) for name, tensor in own.items()})
