"""Polynomial decay, of which linear decay is the case of power 1."""

from __future__ import annotations

from typing import Literal

from typing_extensions import override

from foretell.config import Positive
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import FallConfig, Schedule


class LinearConfig(FallConfig):
    """Linear from 1 to `floor` at the end."""

    kind: Literal["linear"] = "linear"

    def build(self) -> Schedule:
        """Build the schedule."""
        return Polynomial(self, power=1.0)


class PolynomialConfig(FallConfig):
    """(1 - fraction of the time) to a power, from 1 to `floor` at the end."""

    kind: Literal["polynomial"] = "polynomial"
    power: Positive = 2.0
    """1 is linear; larger powers fall earlier, smaller ones later"""

    def build(self) -> Schedule:
        """Build the schedule."""
        return Polynomial(self, self.power)


class Polynomial(Schedule):
    """floor + (1 - floor) * (1 - fraction) ** power."""

    def __init__(self, config: FallConfig, power: float):
        super().__init__(config.warmup, config.over, from_start=config.falls_from == "start")
        self.floor, self.power = config.floor, power

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        return float(self.floor + (1 - self.floor) * (1 - fraction) ** self.power)
