"""Drops when validation stops improving."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from foretell.config import Count
from foretell.optim.non_monotone import non_monotone
from foretell.optim.progress import Progress
from foretell.optim.schedules.schedule import Schedule, WarmupConfig


class PlateauConfig(WarmupConfig):
    """Multiply by `by` whenever validation has stopped improving."""

    waits: ClassVar[bool] = True
    kind: Literal["plateau"] = "plateau"
    by: Annotated[float, Field(gt=0, le=1)] = 0.25
    """0.1 divides by ten, 0.5 by two"""
    patience: Count = 0
    """a plateau is a validation loss above the best, leaving out the last `patience` losses; 0: any that is not a
    new best"""

    def build(self) -> Schedule:
        """Build the schedule."""
        return Plateau(self)


class Plateau(Schedule):
    """by ** (number of plateaus); each one resets the patience."""

    def __init__(self, config: PlateauConfig):
        super().__init__(config.warmup)
        self.by, self.patience = config.by, config.patience
        self.history: list[float] = []
        self.plateaus = 0

    @override
    def factor(self, progress: Progress, fraction: float) -> float:
        return float(self.by**self.plateaus)

    @override
    def observe(self, loss: float) -> None:
        if non_monotone(self.history, loss, self.patience):
            self.plateaus += 1
            self.history = [min([*self.history, loss])]
        else:
            self.history.append(loss)

    @override
    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"history": self.history, "plateaus": self.plateaus}
