"""The inverse square-root schedule of the original Transformer."""

from __future__ import annotations

import math
from typing import Literal

from typing_extensions import override

from foretell.config import Amount
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, WarmupConfig


class NoamConfig(WarmupConfig):
    """A linear warm-up, then the inverse square root of the step (arXiv:1706.03762, equation 3).

    `optimizer.learning_rate` is the rate at the peak; the paper's is (width * warm-up steps) ** -0.5.
    """

    kind: Literal["noam"] = "noam"
    warmup: Amount = Amount(value=4000, unit="steps")
    """duration of the linear rise; afterwards the rate halves whenever the time has grown fourfold"""

    def build(self) -> Schedule:
        """Build the schedule."""
        return Noam(self.warmup)


class Noam(Schedule):
    """sqrt(warm-up / passed); in steps, the next step counts as passed, as in the paper."""

    def __init__(self, warmup: Amount):
        super().__init__(warmup)
        self.rise = warmup

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        next_step = 1 / self.rise.value if self.rise.unit == "steps" else 0.0
        return 1 / math.sqrt(progress.of(self.rise) + next_step)
