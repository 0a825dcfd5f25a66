"""Schedules that rise and fall by themselves, without a warm-up beside: cyclic, one-cycle, slanted triangular."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from foretell.config import Amount, Config, Share
from foretell.optim.progress import Progress
from foretell.optim.schedules.decays import half_cosine
from foretell.optim.schedules.schedule import Schedule


class CyclicConfig(Config):
    """Up from `low` to 1 and down again, over and over (Smith 2015, arXiv:1506.01186: "triangular")."""

    kind: Literal["cyclic"] = "cyclic"
    cycle: Amount = Amount(value=1, unit="epochs")
    """how long up and down take together; Smith's step size is half of it"""
    low: Share = 0.1
    """the factor at both ends of a cycle"""
    shrink: float = Field(default=1.0, gt=0, le=1)
    """each cycle is so many times as high as the one before; 0.5 is Smith's "triangular2" """

    def build(self) -> Schedule:
        """The schedule."""
        return Cyclic(self)


class Cyclic(Schedule):
    """low + (1 - low) * shrink ** (cycles passed) * triangle."""

    def __init__(self, config: CyclicConfig):
        super().__init__()
        self.config = config

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        config, at = self.config, progress.of(self.config.cycle)
        # note: 1e-9 keeps epochs that add up to 5.999... from missing the end of their cycle
        passed = math.floor(at + 1e-9)
        triangle = 1 - abs(2 * max(at - passed, 0.0) - 1)
        return float(config.low + (1 - config.low) * config.shrink**passed * triangle)


class OneCycleConfig(Config):
    """Up once from `start` to 1, then down to `end` at the limit (Smith and Topin 2017, arXiv:1708.07120)."""

    kind: Literal["one-cycle"] = "one-cycle"
    rise: float = Field(default=0.3, gt=0, lt=1)
    """the share of the limit at which the rate is highest"""
    start: Share = 0.04
    end: Share = 4e-6
    shape: Literal["cosine", "linear"] = "cosine"

    def build(self) -> Schedule:
        """The schedule."""
        return OneCycle(self)


class OneCycle(Schedule):
    """From `start` to 1 to `end`, each along half a cosine or a line."""

    def __init__(self, config: OneCycleConfig):
        super().__init__()
        self.config = config

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        config = self.config
        rising = left < config.rise
        x = left / config.rise if rising else (left - config.rise) / (1 - config.rise)
        begin, end = (config.start, 1.0) if rising else (1.0, config.end)
        high = half_cosine(x) if config.shape == "cosine" else 1 - x
        return end + (begin - end) * high


class SlantedConfig(Config):
    """Slanted triangular: up steeply, then down slowly (Howard and Ruder 2018, arXiv:1801.06146, equation 3)."""

    kind: Literal["slanted"] = "slanted"
    cut: float = Field(default=0.1, gt=0, lt=1)
    """the share of the limit at which the rate is highest; not rounded to a whole step as it is in the paper"""
    ratio: float = Field(default=32.0, ge=1, le=1e12)
    """how many times lower the rate is at both ends"""

    def build(self) -> Schedule:
        """The schedule."""
        return Slanted(self)


class Slanted(Schedule):
    """(1 + p * (ratio - 1)) / ratio with p rising from 0 to 1 at `cut` and falling to 0 at the limit."""

    def __init__(self, config: SlantedConfig):
        super().__init__()
        self.cut, self.ratio = config.cut, config.ratio

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        p = left / self.cut if left < self.cut else 1 - (left - self.cut) / (1 - self.cut)
        return (1 + p * (self.ratio - 1)) / self.ratio
