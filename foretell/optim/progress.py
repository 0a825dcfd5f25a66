"""Training progress, which schedules, averages and periodic events depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foretell.config import Amount


@dataclass(frozen=True)
class Progress:
    """Progress of the current training stage, before the next step."""

    step: int
    """number of optimiser steps"""
    epoch: float
    """passes over the text"""
    tokens: int
    """number of targets trained on"""
    seconds: float
    """wall-clock time, summed over interruptions"""
    fraction: float
    """share of the stage's limit that has passed, 0 to 1; 0 without a limit"""

    def of(self, amount: Amount) -> float:
        """Share of an amount that has passed; above 1 after it."""
        used = {"steps": self.step, "epochs": self.epoch, "tokens": self.tokens, "seconds": self.seconds}
        return used[amount.unit] / amount.value


def due(every: Amount, before: Progress, after: Progress) -> bool:
    """Whether a multiple of `every` lies between two moments."""
    return math.floor(after.of(every) + 1e-9) > math.floor(before.of(every) + 1e-9)
