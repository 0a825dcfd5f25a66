"""Multiple choice: which option continues a context best.

Radford et al. 2018 (GPT, section 3.3), Devlin et al. 2019 (BERT, section 4.4): each option is read after the context,
and a softmax over the scores of the readings picks one. B examples, n options.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Choice, one_line
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.models.model_spec import ModelSpec
from foretell.tasks.pooled import Pooled, PooledConfig
from foretell.tasks.task import Mistake, Prediction, Scores
from foretell.types import Inputs
from foretell.units import counted


@dataclass(frozen=True)
class Chosen(Prediction):
    """The chosen option, counted from 0."""

    option: int
    text: str
    probabilities: tuple[float, ...]

    @override
    def line(self) -> str:
        """The number of the option, its probability, and its text."""
        return f"{self.option}\t{self.probabilities[self.option]:.4f}\t{one_line(self.text)}"


class ChoiceConfig(PooledConfig):
    """Choose the option that continues a context best."""

    kind: Literal["choice"] = "choice"
    takes = Choice
    predicts = Chosen
    metric: Literal["accuracy"] = "accuracy"
    """metric that validation is judged by"""

    @override
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """The numbers of the options, as many as most examples have."""
        ((most, _),) = Counter(len(example.options) for example in examples).most_common(1)
        return tuple(map(str, range(most)))

    @override
    def input_fault(self, example: Choice, labels: tuple[str, ...]) -> str:
        count, wanted = len(example.options), max(len(labels), 2)
        return f"{counted(count, 'option')}, where most examples have {wanted}" if count != wanted else ""

    @override
    def example_fault(self, example: Choice, labels: tuple[str, ...]) -> str:
        if fault := self.input_fault(example, labels):
            return fault
        if not all(text.strip() for text in example.options):
            return "an empty option"
        if example.label is not None and not 0 <= example.label < len(labels):
            return f"the label {example.label} is none of the options, which are counted from 0"
        return ""

    @override
    def rows(self, examples: Sequence[Choice], framing: Framing, labels: tuple[str, ...]) -> list[Row]:
        """Labels []."""
        encoded = iter(framing.encode([text for e in examples for text in (e.context, *e.options)]))
        rows = []
        for number, example in enumerate(examples):
            context = next(encoded)
            readings = tuple(framing.frame(context, next(encoded)) for _ in example.options)
            rows.append(Row(number, readings, None if example.label is None else np.array(example.label)))
        return rows

    @override
    def build(self, spec: ModelSpec) -> MultipleChoice:
        return MultipleChoice(self, spec, 1)

    @override
    def predictions(
        self, examples: Sequence[Choice], rows: Sequence[Row], scores: Sequence[Scores], labels: tuple[str, ...]
    ) -> list[Chosen]:
        best = [int(probabilities.argmax()) for probabilities in scores]
        return [
            Chosen(number, example.options[number], tuple(probabilities.tolist()))
            for example, number, probabilities in zip(examples, best, scores, strict=True)
        ]

    @override
    def measure(self, examples: Sequence[Choice], predictions: Sequence[Chosen]) -> dict[str, Any]:
        return {"accuracy": float(np.mean([e.label == p.option for e, p in zip(examples, predictions, strict=True)]))}

    @override
    def confidences(self, examples: Sequence[Choice], predictions: Sequence[Chosen]) -> list[tuple[float, bool]]:
        pairs = zip(examples, predictions, strict=True)
        return [(prediction.probabilities[prediction.option], e.label == prediction.option) for e, prediction in pairs]

    @override
    def mistakes(self, examples: Sequence[Choice], predictions: Sequence[Chosen]) -> list[Mistake]:
        """Sorted by the probability of the right option, the least first."""
        found = []
        for e, p in zip(examples, predictions, strict=True):
            if e.label is not None and e.label != p.option:
                gold, size = e.options[e.label], 1 - p.probabilities[e.label]
                found.append(Mistake(gold, p.text, p.probabilities[p.option], e.line, e.where, size))
        return found

    @override
    def tally(self, examples: Sequence[Choice], predictions: Sequence[Chosen]) -> Tally:
        return metric_sums.mean([e.label == p.option for e, p in zip(examples, predictions, strict=True)])

    @override
    def parse_line(self, line: str, where: str) -> Choice:
        """A context and its options, separated by tabs."""
        context, *options = line.split("\t")
        if len(options) < 2:
            raise ConfigError(f"{where}: expected a context and at least two options, separated by tabs")
        return Choice(context, tuple(options), None, where)


class MultipleChoice(Pooled):
    """Sum of -log p(right option). Term "option"."""

    term = "option"

    def __init__(self, config: ChoiceConfig, spec: ModelSpec, outputs: int):
        super().__init__(config, spec, outputs)
        self.options = spec.labels

    @override
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """[B, n]"""
        scores: Tensor = self.outputs(self.pooled(vectors, inputs))[..., 0]
        return scores

    @override
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores.float(), labels, reduction="sum")

    @override
    def probabilities(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """[B, n]"""
        return scores.float().softmax(-1)

    @override
    def uniform_loss(self) -> float:
        return math.log(max(self.options, 2))
