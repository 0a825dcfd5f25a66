"""Step decay: drops at given times."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from foretell.config import Amount
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, WarmupConfig


class StepsConfig(WarmupConfig):
    """Multiply by `by` at given times, or periodically from `after` on."""

    kind: Literal["steps"] = "steps"
    by: Annotated[float, Field(gt=0, le=1)] = 0.1
    at: tuple[Amount, ...] = ()
    """times of the drops"""
    after: Amount | None = None
    """time of the first periodic drop"""
    every: Amount | None = None
    """time between periodic drops; absent: only the first"""

    @model_validator(mode="after")
    def _every_has_a_start(self) -> Self:
        if self.every is not None and (self.after is None or self.after.unit != self.every.unit):
            start = "absent" if self.after is None else f'"{self.after}"'
            raise ValueError(f'every = "{self.every}" counts from after, which is {start}; give it in the same unit')
        return self

    def build(self) -> Schedule:
        """Build the schedule."""
        return Steps(self)


class Steps(Schedule):
    """by ** (number of drops so far)."""

    def __init__(self, config: StepsConfig):
        super().__init__(config.warmup)
        self.config = config

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        config = self.config
        drops = sum(progress.of(time) >= 1 for time in config.at)
        if config.after is not None:
            begun = progress.of(config.after) >= 1
            drops += int(begun)
            if begun and config.every is not None:
                begin = config.after.value / config.every.value
                # note: 1e-9 keeps epochs that add up to 5.999... from missing a drop
                drops += math.floor(progress.of(config.every) - begin + 1e-9)
        return float(config.by**drops)
