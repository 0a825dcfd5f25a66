"""How far training is: what schedules, averages and everything periodic depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foretell.config import Amount


@dataclass(frozen=True)
class Progress:
    """How far the present stage of training is, before the step that is about to be taken."""

    step: int
    """optimiser steps taken"""
    epoch: float
    """passes over the text"""
    tokens: int
    """targets trained on"""
    seconds: float
    """wall-clock time, over all interruptions"""
    fraction: float
    """share of the stage's limit that is used up, 0 to 1; 0 where there is no limit"""

    def of(self, amount: Amount) -> float:
        """The share of an amount that is used up; above 1 once it is passed."""
        used = {"steps": self.step, "epochs": self.epoch, "tokens": self.tokens, "seconds": self.seconds}
        return used[amount.unit] / amount.value


def due(every: Amount, before: Progress, after: Progress) -> bool:
    """Whether a multiple of `every` lies between two moments."""
    return math.floor(after.of(every) + 1e-9) > math.floor(before.of(every) + 1e-9)
