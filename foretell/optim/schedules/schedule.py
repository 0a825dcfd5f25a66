"""The contract of learning-rate schedules: how far training is -> a factor on the learning rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from foretell.config import Amount, Config
from foretell.optim.progress import Progress


class Schedule(ABC):
    """A factor on the learning rate: first a linear warm-up, then `factor` over what is left until the end.

    The end is the stage's limit, or whichever of the amounts `over` comes first.
    """

    def __init__(self, warmup: Amount | None = None, over: tuple[Amount, ...] = (), *, from_start: bool = False):
        self.warmup, self.over = warmup, over
        # the share of the whole that is used up where `left` begins: when the warm-up ends, or at the start
        self.warm_at = 0.0 if warmup is None or from_start else None

    def __call__(self, progress: Progress) -> float:
        """The factor for the step that is about to be taken."""
        if self.warmup is not None and progress.of(self.warmup) < 1:
            if self.warmup.unit == "steps":  # the first step is not lost on a rate of zero
                return (progress.step + 1) / self.warmup.value
            return max(progress.of(self.warmup), 1e-3)
        used = self.used(progress)
        if self.warm_at is None:
            self.warm_at = used
        left = (used - self.warm_at) / max(1 - self.warm_at, 1e-12)
        return self.factor(progress, min(max(left, 0.0), 1.0))

    def used(self, progress: Progress) -> float:
        """The share of the whole that is used up, warm-up included; above 1 once it is passed."""
        return max(map(progress.of, self.over)) if self.over else progress.fraction

    @abstractmethod
    def factor(self, progress: Progress, left: float) -> float:
        """The factor after warm-up; `left` runs from 0 when it ended to 1 at the end."""

    def observe(self, loss: float) -> None:  # noqa: B027 (most schedules do not care)
        """Take note of a validation loss."""

    def state_dict(self) -> dict[str, Any]:
        """What has to survive an interruption, as JSON knows it."""
        return {"warm_at": self.warm_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.__dict__.update(state)


class WarmConfig(Config):
    """Settings of schedules that may start with a warm-up."""

    warmup: Amount | None = None
    """how long the rate rises linearly from zero"""
