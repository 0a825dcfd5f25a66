"""The one-cycle schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import override

from foretell.config import Share
from foretell.optim.progress import Progress
from foretell.optim.schedules.cosine import half_cosine
from foretell.optim.schedules.schedule import Schedule, ScheduleConfig


class OneCycleConfig(ScheduleConfig):
    """Once up from `start` to 1, then down to `end` at the limit (Smith and Topin 2017, arXiv:1708.07120)."""

    kind: Literal["one-cycle"] = "one-cycle"
    rise: float = Field(default=0.3, gt=0, lt=1)
    """share of the limit at which the rate peaks"""
    start: Share = 0.04
    end: Share = 4e-6
    shape: Literal["cosine", "linear"] = "cosine"

    def build(self) -> Schedule:
        """Build the schedule."""
        return OneCycle(self)


class OneCycle(Schedule):
    """From `start` to 1 to `end`, each along half a cosine or a line."""

    def __init__(self, config: OneCycleConfig):
        super().__init__()
        self.config = config

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        config = self.config
        rising = fraction < config.rise
        x = fraction / config.rise if rising else (fraction - config.rise) / (1 - config.rise)
        begin, end = (config.start, 1.0) if rising else (1.0, config.end)
        high = half_cosine(x) if config.shape == "cosine" else 1 - x
        return end + (begin - end) * high
