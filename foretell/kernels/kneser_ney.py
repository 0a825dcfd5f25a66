"""Kneser-Ney estimates of one order, without arrays in between; compiled by numba.

M n-grams, C contexts of one word less. See `models.kneser_ney`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.kernels.compiling import compiled

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int32]
Whole = NDArray[np.int32] | NDArray[np.int64]

jit: Any = compiled(__file__)


@jit
def words_before(shorter: Numbers, occurrences: Whole) -> Whole:
    """The number of distinct words before each n-gram [M], or where there are none, its `occurrences` [M].

    `shorter`: by n-grams one word longer, the n-gram without its first word.
    """
    counts = np.zeros_like(occurrences)
    for ngram in shorter:
        counts[ngram] += 1
    for ngram in range(len(counts)):
        if counts[ngram] == 0:
            counts[ngram] = occurrences[ngram]
    return counts


@jit
def counts_of_counts(counts: Whole) -> NDArray[np.int64]:
    """How many n-grams have the counts 0, 1, 2, 3, 4, and 5 or more."""
    histogram = np.zeros(6, np.int64)
    for count in counts:
        histogram[min(count, 5)] += 1
    return histogram


@jit
def context_sums(
    context: Numbers, counts: Whole, kept: Bools, discount: Floats, contexts: int
) -> tuple[Floats, Floats]:
    """The sums of the counts after each context [C], and the part of them that is left for back-off [C]: the discounts
    [4] by count, and the whole counts of n-grams that are pruned, not `kept` [M]."""
    totals, freed = np.zeros(contexts), np.zeros(contexts)
    for ngram in range(len(counts)):
        count = counts[ngram]
        totals[context[ngram]] += count
        freed[context[ngram]] += discount[min(count, 3)] if kept[ngram] else count
    return totals, freed


@jit
def interpolated(
    context: Numbers,
    shorter: Numbers,
    counts: Whole,
    discount: Floats,
    totals: Floats,
    backoff: Floats,
    below: Floats,
) -> Floats:
    """p(last word | context) [M], from that of the shorter n-grams, `below`; `totals` and `backoff` weights [C]."""
    p = np.empty(len(counts))
    for ngram in range(len(counts)):
        here, count = context[ngram], counts[ngram]
        p[ngram] = (count - discount[min(count, 3)]) / totals[here] + backoff[here] * below[shorter[ngram]]
    return p
