"""Choose the way that a context goes on best.

Radford et al. 2018 (GPT, section 3.3), Devlin et al. 2019 (BERT, section 4.4): each option is read behind the context,
and what is said of the readings competes. B examples, n options.
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

from foretell.data.batches.framing import Framing, Row
from foretell.data.labelled.examples import Choice, one_line
from foretell.data.labelled.readers.lines import counted
from foretell.errors import ConfigError
from foretell.evaluate import metric_sums
from foretell.evaluate.metric_sums import Tally
from foretell.models.model_spec import ModelSpec
from foretell.tasks.pooled import Pooled, PooledConfig
from foretell.tasks.task import Prediction, Scores
from foretell.types import Inputs


@dataclass(frozen=True)
class Chosen(Prediction):
    """The option that was chosen, counted from 0."""

    option: int
    text: str
    probabilities: tuple[float, ...]

    def line(self) -> str:
        """The number of the option, its probability, and its text."""
        return f"{self.option}\t{self.probabilities[self.option]:.4f}\t{one_line(self.text)}"


class ChoiceConfig(PooledConfig):
    """Choose one of several ways to go on from a context."""

    kind: Literal["choice"] = "choice"
    takes = Choice
    metric: Literal["accuracy"] = "accuracy"
    """what a validation is judged by"""

    def names(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """See `TaskConfig.names`: the numbers of the options that most examples have."""
        ((most, _),) = Counter(len(example.options) for example in examples).most_common(1)
        return tuple(map(str, range(most)))

    def unreadable(self, example: Choice, names: tuple[str, ...]) -> str:
        """See `TaskConfig.unreadable`."""
        count, wanted = len(example.options), max(len(names), 2)
        return f"{counted(count, 'option')}, where most examples have {wanted}" if count != wanted else ""

    def complaint(self, example: Choice, names: tuple[str, ...]) -> str:
        """See `TaskConfig.complaint`."""
        if found := self.unreadable(example, names):
            return found
        if not all(text.strip() for text in example.options):
            return "an empty option"
        if example.label is not None and not 0 <= example.label < len(names):
            return f"the label {example.label} is none of the options, which are counted from 0"
        return ""

    def rows(self, examples: Sequence[Choice], framing: Framing, names: tuple[str, ...]) -> list[Row]:
        """See `TaskConfig.rows`: labels []"""
        encoded = iter(framing.encode([text for e in examples for text in (e.context, *e.options)]))
        rows = []
        for number, example in enumerate(examples):
            context = next(encoded)
            readings = tuple(framing.frame(context, next(encoded)) for _ in example.options)
            rows.append(Row(number, readings, None if example.label is None else np.array(example.label)))
        return rows

    def build(self, spec: ModelSpec) -> Selection:
        """The objective with its model."""
        return Selection(self, spec, 1)

    def predictions(
        self, examples: Sequence[Choice], rows: Sequence[Row], scores: Sequence[Scores], names: tuple[str, ...]
    ) -> list[Chosen]:
        """See `TaskConfig.predictions`."""
        best = [int(found.argmax()) for found in scores]
        return [
            Chosen(number, example.options[number], tuple(found.tolist()))
            for example, number, found in zip(examples, best, scores, strict=True)
        ]

    def measure(self, examples: Sequence[Choice], predictions: Sequence[Chosen]) -> dict[str, Any]:
        """See `TaskConfig.measure`."""
        return {"accuracy": float(np.mean([e.label == p.option for e, p in zip(examples, predictions, strict=True)]))}

    def tally(self, examples: Sequence[Choice], predictions: Sequence[Chosen]) -> Tally:
        """See `TaskConfig.tally`."""
        return metric_sums.mean([e.label == p.option for e, p in zip(examples, predictions, strict=True)])

    def parse_line(self, line: str, where: str) -> Choice:
        """See `TaskConfig.parse_line`: a context and its options, with tabs between them."""
        context, *options = line.split("\t")
        if len(options) < 2:
            raise ConfigError(f"{where}: a context and two options or more, with tabs between them, are read")
        return Choice(context, tuple(options), None, where)


class Selection(Pooled):
    """Sum of -log p(right option). Term "option"."""

    term = "option"

    def __init__(self, config: ChoiceConfig, spec: ModelSpec, outputs: int):
        super().__init__(config, spec, outputs)
        self.options = spec.labels

    def scores(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """See `Task.scores`: [B, n]"""
        found: Tensor = self.outputs(self.pooled(vectors, inputs))[..., 0]
        return found

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """See `Task.loss`."""
        return F.cross_entropy(scores.float(), labels, reduction="sum")

    def told(self, scores: Tensor, rows: Sequence[Row]) -> Tensor:
        """See `Task.told`: [B, n]"""
        return scores.float().softmax(-1)

    def uniform_loss(self) -> float:
        """See `Objective.uniform_loss`."""
        return math.log(max(self.options, 2))
