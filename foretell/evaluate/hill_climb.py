"""Finding a number that is best for a text, where each try costs a pass over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from foretell.errors import ConfigError

FURTHEST = 12  # steps beyond a ladder's end: a factor of 4,096


def climb(loss: Callable[[float], float], ladder: Sequence[float]) -> float:
    """The rung of a rising ladder with the least loss; where that is an end, the ladder goes on there by factors of 2.

    The first of equal losses wins, so that a setting without effect keeps the lowest rung; one that is not a number
    never wins. A `ConfigError` where no rung gives a finite loss.
    """

    def judged(rung: float) -> float:
        found = loss(rung)
        return math.inf if math.isnan(found) else found

    tried = {rung: judged(rung) for rung in ladder}

    def go_on(rung: float, factor: float) -> None:
        for _ in range(FURTHEST):
            if min(tried, key=tried.__getitem__) != rung or rung == 0:
                return
            rung *= factor
            tried[rung] = judged(rung)

    best = min(tried, key=tried.__getitem__)
    if math.isinf(tried[best]):
        raise ConfigError(f"no value from {ladder[0]:g} to {ladder[-1]:g} gives a finite loss; give one yourself")
    if best == ladder[-1]:
        go_on(best, 2.0)
    elif best == ladder[0]:
        go_on(best, 0.5)
    return min(tried, key=tried.__getitem__)
