"""Task metrics as functions of sums over examples, for the bootstrap.

What each example adds is computed once; the bootstrap then resamples examples thousands of times. N examples, K numbers
per example, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foretell.evaluate.bootstrap import Floats


@dataclass(frozen=True)
class Tally:
    """Addends of each example, and the metric as a function of their sums."""

    parts: Floats
    """[N, K]"""
    metric: Callable[[Floats], Floats]
    """sums [..., K] -> [...]"""


def mean(values: ArrayLike) -> Tally:
    """The mean of values [N], such as right or wrong."""
    values = np.asarray(values, np.float64)
    return ratio(values, np.ones_like(values))


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> Tally:
    """sum(numerators [N]) / sum(denominators [N])."""
    parts = np.stack([numerators, denominators], 1).astype(np.float64)
    return Tally(parts, lambda sums: quotient(sums[..., 0], sums[..., 1]))


def f1(right: ArrayLike, gold: ArrayLike, predicted: ArrayLike) -> Tally:
    """F1 from true positives, gold and predicted counts [N]."""
    return Tally(
        np.stack([right, gold, predicted], 1).astype(np.float64),
        lambda sums: quotient(2 * sums[..., 0], sums[..., 1] + sums[..., 2]),
    )


def classes(
    metric: str, gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]], positive: str = ""
) -> Tally:
    """A metric of `task_metrics.classification` or `multi_label`, by its name there."""
    pairs = [(set(a), set(b)) for a, b in zip(gold, predicted, strict=True)]
    labels = sorted({label for pair in pairs for side in pair for label in side})
    gold_bits, predicted_bits = (
        np.array([[label in pair[side] for label in labels] for pair in pairs], bool) for side in (0, 1)
    )
    right = gold_bits & predicted_bits  # [N, L]
    if metric == "accuracy":
        return mean([a == b for a, b in pairs])
    if metric == "micro_f1":
        return f1(right.sum(1), gold_bits.sum(1), predicted_bits.sum(1))
    if metric == "f1":
        chosen = [label == positive for label in labels]
        return f1(*(bits[:, chosen].sum(1) for bits in (right, gold_bits, predicted_bits)))
    function = {"macro_f1": macro_f1, "matthews": matthews}[metric]
    return Tally(
        np.stack([right, gold_bits, predicted_bits], 1).reshape(len(pairs), -1).astype(np.float64),
        lambda sums: function(*np.moveaxis(sums.reshape(*sums.shape[:-1], 3, len(labels)), -2, 0)),
    )


def macro_f1(right: Floats, gold: Floats, predicted: Floats) -> Floats:
    """Macro-F1 [...] from true positives, gold and predicted counts [..., L]."""
    mean_f1: Floats = quotient(2 * right, gold + predicted).sum(-1) / max(right.shape[-1], 1)
    return mean_f1


def matthews(right: Floats, gold: Floats, predicted: Floats) -> Floats:
    """Matthews' correlation for any number of classes (Gorodkin 2004) from the same; 0 where it is undefined."""
    total = gold.sum(-1)
    common = right.sum(-1) * total - (gold * predicted).sum(-1)
    spread = (total**2 - (gold**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return quotient(common, np.sqrt(spread))


def correlation(gold: ArrayLike, predicted: ArrayLike) -> Tally:
    """Pearson's correlation, 0 where either side is constant; of ranks over all examples, Spearman's."""
    x, y = (standardised(np.asarray(side, np.float64)) for side in (gold, predicted))
    return Tally(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1), pearson)


def pearson(sums: Floats) -> Floats:
    """Moments (n, x, y, xx, yy, xy) [..., 6] -> the linear correlation [...]."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    return quotient(n * xy - x * y, np.sqrt(np.where(spread > 1e-12 * n**4, spread, 0)))


def standardised(values: Floats) -> Floats:
    """Values with mean 0 and variance 1, or all 0 where they are constant."""
    spread = values.std()
    centred: Floats = values - values.mean()
    return centred / spread if spread > 0 else centred


def quotient(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator > 0)
