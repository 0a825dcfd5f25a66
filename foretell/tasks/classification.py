"""Tell which class a text or a pair of texts belongs to, or which of several classes.

Devlin et al. 2019 (BERT, section 4.1), Radford et al. 2018 (GPT, section 3.2), Howard and Ruder 2018 (ULMFiT).
B examples, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from foretell.config import did_you_mean
from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Labelled, warn_alike
from foretell.data.labelled.readers.lines import counted
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import classes_by_label, classification, scikit_learn_metrics, several_labels
from foretell.models.model_spec import ModelSpec
from foretell.tasks.pooled import Pooled, TextsConfig
from foretell.tasks.task import Prediction, Scores
from foretell.types import Inputs


@dataclass(frozen=True)
class Classified(Prediction):
    """The class of a text, or all its classes."""

    label: str | tuple[str, ...]
    probabilities: dict[str, float]

    def line(self) -> str:
        """The class and its probability, with a tab between them, which labels never hold; so each of several."""
        labels = (self.label,) if isinstance(self.label, str) else self.label
        return "\t".join(f"{label}\t{self.probabilities[label]:.4f}" for label in labels)


class ClassificationConfig(TextsConfig):
    """Tell the class of a text, or of a pair of texts."""

    kind: Literal["classification"] = "classification"
    labels: Literal["one", "several"] = "one"
    """several: a text may belong to any number of classes"""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """with several: how probable a class has to be, and more, for a text to belong to it"""
    metric: Literal["accuracy", "macro_f1", "micro_f1", "f1", "matthews"] = "accuracy"
    """what a validation is judged by; f1 is that of the `positive` class, micro_f1 one of several labels"""
    positive: str = ""
    """the class whose F1 is measured"""

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        if self.metric == "f1" and not self.positive:
            raise ValueError('metric = "f1" is that of one class; name it as positive, or take "macro_f1"')
        if self.labels == "one" and self.metric == "micro_f1":
            raise ValueError('metric = "micro_f1" is the accuracy where a text has one label; take "accuracy"')
        if self.labels == "one" and self.threshold != 0.5:
            raise ValueError('threshold is for texts of several labels; leave it out, or set labels = "several"')
        if self.labels == "several" and self.metric in ("f1", "matthews"):
            raise ValueError(f'metric = "{self.metric}" is of texts with one label; take "micro_f1" or "macro_f1"')
        return self

    def prepare(self) -> None:
        """See `TaskConfig.prepare`."""
        scikit_learn_metrics()

    def names(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """See `TaskConfig.names`: in the order of their spelling."""
        found = tuple(sorted({label for example in examples for label in labels_of(example)}))
        if self.labels == "one" and len(found) == 1:
            raise ConfigError(f"data.corpus: every label of the training split is {found[0]!r}: nothing to tell apart")
        if examples and not found:
            raise ConfigError("data.corpus: no example of the training split has a label: nothing to tell apart")
        warn_alike(found)
        if self.positive and self.positive not in found:
            raise ConfigError(
                f"objective.positive = {self.positive!r} is no label of the training split ({', '.join(found)})"
            )
        return found

    def misfit(self, names: tuple[str, ...]) -> str:
        """See `TaskConfig.misfit`."""
        least = 2 if self.labels == "one" else 1
        return f"has {counted(len(names), 'label')}, which is nothing to tell apart" if len(names) < least else ""

    def complaint(self, example: Labelled, names: tuple[str, ...]) -> str:
        """See `TaskConfig.complaint`."""
        wanted = str if self.labels == "one" else tuple
        if found := super().complaint(example, names):
            return found
        if example.label is not None and not isinstance(example.label, wanted):
            return (
                f"the label {example.label!r} is not {'the name of one class' if wanted is str else 'a list of names'}"
            )
        unseen = [label for label in labels_of(example) if label not in names]
        return f"the label {unseen[0]!r} is not in the training split{did_you_mean(unseen[0], names)}" if unseen else ""

    def rows(self, examples: Sequence[Labelled], framing: Framing, names: tuple[str, ...]) -> list[Row]:
        """See `TaskConfig.rows`: labels [] as numbers, or [L] as 0 or 1."""
        number = {name: i for i, name in enumerate(names)}

        def label(example: Labelled) -> Any:
            if example.label is None:
                return None
            if isinstance(example.label, str):
                return np.array(number[example.label])
            told = set(labels_of(example))
            return np.array([name in told for name in names], dtype=np.float32)

        readings = self.read(examples, framing)
        return [Row(i, reading, label(examples[i])) for i, reading in enumerate(readings)]

    def build(self, spec: ModelSpec) -> Classification:
        """The objective with its model."""
        return Classification(self, spec)

    def predictions(
        self, examples: Sequence[Labelled], rows: Sequence[Row], scores: Sequence[Scores], names: tuple[str, ...]
    ) -> list[Classified]:
        """See `TaskConfig.predictions`."""
        return [self.prediction(dict(zip(names, found.tolist(), strict=True))) for found in scores]

    def prediction(self, probabilities: dict[str, float]) -> Classified:
        """What probabilities of labels say."""
        if self.labels == "one":
            return Classified(max(probabilities, key=probabilities.__getitem__), probabilities)
        return Classified(tuple(name for name, p in probabilities.items() if p > self.threshold), probabilities)

    def measure(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> dict[str, Any]:
        """See `TaskConfig.measure`."""
        truth, found = ([labels_of(one) for one in side] for side in (examples, predictions))
        if self.labels == "several":
            return several_labels(truth, found)
        return classification([one for (one,) in truth], [one for (one,) in found], self.positive)

    def tally(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> Tally:
        """See `TaskConfig.tally`."""
        truth, found = ([labels_of(one) for one in side] for side in (examples, predictions))
        return metric_sums.classes(self.metric, truth, found, self.positive)

    def by_label(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> dict[str, dict[str, float]]:
        """See `TaskConfig.by_label`."""
        return classes_by_label(*([labels_of(one) for one in side] for side in (examples, predictions)))


def labels_of(example: Any) -> tuple[str, ...]:
    """The names of an example's classes."""
    label = example.label
    return label if isinstance(label, tuple) else () if label is None else (str(label),)


class Classification(Pooled):
    """Sum of -log p(label); where there may be several, of each label being told right or not. Term "label"."""

    term = "label"

    def __init__(self, config: ClassificationConfig, spec: ModelSpec):
        super().__init__(config, spec, spec.labels)
        self.one, self.labels = config.labels == "one", spec.labels

    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """See `Task.scores`: [B, L]"""
        pooled = self.pooled(vectors, inputs)  # [B, W] or [B, 2, W]
        found: Tensor = self.outputs(pooled if pooled.dim() == 2 else pooled.sum(1))
        return found

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """See `Task.loss`."""
        if self.one:
            return F.cross_entropy(scores.float(), labels, reduction="sum")
        return F.binary_cross_entropy_with_logits(scores.float(), labels.float(), reduction="sum")

    def told(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """See `Task.told`: [B, L]"""
        return scores.float().softmax(-1) if self.one else scores.float().sigmoid()

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`."""
        return math.log(max(self.labels, 2)) if self.one else math.log(2)
