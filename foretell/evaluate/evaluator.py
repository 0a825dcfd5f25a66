"""The contract of evaluators, which measure a model on a split of its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from foretell.evaluate.scoring import OnProgress, no_progress


class Evaluator(ABC):
    """Evaluates a model on splits, in evaluation mode and without gradients; abstract."""

    @property
    @abstractmethod
    def context(self) -> str:
        """The context of a prediction, in words."""

    @abstractmethod
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        """The metrics of a split, or of a file in place of one."""

    @abstractmethod
    def expected_seconds(self, split: str) -> float:
        """Expected time of `evaluate`, from a few batches."""

    def check(self, split: str) -> None:  # noqa: B027 - most have nothing to check
        """Raise `ConfigError` where a split cannot be evaluated, without running the model."""

    def refuse_undefined(self, measured: Mapping[str, Any], name: str) -> None:  # noqa: B027
        """Raise `ConfigError` where metrics are undefined: NaN, or no targets."""


class FunctionEvaluator(Evaluator):
    """Evaluates by calling a function, whatever the split."""

    context = ""

    def __init__(self, measure: Callable[[], dict[str, Any]], seconds: float = 0.0) -> None:
        self.measure, self.seconds = measure, seconds

    @override
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        return self.measure()

    @override
    def expected_seconds(self, split: str) -> float:
        return self.seconds
