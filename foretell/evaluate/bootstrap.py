"""Which differences between two models are real: the paired bootstrap over parts of a text, or examples of a task.

The parts (documents, or blocks where there are few) are drawn anew with replacement, both models keep their scores of
each (Efron and Tibshirani 1993, chapter 8; for language technology Koehn 2004). Parts, not tokens: within a document
tokens are alike, and drawing them one by one would make every difference look certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NORMAL = NormalDist()
AT_ONCE = 1 << 22  # numbers drawn at once
FEWEST, ENOUGH = 5, 20
"""parts below which there is no interval, and below which it is too narrow: from 8 parts one of eight differences that
are none looks real, from 20 one of thirteen"""


@dataclass(frozen=True)
class Interval:
    """A difference, and how sure it is."""

    difference: float
    low: float
    """lower end of the interval"""
    high: float
    better: float
    """share of draws in which the difference is below zero; half of those that are zero"""
    level: float
    resamples: int

    @property
    def real(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0

    def record(self) -> dict[str, Any]:
        """As JSON has it, `probability` that the one that is better stays so; without an interval the `reason`."""
        if not self.resamples:
            return no_interval(f"fewer than {FEWEST} parts") | {"difference": self.difference}
        return {
            "difference": self.difference,
            "interval": [self.low, self.high],
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "resamples": self.resamples,
            "probability": 1 - self.better,
            "real": self.real,
            "reason": None,
        }


def no_interval(reason: str) -> dict[str, Any]:
    """`Interval.record` of two that cannot be compared, and why."""
    unknown = ("difference", "interval", "low", "high", "level", "resamples", "probability")
    return {**dict.fromkeys(unknown), "real": False, "reason": reason}


def too_few(parts: int) -> str | None:
    """What to say of intervals from so many parts, where they are not to be trusted."""
    if parts < FEWEST:
        return f"no intervals from {parts} parts: take a longer text, of {FEWEST} parts at least"
    return f"intervals from {parts} parts are too narrow: take a longer text" if parts < ENOUGH else None


def bootstrap_ratio(
    differences: Floats, sizes: Floats, *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """sum(differences) / sum(sizes) over U parts [U], with its interval; see `bootstrap`.

    `differences` are those of the two models' losses of each part, `sizes` how much each part counts (its bytes).
    """
    both = np.stack([differences, sizes], 1)
    return bootstrap(both, lambda sums: sums[..., 0] / sums[..., 1], level=level, resamples=resamples, seed=seed)


def bootstrap(
    values: Floats,
    difference: Callable[[Floats], Floats],
    *,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """A difference that depends on U parts by sums of their values [U, K] alone, with its bias-corrected and
    accelerated interval; `difference` makes [...] of sums [..., K].

    BCa: Efron 1987 (JASA 82), with the acceleration from leaving out one part at a time. Fewer than `FEWEST` parts have
    no interval: its ends are infinite, nothing is drawn.
    """
    sums = values.sum(0)
    observed = float(difference(sums))
    if len(values) < FEWEST:
        return Interval(observed, -math.inf, math.inf, 0.5, level, 0)
    drawn = draws(values, resamples, np.random.default_rng(seed))
    found = np.sort(np.concatenate([difference(some) for some in drawn]))  # [R]
    below = shares_below(found, observed)
    if found[0] == found[-1] or not 0 < below < 1:  # all alike: there is nothing to correct
        low, high = (float(end) for end in np.quantile(found, [(1 - level) / 2, (1 + level) / 2]))
        return Interval(observed, low, high, shares_below(found, 0.0), level, resamples)
    bias = NORMAL.inv_cdf(below)
    acceleration = skewness_of_leaving_one_out(difference(sums - values))

    def corrected(share: float) -> float:
        z = bias + NORMAL.inv_cdf(share)
        return NORMAL.cdf(bias + z / (1 - acceleration * z))

    low, high = (float(np.quantile(found, corrected(share))) for share in ((1 - level) / 2, (1 + level) / 2))
    return Interval(observed, low, high, shares_below(found, 0.0), level, resamples)


def draws(values: Floats, resamples: int, random: np.random.Generator) -> Iterator[Floats]:
    """values [U, K] -> sums over U parts drawn with replacement, [r, K] at a time."""
    parts = len(values)
    at_once = max(1, AT_ONCE // parts)
    for begin in range(0, resamples, at_once):
        rows = min(at_once, resamples - begin)
        counts = random.multinomial(parts, np.full(parts, 1 / parts), size=rows)  # [r, U] how often each is drawn
        yield counts @ values


def shares_below(ordered: Floats, value: float) -> float:
    """The share of ordered values below this one; those equal to it count half."""
    return float(np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right")) / 2 / len(ordered)


def skewness_of_leaving_one_out(without: Floats) -> float:
    """The acceleration of BCa: how the spread of a difference depends on it, from those without one part [U]."""
    away = without.mean() - without
    spread = float((away**2).sum())
    return float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
