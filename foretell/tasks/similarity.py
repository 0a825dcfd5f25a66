"""Tell how alike two texts are, or any other number that belongs to a text or a pair.

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
from foretell.evaluate.task_metrics import pearson, ranks, spearman
from foretell.models.model_spec import ModelSpec
from foretell.tasks.pooled import Pooled, TextsConfig
from foretell.tasks.task import Prediction, Scores
from foretell.types import Inputs


@dataclass(frozen=True)
class Rated(Prediction):
    """A number for a text or a pair."""

    value: float

    def line(self) -> str:
        """The number."""
        return f"{self.value:.4f}"


class SimilarityConfig(TextsConfig):
    """Tell a number of a text, or of a pair of texts, such as how alike they are."""

    kind: Literal["similarity"] = "similarity"
    metric: Literal["spearman", "pearson"] = "spearman"
    """what a validation is judged by"""

    @override
    def output_notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (f"The output is 0 for a label of {labels[0]} and 1 for a label of {labels[1]}.",)

    def prepare(self) -> None:
        """See `TaskConfig.prepare`."""
        pearson([0.0, 1.0], [0.0, 1.0])

    def names(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """See `TaskConfig.names`: the least and the largest number, between which the model tells a share."""
        numbers = [float(example.label) for example in examples if isinstance(example.label, int | float)]
        if numbers and min(numbers) == max(numbers):
            raise ConfigError(f"data.corpus: every label of the training split is {numbers[0]}: nothing to tell apart")
        return (repr(min(numbers)), repr(max(numbers))) if numbers else ("0.0", "1.0")

    def misfit(self, names: tuple[str, ...]) -> str:
        """See `TaskConfig.misfit`."""
        try:
            low, high = map(float, names)
        except ValueError:
            return f"its labels are {', '.join(names[:3])}, not the least and the largest number"
        return "" if math.isfinite(high - low) and low < high else f"its numbers go from {low} to {high}"

    def complaint(self, example: Labelled, names: tuple[str, ...]) -> str:
        """See `TaskConfig.complaint`."""
        if found := super().complaint(example, names):
            return found
        wrong = example.label is not None and not isinstance(example.label, int | float)
        return f"the label {example.label!r} is not a number" if wrong else ""

    def rows(self, examples: Sequence[Labelled], framing: Framing, names: tuple[str, ...]) -> list[Row]:
        """See `TaskConfig.rows`: labels [], from 0 to 1."""
        low, high = map(float, names)
        labels = [
            np.array((example.label - low) / (high - low), dtype=np.float32)
            if isinstance(example.label, int | float)
            else None
            for example in examples
        ]
        return [Row(i, reading, labels[i]) for i, reading in enumerate(self.read(examples, framing))]

    def build(self, spec: ModelSpec) -> Similarity:
        """The objective with its model."""
        return Similarity(self, spec, 1)

    def predictions(
        self, examples: Sequence[Labelled], rows: Sequence[Row], scores: Sequence[Scores], names: tuple[str, ...]
    ) -> list[Rated]:
        """See `TaskConfig.predictions`."""
        low, high = map(float, names)
        return [Rated(low + (high - low) * float(score)) for score in scores]

    def measure(self, examples: Sequence[Labelled], predictions: Sequence[Rated]) -> dict[str, Any]:
        """See `TaskConfig.measure`."""
        truth = [float(example.label) for example in examples if isinstance(example.label, int | float)]
        found = [prediction.value for prediction in predictions]
        return {"spearman": spearman(truth, found), "pearson": pearson(truth, found)}

    def tally(self, examples: Sequence[Labelled], predictions: Sequence[Rated]) -> Tally:
        """See `TaskConfig.tally`."""
        truth = [float(example.label) for example in examples if isinstance(example.label, int | float)]
        found = [prediction.value for prediction in predictions]
        return metric_sums.correlation(*((truth, found) if self.metric == "pearson" else (ranks(truth), ranks(found))))


class Similarity(Pooled):
    """Sum of squared differences from the label, which goes from 0 to 1. Term "number"."""

    term = "number"

    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """See `Task.scores`: [B]"""
        pooled = self.pooled(vectors, inputs)  # [B, W] or [B, 2, W]
        found: Tensor = self.outputs(pooled if pooled.dim() == 2 else pooled.sum(1))[:, 0]
        return found

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """See `Task.loss`."""
        return (scores.float() - labels).square().sum()

    def told(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """See `Task.told`: [B]"""
        return scores.float()

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`: a label is at most 1 away from the other end."""
        return 1.0
