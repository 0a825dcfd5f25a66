"""Classification of a text or a pair of texts, into one class or any number of them.

Devlin et al. 2019 (BERT, section 4.1), Radford et al. 2018 (GPT, section 3.2), Howard and Ruder 2018 (ULMFiT).
B examples, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from foretell.config import Positive
from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Labelled, warn_alike
from foretell.errors import ConfigError, did_you_mean
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.evaluate.task_metrics import classes_by_label, classification, multi_label
from foretell.models.model_spec import ModelSpec
from foretell.tasks.pooled import PooledTexts, TextsConfig
from foretell.tasks.task import Mistake, Prediction, Scores
from foretell.types import Batch, Inputs
from foretell.units import counted


@dataclass(frozen=True)
class Classified(Prediction):
    """The class of a text, or all its classes."""

    label: str | tuple[str, ...]
    probabilities: dict[str, float]

    @override
    def line(self) -> str:
        """Each label and its probability, separated by tabs, which labels never hold."""
        labels = (self.label,) if isinstance(self.label, str) else self.label
        return "\t".join(f"{label}\t{self.probabilities[label]:.4f}" for label in labels)


class ClassificationConfig(TextsConfig):
    """Predict the class of a text, or of a pair of texts."""

    kind: Literal["classification"] = "classification"
    predicts = Classified
    multi_label: bool = False
    """whether a text may belong to any number of classes"""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """multi_label: a text belongs to each class that is more probable than this"""
    metric: Literal["accuracy", "macro_f1", "micro_f1", "f1", "matthews"] = "accuracy"
    """metric that validation is judged by; f1: of the `positive` class; micro_f1: with multi_label"""
    positive: str = ""
    """the class whose F1 is measured"""
    class_weights: Literal["balanced"] | dict[str, Positive] | None = None
    """weights of classes in the training loss, those not named 1; balanced: texts / (classes x texts of the class), as
    in scikit-learn. multi_label: weights of texts that have the label, balanced: texts without / texts with it"""

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        if self.metric == "f1" and not self.positive:
            raise ValueError('metric = "f1" is that of one class; name it as positive, or take "macro_f1"')
        if not self.multi_label and self.metric == "micro_f1":
            raise ValueError('metric = "micro_f1" is the accuracy where a text has one label; take "accuracy"')
        if not self.multi_label and self.threshold != 0.5:
            raise ValueError("threshold is for texts with several labels; leave it out, or set multi_label = true")
        if self.multi_label and self.metric in ("f1", "matthews"):
            raise ValueError(f'metric = "{self.metric}" is for texts with one label; take "micro_f1" or "macro_f1"')
        return self

    @property
    @override
    def has_classes(self) -> bool:
        return not self.multi_label

    @property
    @override
    def balances(self) -> bool:
        return self.class_weights == "balanced"

    @override
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """The classes, sorted."""
        labels = tuple(sorted({label for example in examples for label in labels_of(example)}))
        if not self.multi_label and len(labels) == 1:
            raise ConfigError(
                f"data.corpus: every label of the training split is {labels[0]!r}: nothing to distinguish"
            )
        if examples and not labels:
            raise ConfigError("data.corpus: no example of the training split has a label: nothing to distinguish")
        warn_alike(labels)
        if self.positive and self.positive not in labels:
            raise ConfigError(
                f"objective.positive = {self.positive!r} is not a label of the training split ({', '.join(labels)})"
            )
        return labels

    @override
    def labels_fault(self, labels: tuple[str, ...]) -> str:
        least = 1 if self.multi_label else 2
        return f"has {counted(len(labels), 'label')}, which is nothing to distinguish" if len(labels) < least else ""

    @override
    def example_fault(self, example: Labelled, labels: tuple[str, ...]) -> str:
        if fault := super().example_fault(example, labels):
            return fault
        if example.label is not None and not isinstance(example.label, tuple if self.multi_label else str):
            wanted = "a list of names" if self.multi_label else "the name of one class"
            return f"the label {example.label!r} is not {wanted}"
        unseen = [label for label in labels_of(example) if label not in labels]
        if not unseen:
            return ""
        return f"the label {unseen[0]!r} is not in the training split{did_you_mean(unseen[0], labels)}"

    @override
    def rows(self, examples: Sequence[Labelled], framing: Framing, labels: tuple[str, ...]) -> list[Row]:
        """Labels [] as class numbers, or [L] as 0 or 1 with multi_label."""
        number = {label: i for i, label in enumerate(labels)}

        def target(example: Labelled) -> Any:
            if example.label is None:
                return None
            if isinstance(example.label, str):
                return np.array(number[example.label])
            gold = set(labels_of(example))
            return np.array([label in gold for label in labels], dtype=np.float32)

        readings = self.readings(examples, framing)
        return [Row(i, reading, target(examples[i])) for i, reading in enumerate(readings)]

    @override
    def label_weights(self, rows: Sequence[Row], labels: tuple[str, ...]) -> dict[str, float]:
        if self.class_weights is None:
            return {}
        if isinstance(self.class_weights, dict):
            if unknown := [name for name in self.class_weights if name not in labels]:
                raise ConfigError(
                    f"objective.class_weights: {unknown[0]!r} is not a label of the training split"
                    f"{did_you_mean(unknown[0], labels)}"
                )
            return {label: self.class_weights.get(label, 1.0) for label in labels}
        targets = np.array([row.label for row in rows])
        if self.multi_label:
            having = targets.sum(0)
            return dict(
                zip(labels, ((len(rows) - having) / np.maximum(having, 1)).clip(min=1e-6).tolist(), strict=True)
            )
        counts = np.bincount(targets, minlength=len(labels))
        return dict(zip(labels, (len(rows) / (len(labels) * np.maximum(counts, 1))).tolist(), strict=True))

    @override
    def weighted(self, rows: Sequence[Row], labels: tuple[str, ...]) -> list[Row]:
        """The weight of its class [], or [L]: those of labels it has, and 1."""
        found = self.label_weights(rows, labels)
        if not found:
            return list(rows)
        weights, ones = np.array([found[label] for label in labels]), np.ones(len(labels))
        if self.multi_label:
            return [replace(row, weight=np.where(np.asarray(row.label), weights, ones)) for row in rows]
        return [replace(row, weight=weights[row.label]) for row in rows]

    @override
    def build(self, spec: ModelSpec) -> Classification:
        return Classification(self, spec)

    @override
    def predictions(
        self, examples: Sequence[Labelled], rows: Sequence[Row], scores: Sequence[Scores], labels: tuple[str, ...]
    ) -> list[Classified]:
        return [self.prediction(dict(zip(labels, row.tolist(), strict=True))) for row in scores]

    def prediction(self, probabilities: dict[str, float]) -> Classified:
        """The prediction from the probability of each label."""
        if self.multi_label:
            return Classified(tuple(label for label, p in probabilities.items() if p > self.threshold), probabilities)
        return Classified(max(probabilities, key=probabilities.__getitem__), probabilities)

    @override
    def measure(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> dict[str, Any]:
        gold, predicted = ([labels_of(item) for item in side] for side in (examples, predictions))
        if self.multi_label:
            return multi_label(gold, predicted)
        return classification([label for (label,) in gold], [label for (label,) in predicted], self.positive)

    @override
    def tally(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> Tally:
        gold, predicted = ([labels_of(item) for item in side] for side in (examples, predictions))
        return metric_sums.classes(self.metric, gold, predicted, self.positive)

    @override
    def confused(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> list[tuple[str, str]]:
        if self.multi_label:
            return []
        return [(str(e.label), str(p.label)) for e, p in zip(examples, predictions, strict=True)]

    @override
    def confidences(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> list[tuple[float, bool]]:
        """Probabilities of predicted classes; with several labels, of each label, predicted or not."""
        found = []
        for example, prediction in zip(examples, predictions, strict=True):
            gold, predicted = labels_of(example), labels_of(prediction)
            for label, p in prediction.probabilities.items() if self.multi_label else ():
                found.append((p if label in predicted else 1 - p, (label in gold) == (label in predicted)))
            if not self.multi_label:
                found.append((prediction.probabilities[predicted[0]], gold == predicted))
        return found

    @override
    def mistakes(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> list[Mistake]:
        """Sorted by -log p(gold labels)."""
        found = []
        for example, prediction in zip(examples, predictions, strict=True):
            gold, predicted = labels_of(example), labels_of(prediction)
            if set(gold) != set(predicted):
                names = (", ".join(gold), ", ".join(predicted))
                p, of_gold = (self.probability_of(side, prediction.probabilities) for side in (predicted, gold))
                found.append(Mistake(*names, p, example.line, example.where, -math.log(max(of_gold, 1e-300))))
        return found

    def probability_of(self, labels: Sequence[str], probabilities: Mapping[str, float]) -> float:
        """The probability of exactly these labels."""
        if not self.multi_label:
            return probabilities[labels[0]]
        return math.prod(p if label in labels else 1 - p for label, p in probabilities.items())

    @override
    def by_label(self, examples: Sequence[Labelled], predictions: Sequence[Classified]) -> dict[str, dict[str, float]]:
        return classes_by_label(*([labels_of(item) for item in side] for side in (examples, predictions)))


def labels_of(item: Any) -> tuple[str, ...]:
    """All labels of an example or a prediction."""
    label = item.label
    return label if isinstance(label, tuple) else () if label is None else (str(label),)


class Classification(PooledTexts):
    """Sum of -log p(label); with multi_label the binary cross-entropy of all labels. Term "label"."""

    term = "label"

    def __init__(self, config: ClassificationConfig, spec: ModelSpec):
        super().__init__(config, spec, spec.labels)
        self.multi_label, self.labels = config.multi_label, spec.labels

    @override
    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """[B, L]"""
        scores: Tensor = self.outputs(self.joined(vectors, inputs))
        return scores

    @override
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return self.losses(scores, labels, "sum")

    @override
    def batch_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        if batch.label_weights is None:
            return self.loss(scores, batch.labels)
        return (self.losses(scores, batch.labels, "none") * batch.label_weights).sum()

    def losses(self, scores: Tensor, labels: Tensor, reduction: Literal["none", "sum"]) -> Tensor:
        """The loss of each label, of the shape of `labels`, or their sum []."""
        if self.multi_label:
            return F.binary_cross_entropy_with_logits(scores.float(), labels.float(), reduction=reduction)
        return F.cross_entropy(scores.float(), labels, reduction=reduction)

    @override
    def probabilities(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """[B, L]"""
        return scores.float().sigmoid() if self.multi_label else scores.float().softmax(-1)

    @override
    def uniform_loss(self) -> float:
        return math.log(2) if self.multi_label else math.log(max(self.labels, 2))
