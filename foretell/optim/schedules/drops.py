"""Schedules that fall at once: at given moments, or when validation stops improving."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from foretell.config import Amount, Count
from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, WarmConfig


class StepsConfig(WarmConfig):
    """Multiply by `by` at given moments, or from `after` on every so often."""

    kind: Literal["steps"] = "steps"
    by: Annotated[float, Field(gt=0, le=1)] = 0.1
    at: tuple[Amount, ...] = ()
    """moments of a multiplication each"""
    after: Amount | None = None
    """constant until here ..."""
    every: Amount | None = None
    """... then one multiplication here and another each time this much has passed"""

    @model_validator(mode="after")
    def _counts_on(self) -> Self:
        if self.every is not None and (self.after is None or self.after.unit != self.every.unit):
            start = "absent" if self.after is None else f'"{self.after}"'
            raise ValueError(f'every = "{self.every}" counts on from after, which is {start}; give it in the same unit')
        return self

    def build(self) -> Schedule:
        """The schedule."""
        return Steps(self)


class Steps(Schedule):
    """by ** (how many moments have come)."""

    def __init__(self, config: StepsConfig):
        super().__init__(config.warmup)
        self.config = config

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        config = self.config
        passed = sum(progress.of(moment) >= 1 for moment in config.at)
        if config.after is not None:
            begun = progress.of(config.after) >= 1
            passed += int(begun)
            if begun and config.every is not None:
                begin = config.after.value / config.every.value
                # note: 1e-9 keeps epochs that add up to 5.999... from missing their moment
                passed += math.floor(progress.of(config.every) - begin + 1e-9)
        return float(config.by**passed)


class PlateauConfig(WarmConfig):
    """Multiply by `by` whenever validation has stopped improving."""

    kind: Literal["plateau"] = "plateau"
    by: Annotated[float, Field(gt=0, le=1)] = 0.25
    """0.1 divides by ten, 0.5 by two"""
    patience: Count = 0
    """a validation loss above the best of all but the last so many is a plateau; 0: any that is no new best"""

    def build(self) -> Schedule:
        """The schedule."""
        return Plateau(self)


class Plateau(Schedule):
    """by ** (how many plateaus there were); after one, patience starts anew."""

    def __init__(self, config: PlateauConfig):
        super().__init__(config.warmup)
        self.by, self.patience = config.by, config.patience
        self.history: list[float] = []
        self.plateaus = 0

    def factor(self, progress: Progress, left: float) -> float:
        """See `Schedule.factor`."""
        return float(self.by**self.plateaus)

    def observe(self, loss: float) -> None:
        """See `Schedule.observe`."""
        if non_monotone(self.history, loss, self.patience):
            self.plateaus += 1
            self.history = [min([*self.history, loss])]
        else:
            self.history.append(loss)

    def state_dict(self) -> dict[str, Any]:
        """See `Schedule.state_dict`."""
        return super().state_dict() | {"history": self.history, "plateaus": self.plateaus}
