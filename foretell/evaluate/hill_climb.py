"""A search for the best value of one setting, where each trial costs a pass over a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from foretell.errors import ConfigError

FURTHEST = 12  # steps beyond a ladder's end: a factor of 4,096


def climb(loss: Callable[[float], float], ladder: Sequence[float]) -> float:
    """The value of an increasing ladder with the lowest loss; an end that wins is extended by factors of 2.

    The first of equal losses wins, so a setting without effect keeps the lowest value; NaN never wins. A `ConfigError`
    where no value gives a finite loss.
    """

    def finite_loss(value: float) -> float:
        result = loss(value)
        return math.inf if math.isnan(result) else result

    tried = {value: finite_loss(value) for value in ladder}

    def extend(value: float, factor: float) -> None:
        for _ in range(FURTHEST):
            if min(tried, key=tried.__getitem__) != value or value == 0:
                return
            value *= factor
            tried[value] = finite_loss(value)

    best = min(tried, key=tried.__getitem__)
    if math.isinf(tried[best]):
        raise ConfigError(f"no value from {ladder[0]:g} to {ladder[-1]:g} gives a finite loss; give one yourself")
    if best == ladder[-1]:
        extend(best, 2.0)
    elif best == ladder[0]:
        extend(best, 0.5)
    return min(tried, key=tried.__getitem__)
