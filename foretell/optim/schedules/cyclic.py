"""Cyclic learning rates."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from typing_extensions import override

from foretell.config import Amount, Share
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, ScheduleConfig


class CyclicConfig(ScheduleConfig):
    """Repeatedly up from `low` to 1 and down again (Smith 2015, arXiv:1506.01186: "triangular")."""

    kind: Literal["cyclic"] = "cyclic"
    cycle: Amount = Amount(value=1, unit="epochs")
    """duration of a cycle, up and down; Smith's step size is half of it"""
    low: Share = 0.1
    """factor at both ends of a cycle"""
    shrink: float = Field(default=1.0, gt=0, le=1)
    """height of a cycle relative to the one before; 0.5 is Smith's "triangular2" """

    def build(self) -> Schedule:
        """Build the schedule."""
        return Cyclic(self)


class Cyclic(Schedule):
    """low + (1 - low) * shrink ** (cycles passed) * triangle."""

    def __init__(self, config: CyclicConfig):
        super().__init__()
        self.config = config

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        config, cycles = self.config, progress.of(self.config.cycle)
        # note: 1e-9 keeps epochs that add up to 5.999... from missing the end of their cycle
        passed = math.floor(cycles + 1e-9)
        triangle = 1 - abs(2 * max(cycles - passed, 0.0) - 1)
        return float(config.low + (1 - config.low) * config.shrink**passed * triangle)
