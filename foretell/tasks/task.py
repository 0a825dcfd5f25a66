"""The contract of tasks: objectives that learn from labelled examples and predict new ones.

A task has two sides. Its settings turn examples into rows and scores into predictions, without any weights; its
objective is a backbone with a few layers on top. B examples, n readings of each, N = B x n texts, T positions,
D width, L labels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, NonNegative, Rate, Size, Width
from foretell.data.batches.batches import BatchKind
from foretell.data.batches.framing import Framing, Row
from foretell.data.files import tell
from foretell.data.labelled.examples import BadRow, Example
from foretell.data.labelled.opening import refusal
from foretell.data.labelled.words import Splitting
from foretell.errors import ConfigError, printable
from foretell.evaluate.calibration import calibration
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import confusion
from foretell.models.model_spec import ModelSpec
from foretell.nn.flops import macs_per_token
from foretell.nn.heads.head import NoHead
from foretell.nn.initializers import NormalConfig
from foretell.objectives.objective import MeasuredBy, Objective, ObjectiveConfig, Part
from foretell.results import Result
from foretell.types import IGNORED, Batch, Hidden, Inputs, State, Step, Term
from foretell.units import counted

Scores = NDArray[Any]
"""the output of a model for one row, as its task reads it"""
PLURALS = {"Labelled": "labelled texts", "Choice": "choices", "Tagged": "tagged words", "Question": "questions"}


@dataclass(frozen=True)
class Prediction(Result):
    """The prediction for one example; abstract."""

    def record(self) -> dict[str, Any]:
        """The prediction as JSON."""
        return asdict(self)

    @abstractmethod
    def line(self) -> str:
        """The prediction as a line of text."""


class Mistake(NamedTuple):
    """A wrong prediction; with scores, a prediction and how far it is off."""

    gold: str
    predicted: str
    probability: float | None
    """of what was predicted; None for scores"""
    text: str
    """as `foretell predict` reads it"""
    where: str
    """file and line of the example"""
    size: float
    """by which mistakes are sorted, the worst first; between mistakes of one task"""


class OutputsConfig(Config):
    """Output layers on the pooled vector, or on each token."""

    hidden: Width | None = None
    """width of a hidden layer with ReLU; absent: none"""
    dropout: Rate = 0.1
    """before each layer"""
    initial: NormalConfig = NormalConfig()
    """initial weights"""

    def build(self, width: int, outputs: int) -> nn.Sequential:
        """Layers from `width` to `outputs`."""
        inner: list[nn.Module] = []
        if self.hidden is not None:
            inner = [nn.Dropout(self.dropout), self.linear(width, self.hidden), nn.ReLU()]
        return nn.Sequential(*inner, nn.Dropout(self.dropout), self.linear(self.hidden or width, outputs))

    def linear(self, width: int, outputs: int) -> nn.Linear:
        """A layer with initial weights."""
        layer = nn.Linear(width, outputs)
        self.initial.fill(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer


class TaskConfig(ObjectiveConfig):
    """Base of all task settings; abstract."""

    requires: ClassVar[BatchKind] = "examples"
    measured_by: ClassVar[MeasuredBy] = "task"
    takes: ClassVar[type]
    """the class of its examples"""
    predicts: ClassVar[type[Prediction]]
    """the class of its predictions"""
    cuts_texts: ClassVar[bool] = True
    """whether texts that are too long are cut; otherwise they are read in parts"""
    metric: str
    """metric that validation is judged by"""
    outputs: OutputsConfig = OutputsConfig()
    language_weight: NonNegative = 0.0
    """weight of an auxiliary next-token loss (GPT: 0.5); for models that predict the next token"""
    gradient_length: Size | None = None
    """recurrent models: back-propagate through this many last tokens of a long text (ULMFiT: 1400); absent: all"""

    @property
    @override
    def no_likelihood(self) -> str:
        return "was fine-tuned for a task"

    @override
    def judged_by(self) -> object:
        return type(self), self.metric

    @abstractmethod
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """The labels of a training split, which the run keeps; empty where there are none."""

    def labels_fault(self, labels: tuple[str, ...]) -> str:
        """Reason these cannot be the labels of this task, or ""."""
        return ""

    def fitted(self, validation: Mapping[str, Any]) -> Self:
        """The settings, with those left unset taken from a validation record."""
        return self

    def input_fault(self, example: Any, labels: tuple[str, ...]) -> str:
        """Reason the example cannot be predicted, or ""."""
        return ""

    @abstractmethod
    def example_fault(self, example: Any, labels: tuple[str, ...]) -> str:
        """Reason the example cannot be learned from, or ""."""

    @abstractmethod
    def rows(self, examples: Sequence[Any], framing: Framing, labels: tuple[str, ...]) -> list[Row]:
        """The rows of the examples, in their order; unlabelled where the example is."""

    def label_weights(self, rows: Sequence[Row], labels: tuple[str, ...]) -> dict[str, float]:
        """The weight of each label in the training loss, from the training rows; empty: all are 1."""
        return {}

    def weighted(self, rows: Sequence[Row], labels: tuple[str, ...]) -> list[Row]:
        """The training rows with the weights of their labels."""
        return list(rows)

    @abstractmethod
    def predictions(
        self, examples: Sequence[Any], rows: Sequence[Row], scores: Sequence[Scores], labels: tuple[str, ...]
    ) -> list[Any]:
        """The prediction for each example, from the scores of its rows."""

    @abstractmethod
    def measure(self, examples: Sequence[Any], predictions: Sequence[Any]) -> dict[str, Any]:
        """Metrics by name; `metric` is among them."""

    @abstractmethod
    def tally(self, examples: Sequence[Any], predictions: Sequence[Any]) -> Tally:
        """The contribution of each example to `metric`."""

    def by_label(self, examples: Sequence[Any], predictions: Sequence[Any]) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support of each label; empty where there are no labels."""
        return {}

    def confused(self, examples: Sequence[Any], predictions: Sequence[Any]) -> list[tuple[str, str]]:
        """Gold and predicted label of each decision, for a confusion matrix; empty where labels exclude no others."""
        return []

    def confidences(self, examples: Sequence[Any], predictions: Sequence[Any]) -> list[tuple[float, bool]]:
        """The probability of each decision, and whether it is right; empty where there are no probabilities."""
        return []

    def mistakes(self, examples: Sequence[Any], predictions: Sequence[Any]) -> list[Mistake]:
        """The wrong predictions, in any order."""
        return []

    def details(self, examples: Sequence[Any], predictions: Sequence[Any]) -> dict[str, Any]:
        """Results by label (`by_label`), `confusion` and `calibration`; absent where empty."""
        confidences = self.confidences(examples, predictions)
        found = {
            "by_label": self.by_label(examples, predictions),
            "confusion": confusion(self.confused(examples, predictions)),
            "calibration": calibration(confidences) if confidences else {},
        }
        return {name: value for name, value in found.items() if value}

    @abstractmethod
    def parse_line(self, line: str, where: str) -> Example:
        """An unlabelled example from a line of text; a `ConfigError` if it is none."""

    def splitting(self, words: Splitting) -> Self:
        """The settings with another way to split a line into words; a `ConfigError` for tasks that split none."""
        raise ConfigError(
            f'objective.kind = "{self.kind_name()}" reads whole texts, and splits no words; leave out --words'
        )

    def no_prediction(self) -> dict[str, None]:
        """The record of an empty line: every field of a prediction is null."""
        return dict.fromkeys(item.name for item in fields(self.predicts))

    def check_type(self, examples: Sequence[Example]) -> None:
        """Raise `ConfigError` where examples are those of another task."""
        wanted = PLURALS[self.takes.__name__]
        for example in examples:
            if not isinstance(example, self.takes):
                raise ConfigError(
                    f'objective.kind = "{self.kind_name()}" learns from {wanted}, and {example.where} has '
                    f"{PLURALS[type(example).__name__]}; name another objective, or another data.corpus or reader"
                )

    def check_inputs(self, examples: Sequence[Example], labels: tuple[str, ...]) -> None:
        """Raise `ConfigError` where an example cannot be predicted."""
        self.check_type(examples)
        for example in examples:
            if fault := self.input_fault(example, labels):
                raise ConfigError(f"{example.where}: {fault}")

    def usable_examples(
        self, examples: Sequence[Example], labels: tuple[str, ...], skip_bad: bool = False
    ) -> list[Example]:
        """The examples that can be learned from.

        A `ConfigError` lists all that cannot, unless `skip_bad` leaves them out with a warning.
        """
        self.check_type(examples)
        bad = {i: BadRow(e.where, fault) for i, e in enumerate(examples) if (fault := self.example_fault(e, labels))}
        if not bad:
            return list(examples)
        faults = list(bad.values())
        if not skip_bad or len(bad) == len(examples):
            raise refusal("data.corpus", faults, len(examples) - len(bad))
        lost = f"{len(bad):,} of {counted(len(examples), 'example')}"
        tell(f"left out {lost}; the first: {printable(str(faults[0]))}")
        return [example for i, example in enumerate(examples) if i not in bad]


