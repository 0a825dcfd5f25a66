"""Paired bootstrap: is the difference between two models significant?

Parts of a text (documents, or blocks where there are few) or examples of a task are resampled with replacement, with
the scores of both models (Efron and Tibshirani 1993, chapter 8; for language technology Koehn 2004). Parts, not tokens:
tokens of a document are correlated, and resampling them would make every difference look certain. U parts, K values of
a part, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.units import counted

Floats = NDArray[np.float64]
NORMAL = NormalDist()
AT_ONCE = 1 << 22  # numbers in memory at once
FEWEST, ENOUGH = 5, 20
"""parts below which there is no interval, and below which it is too narrow: with 8 parts one in eight differences of
equal models looks significant, with 20 one in thirteen"""


@dataclass(frozen=True)
class Interval:
    """A difference with its confidence interval."""

    difference: float
    low: float
    """lower end of the interval"""
    high: float
    """upper end of the interval"""
    better: float
    """fraction of resamples with a difference below zero; those of zero count half"""
    p_value: float
    """two-sided: 1 minus the level of the interval that ends at zero"""
    level: float
    resamples: int

    @property
    def real(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0

    def record(self) -> dict[str, Any]:
        """The interval as JSON; without one the `reason`. `p_better` is the fraction of resamples in which the better
        one stays better."""
        if not self.resamples:
            return no_interval(f"fewer than {FEWEST} parts") | {"difference": self.difference}
        return {
            "difference": self.difference,
            "interval": [self.low, self.high],
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "resamples": self.resamples,
            "p_better": 1 - self.better,
            "p_value": self.p_value,
            "real": self.real,
            "reason": None,
        }


def no_interval(reason: str) -> dict[str, Any]:
    """`Interval.record` where there is no interval, and why."""
    unknown = ("difference", "interval", "low", "high", "level", "resamples", "p_better", "p_value")
    return {**dict.fromkeys(unknown), "real": False, "reason": reason}


def too_few(parts: int) -> str | None:
    """A warning where intervals from so few parts are missing or unreliable."""
    if parts < FEWEST:
        return f"no intervals from {counted(parts, 'part')}: take a longer text with at least {FEWEST} parts"
    return f"intervals from {parts} parts are too narrow: take a longer text" if parts < ENOUGH else None


def bootstrap_ratio(
    differences: Floats, sizes: Floats, *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """sum(differences) / sum(sizes) over parts [U], with its interval; see `bootstrap`.

    `differences` are those between the losses of two models, `sizes` the weights of the parts (their bytes).
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
    """A difference of sums over parts, with its bias-corrected and accelerated interval.

    `difference` maps sums [..., K] of values [U, K] to [...]. BCa: Efron 1987 (JASA 82), with the acceleration from
    leaving out one part at a time. With fewer than `FEWEST` parts nothing is resampled and the ends are infinite.
    """
    sums = values.sum(0)
    observed = float(difference(sums))
    if len(values) < FEWEST:
        return Interval(observed, -math.inf, math.inf, 0.5, 1.0, level, 0)
    chunks = resampled_sums(values, resamples, np.random.default_rng(seed))
    ordered = np.sort(np.concatenate([difference(chunk) for chunk in chunks]))  # [R]
    below, better = fraction_below(ordered, observed), fraction_below(ordered, 0.0)
    if ordered[0] == ordered[-1] or not 0 < below < 1:  # all equal: nothing to correct
        low, high = (float(end) for end in np.quantile(ordered, [(1 - level) / 2, (1 + level) / 2]))
        return Interval(observed, low, high, better, two_sided(better, resamples), level, resamples)
    bias = NORMAL.inv_cdf(below)
    acceleration = jackknife_acceleration(difference(sums - values))

    def corrected(quantile: float) -> float:
        z = bias + NORMAL.inv_cdf(quantile)
        return NORMAL.cdf(bias + z / (1 - acceleration * z))

    low, high = (float(np.quantile(ordered, corrected(end))) for end in ((1 - level) / 2, (1 + level) / 2))
    return Interval(observed, low, high, better, two_sided(better, resamples, bias, acceleration), level, resamples)


def two_sided(below: float, resamples: int, bias: float = 0.0, acceleration: float = 0.0) -> float:
    """The level at which an end of the BCa interval is zero, from the fraction of resamples `below` zero.

    It inverts `corrected` in `bootstrap`. At least 2 / (R + 1), as zero may lie beyond all R resamples (Davison and
    Hinkley 1997, section 4.2).
    """
    least = 1 / (resamples + 1)
    v = NORMAL.inv_cdf(min(max(below, least), 1 - least)) - bias
    if 1 + acceleration * v <= 0:  # beyond what any level reaches
        return 2 * least
    tail = NORMAL.cdf(v / (1 + acceleration * v) - bias)
    return max(2 * min(tail, 1 - tail), 2 * least)


def resampled_sums(values: Floats, resamples: int, random: np.random.Generator) -> Iterator[Floats]:
    """Values [U, K] -> sums over U parts drawn with replacement, in chunks [r, K]."""
    parts = len(values)
    at_once = max(1, AT_ONCE // parts)
    for begin in range(0, resamples, at_once):
        rows = min(at_once, resamples - begin)
        counts = random.multinomial(parts, np.full(parts, 1 / parts), size=rows)  # [r, U] how often each is drawn
        yield counts @ values


def fraction_below(ordered: Floats, value: float) -> float:
    """The fraction of sorted values below this one; equal ones count half."""
    return float(np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right")) / 2 / len(ordered)


def jackknife_acceleration(without: Floats) -> float:
    """The acceleration of BCa, from the differences without one part each [U]."""
    deviations = without.mean() - without
    squares = float((deviations**2).sum())
    return float((deviations**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
