"""The contract of evaluators, which measure a model on a split of its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from foretell.types import OnProgress, no_progress


class Evaluator(ABC):
    """Evaluates a model on splits, in evaluation mode and without gradients; abstract."""

    columns: int = 1
    """parts that running text is cut into, each from a fresh state: 1 is exact, more is faster"""
    share: float = 1.0
    """the part of a split that is measured, spread over all of it: 1.0 is all"""

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

    def fit_within(self, split: str, seconds: float) -> float:
        """Reduce what `evaluate` measures so that it takes about `seconds` at most; returns its expected time.

        First by more columns, where the text can be cut into them, then by a smaller share of the split.
        """
        expected = self.expected_seconds(split)
        while expected > seconds and self.add_columns():
            expected = self.expected_seconds(split)
        if expected > seconds:
            self.share *= seconds / expected
            return seconds
        return expected

    def reduce(self, columns: int | None, share: float) -> None:
        """Measure as an evaluator did that `fit_within` reduced."""
        self.columns, self.share = columns or self.columns, share

    def add_columns(self) -> bool:
        """Cut running text into more columns; whether that can make it faster."""
        return False

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
