"""Similarity of two texts, or any other number of a text or a pair.

Devlin et al. 2019 (BERT), Radford et al. 2018 (GPT, section 3.2: both orders). B examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor
from typing_extensions import override

from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Labelled
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import pearson, ranks, score_errors, spearman
from foretell.models.model_spec import ModelSpec
from foretell.tasks.pooled import PooledTexts, TextsConfig
from foretell.tasks.task import Mistake, Prediction, Scores
from foretell.types import Inputs


@dataclass(frozen=True)
class Rated(Prediction):
    """The number of a text or a pair."""

    value: float

    @override
    def line(self) -> str:
        return f"{self.value:.4f}"


class SimilarityConfig(TextsConfig):
    """Predict a number for a text or a pair of texts, such as their similarity."""

    kind: Literal["similarity"] = "similarity"
    predicts = Rated
    metric: Literal["spearman", "pearson"] = "spearman"
    """metric that validation is judged by"""

    @override
    def output_notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (f"The output is 0 for a label of {labels[0]} and 1 for a label of {labels[1]}.",)

    @override
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """The smallest and the largest number, which the model maps to 0 and 1."""
        numbers = [float(example.label) for example in examples if isinstance(example.label, int | float)]
        if numbers and min(numbers) == max(numbers):
            raise ConfigError(f"data.corpus: every label of the training split is {numbers[0]}: nothing to distinguish")
        return (repr(min(numbers)), repr(max(numbers))) if numbers else ("0.0", "1.0")

    @override
    def labels_fault(self, labels: tuple[str, ...]) -> str:
        try:
            low, high = map(float, labels)
        except ValueError:
            return f"its labels are {', '.join(labels[:3])}, not the least and the largest number"
        return "" if math.isfinite(high - low) and low < high else f"its numbers go from {low} to {high}"

    @override
    def example_fault(self, example: Labelled, labels: tuple[str, ...]) -> str:
        if fault := super().example_fault(example, labels):
            return fault
        wrong = example.label is not None and not isinstance(example.label, int | float)
        return f"the label {example.label!r} is not a number" if wrong else ""

    @override
    def rows(self, examples: Sequence[Labelled], framing: Framing, labels: tuple[str, ...]) -> list[Row]:
        """Labels [] from 0 to 1."""
        low, high = map(float, labels)
        targets = [
            np.array((example.label - low) / (high - low), dtype=np.float32)
            if isinstance(example.label, int | float)
            else None
            for example in examples
        ]
        return [Row(i, reading, targets[i]) for i, reading in enumerate(self.readings(examples, framing))]

    @override
    def build(self, spec: ModelSpec) -> Similarity:
        return Similarity(self, spec, 1)

    @override
    def predictions(
        self, examples: Sequence[Labelled], rows: Sequence[Row], scores: Sequence[Scores], labels: tuple[str, ...]
    ) -> list[Rated]:
        low, high = map(float, labels)
        return [Rated(low + (high - low) * float(score)) for score in scores]

    @override
    def measure(self, examples: Sequence[Labelled], predictions: Sequence[Rated]) -> dict[str, Any]:
        gold, predicted = numbers_of(examples), [prediction.value for prediction in predictions]
        return {"spearman": spearman(gold, predicted), "pearson": pearson(gold, predicted)}

    @override
    def mistakes(self, examples: Sequence[Labelled], predictions: Sequence[Rated]) -> list[Mistake]:
        """Every example, by its absolute error."""
        pairs = zip(examples, numbers_of(examples), predictions, strict=True)
        return [Mistake(f"{gold:g}", p.line(), None, e.line, e.where, abs(p.value - gold)) for e, gold, p in pairs]

    @override
    def details(self, examples: Sequence[Labelled], predictions: Sequence[Rated]) -> dict[str, Any]:
        """The distribution of errors."""
        return {"errors": score_errors(numbers_of(examples), [prediction.value for prediction in predictions])}

    @override
    def tally(self, examples: Sequence[Labelled], predictions: Sequence[Rated]) -> Tally:
        gold, predicted = numbers_of(examples), [prediction.value for prediction in predictions]
        if self.metric == "pearson":
            return metric_sums.correlation(gold, predicted)
        return metric_sums.correlation(ranks(gold), ranks(predicted))


def numbers_of(examples: Sequence[Labelled]) -> list[float]:
    """The labels of those that have a number."""
    return [float(example.label) for example in examples if isinstance(example.label, int | float)]


class Similarity(PooledTexts):
    """Sum of squared errors, on labels scaled to 0..1. Term "number"."""

    term = "number"

    @override
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """[B]"""
        numbers: Tensor = self.outputs(self.joined(vectors, inputs))[:, 0]
        return numbers

    @override
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (scores.float() - labels).square().sum()

    @override
    def probabilities(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """The numbers themselves [B]."""
        return scores.float()

    @override
    def uniform_loss(self) -> float:
        """The largest possible error is 1."""
        return 1.0
