"""The constant schedule."""

from __future__ import annotations

from typing import Literal

from typing_extensions import override

from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, WarmupConfig


class ConstantConfig(WarmupConfig):
    """A constant rate."""

    kind: Literal["constant"] = "constant"

    def build(self) -> Schedule:
        """Build the schedule."""
        return Constant(self.warmup)


class Constant(Schedule):
    """1."""

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        return 1.0
