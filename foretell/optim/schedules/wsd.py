"""Warm-up, stable, decay: a constant rate, then a fall to the end (WSD, arXiv:2404.06395)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from typing_extensions import override

from foretell.optim.progress import Progress
from foretell.optim.schedules.cosine import half_cosine
from foretell.optim.schedules.schedule import DecayConfig, Schedule


class WSDConfig(DecayConfig):
    """Warm-up, stable, decay: the full rate until a share of the time has passed, then a fall to `floor`."""

    kind: Literal["wsd"] = "wsd"
    until: float = Field(default=0.6, ge=0, lt=1)
    """share of the whole, warm-up included, at which the fall starts; 0.5 to 0.75 are usual"""
    fall: Literal["linear", "cosine", "root"] = "linear"
    """shape of the fall; "root": 1 - sqrt(x), fast first (arXiv:2405.18392)"""

    def build(self) -> Schedule:
        """Build the schedule."""
        return WSD(self)


class WSD(Schedule):
    """1, then floor + (1 - floor) * fall(x), x running from 0 at `until` to 1 at the end."""

    def __init__(self, config: WSDConfig):
        super().__init__(config.warmup, config.over)
        self.config = config

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        config = self.config
        x = min(max((self.used(progress) - config.until) / (1 - config.until), 0.0), 1.0)
        high = {"linear": 1 - x, "cosine": half_cosine(x), "root": 1 - math.sqrt(x)}[config.fall]
        return config.floor + (1 - config.floor) * high
