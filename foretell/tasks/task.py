"""The contract of tasks: objectives that learn from labelled examples, and tell of new ones what they have learnt.

A task has two sides. Its settings say how examples become rows and what scores mean, and know nothing of tensors that
are trained; its objective is a backbone with a few layers on top. B examples, n readings of each, N = B x n texts,
T places, D width, L labels.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foretell.config import Config, NonNegative, Rate, Size, Width
from foretell.data.batches.batches import BatchKind
from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import BadRow, Example
from foretell.data.labelled.opening import refusal
from foretell.errors import ConfigError, printable
from foretell.evaluate.metric_sums import Tally
from foretell.models.model_spec import ModelSpec
from foretell.nn.flops import macs_per_token
from foretell.nn.heads.head import NoHead
from foretell.nn.initializers import NormalConfig
from foretell.objectives.objective import MeasuredBy, Objective, ObjectiveConfig
from foretell.types import IGNORED, Batch, Hidden, Inputs, State, Step, Term

Scores = NDArray[Any]
"""what a model says of one row, as its task understands it"""
PLURALS = {"Labelled": "labelled texts", "Choice": "choices", "Tagged": "tagged words", "Question": "questions"}
log = logging.getLogger("foretell")


@dataclass(frozen=True)
class Prediction:
    """What a model says of an example; abstract."""

    def record(self) -> dict[str, Any]:
        """As it is written in JSON."""
        return asdict(self)

    @abstractmethod
    def line(self) -> str:
        """As it is written on a line."""


class OutputsConfig(Config):
    """The layers between what a text is for the model and what is said of it."""

    hidden: Width | None = None
    """width of a layer in between, with ReLU; absent: none"""
    dropout: Rate = 0.1
    """ahead of every layer"""
    initial: NormalConfig = NormalConfig()

    def build(self, width: int, outputs: int) -> nn.Sequential:
        """From vectors of that width to so many numbers."""
        inner: list[nn.Module] = []
        if self.hidden is not None:
            inner = [nn.Dropout(self.dropout), self.linear(width, self.hidden), nn.ReLU()]
        return nn.Sequential(*inner, nn.Dropout(self.dropout), self.linear(self.hidden or width, outputs))

    def linear(self, width: int, outputs: int) -> nn.Linear:
        """A layer as it begins."""
        layer = nn.Linear(width, outputs)
        self.initial.fill(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer


class TaskConfig(ObjectiveConfig):
    """What all tasks have in common; abstract."""

    requires: ClassVar[BatchKind] = "examples"
    measured_by: ClassVar[MeasuredBy] = "task"
    takes: ClassVar[type]
    """the class of its examples"""
    metric: str
    """what a validation is judged by"""
    outputs: OutputsConfig = OutputsConfig()
    language_weight: NonNegative = 0.0
    """of the loss of the next token, learnt beside (GPT: 0.5); for models that predict it"""
    gradient_length: Size | None = None
    """recurrent models: how many of a long text's last tokens gradients go through (ULMFiT: 1400); absent: all"""

    @abstractmethod
    def names(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """The labels of a training split, which the run keeps; empty where there are none."""

    def misfit(self, names: tuple[str, ...]) -> str:
        """Why these cannot be the labels of a run of this task, if so."""
        return ""

    def fitted(self, validation: Mapping[str, Any]) -> Self:
        """The settings with what a validation found best of those that are left open."""
        return self

    def unreadable(self, example: Any, names: tuple[str, ...]) -> str:
        """Why nothing can be said of an example, if so."""
        return ""

    @abstractmethod
    def complaint(self, example: Any, names: tuple[str, ...]) -> str:
        """Why an example cannot be learnt from, if so."""

    @abstractmethod
    def rows(self, examples: Sequence[Any], framing: Framing, names: tuple[str, ...]) -> list[Row]:
        """What is read of examples, in their order; without labels where one has none."""

    @abstractmethod
    def predictions(
        self, examples: Sequence[Any], rows: Sequence[Row], scores: Sequence[Scores], names: tuple[str, ...]
    ) -> list[Any]:
        """What scores of rows mean for each example."""

    @abstractmethod
    def measure(self, examples: Sequence[Any], predictions: Sequence[Any]) -> dict[str, Any]:
        """How right they are, by name of the metric; `metric` is among them."""

    @abstractmethod
    def tally(self, examples: Sequence[Any], predictions: Sequence[Any]) -> Tally:
        """What each example adds to `metric`."""

    def by_label(self, examples: Sequence[Any], predictions: Sequence[Any]) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and number of each label; empty where there are no labels."""
        return {}

    def prepare(self) -> None:
        """A `ConfigError` where a library is missing that `measure` takes."""

    @abstractmethod
    def parse_line(self, line: str, where: str) -> Example:
        """An example without labels as people type it; a `ConfigError` if it is none."""

    def accept(self, examples: Sequence[Example]) -> None:
        """A `ConfigError` where examples are those of another task."""
        wanted = PLURALS[self.takes.__name__]
        for example in examples:
            if not isinstance(example, self.takes):
                raise ConfigError(
                    f'objective.kind = "{self.kind_name()}" learns from {wanted}, and {example.where} has '
                    f"{PLURALS[type(example).__name__]}; name another objective, or another data.corpus or reader"
                )

    def readable(self, examples: Sequence[Example], names: tuple[str, ...]) -> Sequence[Example]:
        """The examples to predict; a `ConfigError` where nothing can be said of one."""
        self.accept(examples)
        for example in examples:
            if found := self.unreadable(example, names):
                raise ConfigError(f"{example.where}: {found}")
        return examples

    def usable(self, examples: Sequence[Example], names: tuple[str, ...], skip_bad: bool = False) -> list[Example]:
        """The examples, refused where some are none of this task, all at once, or without these, which are counted."""
        self.accept(examples)
        bad = {i: BadRow(e.where, found) for i, e in enumerate(examples) if (found := self.complaint(e, names))}
        if not bad:
            return list(examples)
        told = list(bad.values())
        if not skip_bad or len(bad) == len(examples):
            raise refusal("data.corpus", told, len(examples) - len(bad))
        log.warning("left out %d of %d examples; the first: %s", len(bad), len(examples), printable(str(told[0])))
        return [example for i, example in enumerate(examples) if i not in bad]


class Task(Objective):
    """A backbone with layers on top; abstract. Terms: its own, and "language" where next tokens are learnt beside."""

    needs: ClassVar[frozenset[str]] = frozenset()
    term: ClassVar[str]

    def __init__(self, config: TaskConfig, spec: ModelSpec):
        backbone = spec.backbone()
        super().__init__(backbone, spec.head_on(backbone) if config.language_weight else NoHead())
        self.language_weight, self.gradient_length = config.language_weight, config.gradient_length
        if self.language_weight and "causal" not in backbone.reads:
            raise ConfigError(
                "objective.language_weight: this model does not predict the next token, so there is nothing to learn "
                "beside; leave it out"
            )
        if self.gradient_length is not None and "recurrence" not in backbone.reads:
            raise ConfigError(
                "objective.gradient_length: this model reads a text at once, not step by step; leave it out"
            )

    # --- the contract of objectives ---------------------------------------------------------------

    def forward(self, batch: Batch, state: State) -> Step:
        """See `Objective.forward`."""
        hidden = self.read(batch.inputs)
        assert batch.labels is not None
        terms = {self.term: Term(self.loss(self.scores(hidden.dropped, batch.inputs), batch.labels))}
        if self.language_weight:
            terms["language"] = Term(self.language_loss(hidden.dropped, batch.targets), self.language_weight)
        return Step(terms=terms)

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """See `Objective.counts`."""
        assert batch.labels is not None
        counts = {self.term: self.decisions(batch.labels)}
        return counts | ({"language": int((batch.targets != IGNORED).sum())} if self.language_weight else {})

    def macs_per_token(self, length: int) -> float:
        """See `Objective.macs_per_token`: what is on top is asked once a row, but of tags."""
        return (
            self.backbone.macs_per_token(length)
            + self.macs_on_top() / length
            + (macs_per_token(self.head) if self.language_weight else 0)
        )

    def macs_on_top(self) -> int:
        """Multiplications that one row takes on top of the backbone."""
        return macs_per_token(self) - macs_per_token(self.backbone) - macs_per_token(self.head)

    # --- what tasks differ in ---------------------------------------------------------------------

    @abstractmethod
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """vectors [N, T, D] of a batch -> what is said of it [B, ...]"""

    @abstractmethod
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """scores [B, ...], labels [B, ...] -> [] the sum of losses over what is labelled"""

    def decisions(self, labels: Tensor) -> int:
        """Of how many things that is the sum."""
        return int((labels != IGNORED).sum())

    def told(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """Scores [B, ...] of these rows as they are kept and understood by the settings: as probabilities, where they
        are some."""
        return scores

    # --- reading ----------------------------------------------------------------------------------

    def read(self, inputs: Inputs) -> Hidden:
        """What the backbone makes of the N readings of a batch, each for itself, gradients through the last part."""
        flat = each_reading(inputs)
        if "positions" in self.backbone.reads and "causal" in self.backbone.reads:
            flat = replace(flat, positions=places_of(flat.tokens))  # whole texts: no keys and values need be kept
        steps, last = flat.tokens.shape[1], self.gradient_length
        if last is None or steps <= last or not self.training:
            return self.backbone(flat, None)  # type: ignore[no-any-return]
        with torch.no_grad():
            early = self.backbone(between(flat, 0, steps - last), None)
        late = self.backbone(between(flat, steps - last, steps), early.state)
        return Hidden(last=torch.cat([early.last, late.last], 1), dropped=torch.cat([early.dropped, late.dropped], 1))

    def language_loss(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """vectors [N, T, D], targets [B, T] or [B, n, T] -> [] sum of -log p(next token)"""
        wanted = targets.flatten()
        valid = wanted != IGNORED
        nll = self.head.nll(vectors.flatten(0, 1), wanted.masked_fill(~valid, 0))
        return (nll * valid).sum()


def each_reading(inputs: Inputs) -> Inputs:
    """[B, n, T] as [N, T]; what is [B, T] already stays."""
    if inputs.tokens.dim() == 2:
        return inputs
    lengths, segments = inputs.lengths, inputs.segments
    return Inputs(
        tokens=inputs.tokens.flatten(0, 1),
        lengths=None if lengths is None else lengths.flatten(),
        segments=None if segments is None else segments.flatten(0, 1),
    )


def places_of(tokens: Tensor) -> Tensor:
    """[N, T] the place of each token in its text"""
    return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)


def between(inputs: Inputs, begin: int, end: int) -> Inputs:
    """Some places of all rows."""
    lengths = None if inputs.lengths is None else (inputs.lengths - begin).clamp(0, end - begin)
    return Inputs(tokens=inputs.tokens[:, begin:end], lengths=lengths)
