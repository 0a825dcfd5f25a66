"""The slanted triangular schedule of ULMFiT."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import override

from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, ScheduleConfig


class SlantedTriangularConfig(ScheduleConfig):
    """Slanted triangular: a steep rise, then a slow fall (Howard and Ruder 2018, arXiv:1801.06146, equation 3)."""

    kind: Literal["slanted"] = "slanted"
    cut: float = Field(default=0.1, gt=0, lt=1)
    """share of the limit at which the rate peaks; not rounded to a whole step as in the paper"""
    ratio: float = Field(default=32.0, ge=1, le=1e12)
    """ratio of the peak to the rate at both ends"""

    def build(self) -> Schedule:
        """Build the schedule."""
        return SlantedTriangular(self)


class SlantedTriangular(Schedule):
    """(1 + p * (ratio - 1)) / ratio with p rising from 0 to 1 at `cut` and falling to 0 at the limit."""

    def __init__(self, config: SlantedTriangularConfig):
        super().__init__()
        self.cut, self.ratio = config.cut, config.ratio

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        p = fraction / self.cut if fraction < self.cut else 1 - (fraction - self.cut) / (1 - self.cut)
        return (1 + p * (self.ratio - 1)) / self.ratio
