"""The contract of learning-rate schedules: training progress -> a factor on the learning rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from foretell.config import Amount, Config, Share
from foretell.optim.progress import Progress


class Schedule(ABC):
    """A factor on the learning rate: a linear warm-up, then `factor` until the end.

    The end is the stage's limit, or whichever of the amounts `over` comes first.
    """

    def __init__(self, warmup: Amount | None = None, over: tuple[Amount, ...] = (), *, from_start: bool = False):
        self.warmup, self.over = warmup, over
        # share of the whole at which `fraction` starts: the end of the warm-up (None until then), or the start
        self.warm_at = 0.0 if warmup is None or from_start else None

    def __call__(self, progress: Progress) -> float:
        """Factor for the next step."""
        if self.warmup is not None and progress.of(self.warmup) < 1:
            if self.warmup.unit == "steps":  # the first step is not wasted on a rate of zero
                return (progress.step + 1) / self.warmup.value
            return max(progress.of(self.warmup), 1e-3)
        used = self.used(progress)
        if self.warm_at is None:
            self.warm_at = used
        fraction = (used - self.warm_at) / max(1 - self.warm_at, 1e-12)
        return self.factor(progress, min(max(fraction, 0.0), 1.0))

    def used(self, progress: Progress) -> float:
        """Fraction of training completed, warm-up included; above 1 after the end."""
        return max(map(progress.of, self.over)) if self.over else progress.fraction

    @abstractmethod
    def factor(self, progress: Progress, fraction: float) -> float:
        """Factor after the warm-up; `fraction` rises from 0 at its end to 1 at the end of training."""

    def observe(self, loss: float) -> None:  # noqa: B027 (most schedules ignore it)
        """Record a validation loss."""

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {"warm_at": self.warm_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.__dict__.update(state)


class ScheduleConfig(Config):
    """Base of the settings of schedules."""

    waits: ClassVar[bool] = False
    """whether it follows the validation loss"""


class WarmupConfig(ScheduleConfig):
    """Settings of schedules with an optional warm-up."""

    warmup: Amount | None = None
    """duration of the linear rise from zero"""


class DecayConfig(WarmupConfig):
    """Settings of schedules that end at a `floor`."""

    floor: Share = 0.0
    """factor at the end"""
    over: tuple[Amount, ...] = ()
    """end at whichever of these comes first, such as ["100000steps", "3epochs"]; absent: the stage's limit"""


class FallConfig(DecayConfig):
    """Settings of schedules that decay from the end of the warm-up to the end of training."""

    falls_from: Literal["warmup", "start"] = "warmup"
    """start of the decay: the end of the warm-up, or step 0 as in Google's BERT and NVIDIA's LAMB, where the rate drops
    at once after the warm-up"""