class Task(Objective):
    """A backbone with output layers; abstract. Terms: its own, and "language" with `language_weight`."""

    needs: ClassVar[frozenset[str]] = frozenset()
    inherits: ClassVar[frozenset[Part]] = frozenset(("backbone",))
    term: ClassVar[str]

    def __init__(self, config: TaskConfig, spec: ModelSpec):
        backbone = spec.backbone()
        super().__init__(backbone, spec.head_on(backbone) if config.language_weight else NoHead())
        self.language_weight, self.gradient_length = config.language_weight, config.gradient_length
        if self.language_weight and "causal" not in backbone.reads:
            raise ConfigError(
                "objective.language_weight: this model does not predict the next token, so there is no language loss "
                "to add; leave it out"
            )
        if self.gradient_length is not None and "recurrence" not in backbone.reads:
            raise ConfigError(
                "objective.gradient_length: this model reads a text at once, not step by step; leave it out"
            )

    # --- the contract of objectives ---------------------------------------------------------------

    @override
    def forward(self, batch: Batch, state: State) -> Step:
        hidden = self.read(batch.inputs)
        assert batch.labels is not None
        terms = {self.term: Term(self.batch_loss(self.scores(hidden.dropped, batch.inputs), batch))}
        if self.language_weight:
            terms["language"] = Term(self.language_loss(hidden.dropped, batch.targets), self.language_weight)
        return Step(terms=terms)

    @override
    def counts(self, batch: Batch) -> Mapping[str, float]:
        assert batch.labels is not None
        weights = batch.label_weights
        counts = {self.term: self.decisions(batch.labels) if weights is None else float(weights.double().sum())}
        return counts | ({"language": int((batch.targets != IGNORED).sum())} if self.language_weight else {})

    @override
    def parts(self) -> Mapping[str, Part]:
        return {**super().parts(), "outputs": "outputs"}

    @override
    def macs_per_token(self, length: int) -> float:
        """The output layers run once per row, except for tagging and answering."""
        return (
            self.backbone.macs_per_token(length)
            + self.output_macs() / length
            + (macs_per_token(self.head) if self.language_weight else 0)
        )

    def output_macs(self) -> int:
        """Multiplications of the output layers for one vector."""
        return macs_per_token(self) - macs_per_token(self.backbone) - macs_per_token(self.head)

    # --- what tasks differ in ---------------------------------------------------------------------

    @abstractmethod
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """Vectors [N, T, D] of a batch -> raw scores [B, ...]."""

    @abstractmethod
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Scores [B, ...], labels [B, ...] -> the sum of losses [] over what is labelled."""

    def batch_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """`loss` of a training batch; overridden by tasks that weigh labels (`Batch.label_weights`)."""
        assert batch.labels is not None
        return self.loss(scores, batch.labels)

    def decisions(self, labels: Tensor) -> int:
        """Number of losses in that sum."""
        return int((labels != IGNORED).sum())

    def probabilities(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """Scores [B, ...] of these rows as `TaskConfig.predictions` reads them: probabilities, where there are some."""
        return scores

    # --- reading ----------------------------------------------------------------------------------

    def read(self, inputs: Inputs) -> Hidden:
        """Hidden vectors of the N readings of a batch, each from a fresh state; see `gradient_length`."""
        flat = each_reading(inputs)
        if "positions" in self.backbone.reads and "causal" in self.backbone.reads:
            flat = replace(flat, positions=positions_of(flat.tokens))  # explicit positions build no key/value cache
        steps, last = flat.tokens.shape[1], self.gradient_length
        if last is None or steps <= last or not self.training:
            return self.backbone(flat, None)  # type: ignore[no-any-return]
        with torch.no_grad():
            early = self.backbone(between(flat, 0, steps - last), None)
        late = self.backbone(between(flat, steps - last, steps), early.state)
        return Hidden(last=torch.cat([early.last, late.last], 1), dropped=torch.cat([early.dropped, late.dropped], 1))

    def language_loss(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """Vectors [N, T, D], targets [B, T] or [B, n, T] -> the sum of -log p(next token) []."""
        flat = targets.flatten()
        valid = flat != IGNORED
        nll = self.head.nll(vectors.flatten(0, 1), flat.masked_fill(~valid, 0))
        return (nll * valid).sum()


def each_reading(inputs: Inputs) -> Inputs:
    """Inputs [B, n, T] as [N, T]; [B, T] is returned as it is."""
    if inputs.tokens.dim() == 2:
        return inputs
    lengths, segments = inputs.lengths, inputs.segments
    return Inputs(
        tokens=inputs.tokens.flatten(0, 1),
        lengths=None if lengths is None else lengths.flatten(),
        segments=None if segments is None else segments.flatten(0, 1),
    )


def positions_of(tokens: Tensor) -> Tensor:
    """Positions [N, T] of tokens [N, T], from 0."""
    return torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)


def between(inputs: Inputs, begin: int, end: int) -> Inputs:
    """Positions `begin` to `end` of all rows."""
    lengths = None if inputs.lengths is None else (inputs.lengths - begin).clamp(0, end - begin)
    return Inputs(tokens=inputs.tokens[:, begin:end], lengths=lengths)
