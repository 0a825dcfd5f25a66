"""Interpolated modified Kneser-Ney estimation of n-gram probabilities, vectorised.

Chen and Goodman 1999, with the conventions of KenLM (Heafield et al. 2013). The boundary token is `</s>` where it is
predicted and `<s>` where it is context; no context reaches beyond it.

All orders come from one sort, see `kernels.ngram_sort`. The number of distinct words before an n-gram, which lower
orders count instead of occurrences, is the number of n-grams one word longer that end in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.errors import ConfigError
from foretell.types import OnProgress, no_progress

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Whole = NDArray[np.int32] | NDArray[np.int64]

CHUNK = 1 << 22
"""tokens that are looked at together"""
FALLBACK = (0.5, 1.0, 1.5)


def newest_word(tokens: NDArray[np.unsignedinteger], boundary: int, vocabulary: int) -> int:
    """The word whose first occurrence in a text [N] is last."""
    first = np.full(vocabulary, -1, dtype=np.int64)
    for begin in reversed(range(0, len(tokens), CHUNK)):
        text = tokens[begin : begin + CHUNK]
        positions = np.arange(begin, begin + len(text))
        first[text[::-1]] = positions[::-1]  # the earliest of equal words is assigned last
    first[boundary] = -1
    return int(first.argmax())


# --- the n-grams of each order --------------------------------------------------------------------


@dataclass
class Level:
    """All n-grams of an order; those with the same last words are adjacent.

    The *shorter* n-gram of an n-gram lacks its first word, its *context* lacks the last word; both are of the order
    below.
    """

    first: NDArray[np.int32]
    """[M] first word"""
    shorter: NDArray[np.int32]
    """[M] index in the level below"""
    context: NDArray[np.int32]
    """[M] index in the level below"""
    occurrences: Whole
    """[M]"""
    adjusted: Whole
    """[M] number of distinct words before it; occurrences in the highest order and after a boundary"""

    def __len__(self) -> int:
        return len(self.first)


def levels(
    tokens: NDArray[np.unsignedinteger],
    starts: Ints,
    boundary: int,
    vocabulary: int,
    order: int,
    on_progress: OnProgress = no_progress,
) -> Iterator[Level]:
    """The n-grams of every order in a text [N], from one word up, each when the next one is known; in the first level a
    word's index is its id, seen or not. `starts` are places where the context begins, in addition to those after a
    boundary."""
    from foretell.kernels import kneser_ney, ngram_sort

    if len(tokens) == 0:
        raise ConfigError("the training split has no tokens; give it some text")

    def sorting(share: float) -> None:
        on_progress(share / 2)

    text = ngram_sort.sort(tokens, starts, boundary, vocabulary, order, sorting)
    none = np.zeros(vocabulary, dtype=np.int32)
    occurrences: Any = np.bincount(tokens, minlength=vocabulary).astype(text.rows.dtype)
    level = Level(np.arange(vocabulary, dtype=np.int32), none, none, occurrences, occurrences)
    here = tokens.astype(np.int32)
    for number in range(1, order):
        on_progress((number + order) / (2 * order))
        found, here = ngram_sort.ngrams(text, number, here)
        level.adjusted = kneser_ney.words_before(found.shorter, level.occurrences)
        yield level
        level = Level(*found, found.occurrences)
    del text, here
    yield level


# --- probabilities --------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderReport:
    """Summary of the estimation of an order."""

    order: int
    ngrams: int
    """number kept"""
    pruned: int
    counts_of_counts: tuple[int, int, int, int]
    """numbers of n-grams with an adjusted count of 1, 2, 3, 4"""
    discounts: tuple[float, float, float]
    """subtracted from counts of 1, 2, 3 and more"""
    fallback: str = ""
    """reason for fallback discounts, or "" if they come from the formula"""

    def __str__(self) -> str:
        pruned = f" ({self.pruned:,} pruned)" if self.pruned else ""
        why = f" set, as {self.fallback}" if self.fallback else ""
        numbers = ", ".join(f"{discount:.3f}" for discount in self.discounts)
        return f"order {self.order}: {self.ngrams:,} n-grams{pruned}, discounts {numbers}{why}"


@dataclass(frozen=True)
class Estimate:
    """Probabilities in the form of an ARPA file: p(w | h) of existing n-grams, back-off weights for the rest."""

    first: list[NDArray[np.int32]]
    """[M] per order, first word"""
    shorter: list[NDArray[np.int32]]
    """[M] per order, index of the n-gram without its first word"""
    logp: list[Singles]
    """[M] per order, in nats"""
    backoff: list[Singles]
    """[M] per order below the highest, in nats; 0 for n-grams that are not a context"""
    reports: list[OrderReport] = field(default_factory=list)


def discounts(counts_of_counts: Sequence[int], fallback: Sequence[float]) -> tuple[tuple[float, float, float], str]:
    """D_k = k - (k + 1) Y n_{k+1} / n_k, Y = n_1 / (n_1 + 2 n_2); or the fallback and its reason, if invalid."""
    default = (float(fallback[0]), float(fallback[1]), float(fallback[2]))
    for k, number in enumerate(counts_of_counts[:3], 1):
        if number == 0:
            return default, f"no n-gram has the count {k}"
    n1, n2, n3, n4 = counts_of_counts
    y = n1 / (n1 + 2 * n2)
    estimated = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    for k, discount in enumerate(estimated, 1):
        if not 0 < discount <= k:  # with 0, words never seen in a context would have no probability
            return default, f"the discount for the count {k} would be {discount:.3f}"
    return estimated, ""


def estimate(
    levels: Iterable[Level], prune: Sequence[int], fallback: Sequence[float] = FALLBACK, omitted: int | None = None
) -> Estimate:
    """Interpolated modified Kneser-Ney probabilities of all orders.

    `prune[k]`: n-grams of order k + 1 with at most this count are removed (KenLM's `--prune`). `omitted`: a word
    excluded from the counts of counts.
    """
    from foretell.kernels import kneser_ney

    found = Estimate([], [], [], [], [])
    p = np.zeros(0)
    new_index = np.zeros(0, dtype=np.int32)  # of the order below: indices among those kept, -1 for the others
    for number, level in enumerate(levels):
        kept = level.occurrences > prune[number] if number > 0 else np.ones(len(level), dtype=bool)
        histogram = kneser_ney.counts_of_counts(level.adjusted)
        if number == 0 and omitted is not None:
            histogram[min(level.adjusted[omitted], 5)] -= 1
        n1, n2, n3, n4 = (int(n) for n in histogram[1:5])
        chosen, why = discounts((n1, n2, n3, n4), fallback)
        discount = np.array([0.0, *chosen])
        if number == 0:
            total, discounted = float(level.adjusted.sum()), discount[np.minimum(level.adjusted, 3)]
            p = (level.adjusted - discounted) / total + discounted.sum() / total / len(level)
            shorter = level.shorter
        else:
            totals, gamma = kneser_ney.context_sums(level.context, level.adjusted, kept, discount, len(new_index))
            np.divide(gamma, totals, out=gamma, where=totals > 0)
            gamma[totals == 0] = 1.0
            found.backoff.append(logs(gamma, new_index >= 0))
            p = kneser_ney.interpolated(level.context, level.shorter, level.adjusted, discount, totals, gamma, p)
            shorter = new_index[level.shorter[kept]]
        pruned = len(level) - int(kept.sum())
        found.reports.append(OrderReport(number + 1, len(level) - pruned, pruned, (n1, n2, n3, n4), chosen, why))
        found.first.append(level.first[kept])
        found.shorter.append(shorter)
        found.logp.append(np.minimum(logs(p, kept), 0))  # rounding may exceed 1
        new_index = np.where(kept, np.cumsum(kept, dtype=np.int32) - 1, -1).astype(np.int32, copy=False)
    return found


def logs(values: Floats, kept: Bools) -> Singles:
    """The logarithms of the values that are kept."""
    found = np.empty(int(kept.sum()), dtype=np.float32)
    end = 0
    for begin in range(0, len(values), CHUNK):
        part = values[begin : begin + CHUNK][kept[begin : begin + CHUNK]]
        found[end : end + len(part)] = np.log(part)
        end += len(part)
    return found


def summary_lines(reports: Sequence[OrderReport], unit: str = "line") -> list[str]:
    """Describe each order in a line; orders too long for any `unit` of the text share one."""
    filled = [report for report in reports if report.ngrams + report.pruned]
    lines = [str(report) for report in filled]
    if len(filled) == len(reports) - 1:
        lines.append(f"no {unit} is long enough for order {len(reports)}; it is empty")
    elif len(filled) < len(reports):
        lines.append(f"no {unit} is long enough for orders {len(filled) + 1} and above; they are empty")
    return lines
