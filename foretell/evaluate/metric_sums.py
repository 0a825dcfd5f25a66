"""Metrics of tasks as functions of sums over examples.

So the bootstrap can draw examples anew thousands of times: what an example adds is found once. N examples, K numbers
that each adds, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foretell.evaluate.bootstrap import Floats


@dataclass(frozen=True)
class Tally:
    """What each example adds, and the metric of what all add."""

    parts: Floats
    """[N, K]"""
    metric: Callable[[Floats], Floats]
    """sums [..., K] -> [...]"""


def mean(values: ArrayLike) -> Tally:
    """Of values [N] of the examples, right or wrong say."""
    values = np.asarray(values, np.float64)
    return share(values, np.ones_like(values))


def share(some: ArrayLike, every: ArrayLike) -> Tally:
    """Of what is counted [N] in each example, words say, so much [N]."""
    return Tally(np.stack([some, every], 1).astype(np.float64), lambda sums: quotient(sums[..., 0], sums[..., 1]))


def f1(right: ArrayLike, there: ArrayLike, told: ArrayLike) -> Tally:
    """The harmonic mean of precision and recall, of how many [N] each example has."""
    return Tally(
        np.stack([right, there, told], 1).astype(np.float64),
        lambda sums: quotient(2 * sums[..., 0], sums[..., 1] + sums[..., 2]),
    )


def classes(metric: str, truth: Sequence[Iterable[str]], found: Sequence[Iterable[str]], positive: str = "") -> Tally:
    """A metric of `evaluate.tasks.classification` or `several_labels`, by its name there."""
    pairs = [(set(one), set(other)) for one, other in zip(truth, found, strict=True)]
    labels = sorted({label for pair in pairs for side in pair for label in side})
    there, told = (np.array([[label in pair[side] for label in labels] for pair in pairs], bool) for side in (0, 1))
    right = there & told  # [N, L]
    if metric == "accuracy":
        return mean([one == other for one, other in pairs])
    if metric == "micro_f1":
        return f1(right.sum(1), there.sum(1), told.sum(1))
    if metric == "f1":
        chosen = [label == positive for label in labels]
        return f1(*(side[:, chosen].sum(1) for side in (right, there, told)))
    of_all = {"macro_f1": macro_f1, "matthews": matthews}[metric]
    return Tally(
        np.stack([right, there, told], 1).reshape(len(pairs), -1).astype(np.float64),
        lambda sums: of_all(*np.moveaxis(sums.reshape(*sums.shape[:-1], 3, len(labels)), -2, 0)),
    )


def macro_f1(right: Floats, there: Floats, told: Floats) -> Floats:
    """Of how often each label [..., L] is told rightly, is there, and is told: the mean F1 of all labels [...]."""
    mean_f1: Floats = quotient(2 * right, there + told).sum(-1) / max(right.shape[-1], 1)
    return mean_f1


def matthews(right: Floats, there: Floats, told: Floats) -> Floats:
    """Of the same: Matthews' correlation for any number of classes (Gorodkin 2004), 0 where it is undefined."""
    every = there.sum(-1)
    common = right.sum(-1) * every - (there * told).sum(-1)
    spread = (every**2 - (there**2).sum(-1)) * (every**2 - (told**2).sum(-1))
    return quotient(common, np.sqrt(spread))


def correlation(truth: ArrayLike, found: ArrayLike) -> Tally:
    """Pearson's, 0 where either side is constant; of ranks it is Spearman's, with each example at the rank that it has
    among all."""
    x, y = (standardised(np.asarray(side, np.float64)) for side in (truth, found))
    return Tally(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1), pearson)


def pearson(sums: Floats) -> Floats:
    """Moments (n, x, y, xx, yy, xy) [..., 6] -> the linear correlation [...]."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    return quotient(n * xy - x * y, np.sqrt(np.where(spread > 1e-12 * n**4, spread, 0)))


def standardised(values: Floats) -> Floats:
    """With a mean of 0 and a variance of 1, or 0 where they are all alike."""
    spread = values.std()
    apart: Floats = values - values.mean()
    return apart / spread if spread > 0 else apart


def quotient(above: Floats, below: Floats) -> Floats:
    """0 where nothing is below."""
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below > 0)
