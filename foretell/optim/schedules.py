"""Learning-rate schedules: how far training is -> a factor on the learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from foretell.config import Amount, Config, Tagged
from foretell.optim.trigger import non_monotone


@dataclass(frozen=True)
class Progress:
    """How far the present stage of training is, before the step that is about to be taken."""

    step: int
    """optimiser steps taken"""
    epoch: float
    """passes over the text"""
    tokens: int
    """targets trained on"""
    seconds: float
    """wall-clock time, over all interruptions"""
    fraction: float
    """share of the stage's limit that is used up, 0 to 1; 0 where there is no limit"""

    def of(self, amount: Amount) -> float:
        """The share of an amount that is used up; above 1 once it is passed."""
        used = {"steps": self.step, "epochs": self.epoch, "tokens": self.tokens, "seconds": self.seconds}
        return used[amount.unit] / amount.value


class Schedule(ABC):
    """A factor on the learning rate: first a linear warm-up, then `factor` over what is left of the limit."""

    def __init__(self, warmup: Amount | None):
        self.warmup = warmup
        self.warm_at = 0.0 if warmup is None else None  # the limit's fraction when the warm-up ended

    def __call__(self, progress: Progress) -> float:
        """The factor for the step that is about to be taken."""
        if self.warmup is not None and progress.of(self.warmup) < 1:
            if self.warmup.unit == "steps":  # the first step is not lost on a rate of zero
                return (progress.step + 1) / self.warmup.value
            return max(progress.of(self.warmup), 1e-3)
        if self.warm_at is None:
            self.warm_at = progress.fraction
        left = (progress.fraction - self.warm_at) / max(1 - self.warm_at, 1e-12)
        return self.factor(progress, min(max(left, 0.0), 1.0))

    @abstractmethod
    def factor(self, progress: Progress, left: float) -> float:
        """The factor after warm-up; `left` runs from 0 when it ended to 1 at the limit."""

    def observe(self, loss: float) -> None:  # noqa: B027 (most schedules do not care)
        """Take note of a validation loss."""

    def state_dict(self) -> dict[str, Any]:
        """What has to survive an interruption, as JSON knows it."""
        return {"warm_at": self.warm_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.__dict__.update(state)


class _Warm(Config):
    warmup: Amount | None = None
    """how long the rate rises linearly from zero"""


class ConstantConfig(_Warm):
    """The same rate all the time."""

    kind: Literal["constant"] = "constant"

    def build(self) -> Schedule:
        """The schedule."""
        return Constant(self.warmup)


class Constant(Schedule):
    """1."""

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return 1.0


class LinearConfig(_Warm):
    """Linear from 1 to `floor` at the limit."""

    kind: Literal["linear"] = "linear"
    floor: float = 0.0

    def build(self) -> Schedule:
        """The schedule."""
        return Linear(self)


class Linear(Schedule):
    """1 + (floor - 1) * left."""

    def __init__(self, config: LinearConfig):
        super().__init__(config.warmup)
        self.floor = config.floor

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return 1 + (self.floor - 1) * left


class CosineConfig(_Warm):
    """Half a cosine from 1 to `floor` at the limit (arXiv:1608.03983, without restarts)."""

    kind: Literal["cosine"] = "cosine"
    floor: float = 0.0

    def build(self) -> Schedule:
        """The schedule."""
        return Cosine(self)


class Cosine(Schedule):
    """floor + (1 - floor) * (1 + cos(pi * left)) / 2."""

    def __init__(self, config: CosineConfig):
        super().__init__(config.warmup)
        self.floor = config.floor

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * left)) / 2


class StepsConfig(_Warm):
    """Multiply by `by` at given moments, or from `after` on every so often."""

    kind: Literal["steps"] = "steps"
    by: float = 0.1
    at: tuple[Amount, ...] = ()
    """moments of a multiplication each"""
    after: Amount | None = None
    """constant until here ..."""
    every: Amount | None = None
    """... then one multiplication here and another each time this much has passed"""

    @model_validator(mode="after")
    def _counts_on(self) -> Self:
        if self.every is not None and (self.after is None or self.after.unit != self.every.unit):
            start = "absent" if self.after is None else f'"{self.after}"'
            raise ValueError(f'every = "{self.every}" counts on from after, which is {start}; give it in the same unit')
        return self

    def build(self) -> Schedule:
        """The schedule."""
        return Steps(self)


class Steps(Schedule):
    """by ** (how many moments have come)."""

    def __init__(self, config: StepsConfig):
        super().__init__(config.warmup)
        self.config = config

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        config = self.config
        passed = sum(progress.of(moment) >= 1 for moment in config.at)
        if config.after is not None:
            begun = progress.of(config.after) >= 1
            passed += int(begun)
            if begun and config.every is not None:
                begin = config.after.value / config.every.value
                # note: 1e-9 keeps epochs that add up to 5.999... from missing their moment
                passed += math.floor(progress.of(config.every) - begin + 1e-9)
        return float(config.by**passed)


class PlateauConfig(_Warm):
    """Multiply by `by` whenever validation has stopped improving."""

    kind: Literal["plateau"] = "plateau"
    by: float = 0.25
    patience: int = 0
    """a validation loss above the best of all but the last so many is a plateau; 0: any that is no new best"""

    def build(self) -> Schedule:
        """The schedule."""
        return Plateau(self)


class Plateau(Schedule):
    """by ** (how many plateaus there were); after one, patience starts anew."""

    def __init__(self, config: PlateauConfig):
        super().__init__(config.warmup)
        self.by, self.patience = config.by, config.patience
        self.history: list[float] = []
        self.plateaus = 0

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return float(self.by**self.plateaus)

    def observe(self, loss: float) -> None:
        """See `Schedule.observe`."""
        if non_monotone(self.history, loss, self.patience):
            self.plateaus += 1
            self.history = [min([*self.history, loss])]
        else:
            self.history.append(loss)

    def state_dict(self) -> dict[str, Any]:
        """See `Schedule.state_dict`."""
        return super().state_dict() | {"history": self.history, "plateaus": self.plateaus}


ScheduleChoice = Annotated[ConstantConfig | LinearConfig | CosineConfig | StepsConfig | PlateauConfig, Tagged()]
