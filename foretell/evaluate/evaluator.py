"""The contract of evaluators: a model measured on a split of what it learns from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from foretell.evaluate.scoring import OnProgress, no_progress


class Evaluator(ABC):
    """Measures a model on splits, in evaluation mode and without gradients; abstract."""

    @property
    @abstractmethod
    def context(self) -> str:
        """What a prediction is made from, in words."""

    @abstractmethod
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        """The metrics of a split, or of a file in place of one; see `judged` for the one that ranks."""

    @abstractmethod
    def expected_seconds(self, split: str) -> float:
        """How long `evaluate` will take, from a few batches."""

    def check(self, split: str) -> None:  # noqa: B027 - most have nothing to check
        """A `ConfigError` where a split cannot be measured, found without computing the model."""

    def refuse_undefined(self, measured: Mapping[str, Any], name: str) -> None:  # noqa: B027
        """A `ConfigError` where nothing can be concluded from what was measured: NaN, or no targets."""


class FunctionEvaluator(Evaluator):
    """Measures by a function that knows what to measure."""

    context = ""

    def __init__(self, measure: Callable[[], dict[str, Any]], seconds: float = 0.0) -> None:
        self.measure, self.seconds = measure, seconds

    @override
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        return self.measure()

    @override
    def expected_seconds(self, split: str) -> float:
        return self.seconds
