"""Schedules that stay, or fall once, slowly: constant, linear, polynomial, cosine, hold-then-fall, inverse root."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from foretell.config import Amount, Positive, Share
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, WarmConfig


class ConstantConfig(WarmConfig):
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


class _DecayConfig(WarmConfig):
    floor: Share = 0.0
    """the factor at the end"""
    over: tuple[Amount, ...] = ()
    """end at whichever of these comes first, such as ["100000steps", "3epochs"]; absent: the stage's limit"""


class _FallConfig(_DecayConfig):
    falls_from: Literal["warmup", "start"] = "warmup"
    """what the fall is counted from: the end of the warm-up; or the start, as Google's BERT and NVIDIA's LAMB have it,
    where the rate drops at once when the warm-up is over"""


class LinearConfig(_FallConfig):
    """Linear from 1 to `floor` at the end."""

    kind: Literal["linear"] = "linear"

    def build(self) -> Schedule:
        """The schedule."""
        return Polynomial(self, power=1.0)


class PolynomialConfig(_FallConfig):
    """(1 - share used up) to a power, from 1 to `floor` at the end."""

    kind: Literal["polynomial"] = "polynomial"
    power: Positive = 2.0
    """1 is linear; above 1 falls fast first, below 1 late"""

    def build(self) -> Schedule:
        """The schedule."""
        return Polynomial(self, self.power)


class Polynomial(Schedule):
    """floor + (1 - floor) * (1 - left) ** power."""

    def __init__(self, config: _FallConfig, power: float):
        super().__init__(config.warmup, config.over, from_start=config.falls_from == "start")
        self.floor, self.power = config.floor, power

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return float(self.floor + (1 - self.floor) * (1 - left) ** self.power)


class CosineConfig(_FallConfig):
    """Half a cosine from 1 to `floor` at the end (arXiv:1608.03983, without restarts)."""

    kind: Literal["cosine"] = "cosine"

    def build(self) -> Schedule:
        """The schedule."""
        return Cosine(self)


class Cosine(Schedule):
    """floor + (1 - floor) * (1 + cos(pi * left)) / 2."""

    def __init__(self, config: CosineConfig):
        super().__init__(config.warmup, config.over, from_start=config.falls_from == "start")
        self.floor = config.floor

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return self.floor + (1 - self.floor) * half_cosine(left)


class HoldConfig(_DecayConfig):
    """The full rate for a fixed share of the time, then down to `floor` at the end."""

    kind: Literal["hold"] = "hold"
    until: float = Field(default=0.6, ge=0, lt=1)
    """the share of the whole, warm-up included, after which the rate falls; 0.5 to 0.75 are usual"""
    fall: Literal["linear", "cosine", "root"] = "linear"
    """how it falls; "root": as 1 - sqrt(x), fast first (arXiv:2405.18392)"""

    def build(self) -> Schedule:
        """The schedule."""
        return Hold(self)


class Hold(Schedule):
    """1, then floor + (1 - floor) * fall(x), x running from 0 at `until` to 1 at the end."""

    def __init__(self, config: HoldConfig):
        super().__init__(config.warmup, config.over)
        self.config = config

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        config = self.config
        x = min(max((self.used(progress) - config.until) / (1 - config.until), 0.0), 1.0)
        high = {"linear": 1 - x, "cosine": half_cosine(x), "root": 1 - math.sqrt(x)}[config.fall]
        return config.floor + (1 - config.floor) * high


class NoamConfig(WarmConfig):
    """A linear warm-up, then the inverse square root of the step (arXiv:1706.03762, equation 3).

    `optimizer.learning_rate` is the rate at the peak; the paper's is (width * warm-up steps) ** -0.5.
    """

    kind: Literal["noam"] = "noam"
    warmup: Amount = Amount(value=4000, unit="steps")
    """how long the rate rises linearly; afterwards it has halved whenever four times as much has passed"""

    def build(self) -> Schedule:
        """The schedule."""
        return Noam(self.warmup)


class Noam(Schedule):
    """sqrt(warm-up / passed); in steps, the step about to be taken counts as passed, as in the paper."""

    def __init__(self, warmup: Amount):
        super().__init__(warmup)
        self.rise = warmup

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        begun = 1 / self.rise.value if self.rise.unit == "steps" else 0.0
        return 1 / math.sqrt(progress.of(self.rise) + begun)


def half_cosine(x: float) -> float:
    """From 1 at x = 0 to 0 at x = 1."""
    return (1 + math.cos(math.pi * x)) / 2
