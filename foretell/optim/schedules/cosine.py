"""Cosine decay."""

from __future__ import annotations

import math
from typing import Literal

from typing_extensions import override

from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import FallConfig, Schedule


class CosineConfig(FallConfig):
    """Half a cosine from 1 to `floor` at the end (arXiv:1608.03983, without restarts)."""

    kind: Literal["cosine"] = "cosine"

    def build(self) -> Schedule:
        """Build the schedule."""
        return Cosine(self)


class Cosine(Schedule):
    """floor + (1 - floor) * (1 + cos(pi * fraction)) / 2."""

    def __init__(self, config: CosineConfig):
        super().__init__(config.warmup, config.over, from_start=config.falls_from == "start")
        self.floor = config.floor

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        return self.floor + (1 - self.floor) * half_cosine(fraction)


def half_cosine(x: float) -> float:
    """From 1 at x = 0 to 0 at x = 1."""
    return (1 + math.cos(math.pi * x)) / 2
