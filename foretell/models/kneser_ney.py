"""Interpolated modified Kneser-Ney estimation of n-gram probabilities, vectorised.

Chen and Goodman 1999, with the conventions of KenLM (Heafield et al. 2013). The boundary token is `</s>` where it is
predicted and `<s>` where it is context; no context reaches beyond it.

All orders come from one sort. n-grams are reversed (predicted word first), so that in sorted rows a shorter n-gram is a
range of rows with a common prefix. The number of distinct words before it, which lower orders count instead of
occurrences, is the number of ranges within that range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foretell.errors import ConfigError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Whole = NDArray[np.int32] | NDArray[np.int64]
Keys = list[NDArray[np.uint64]]

CHUNK = 1 << 22  # tokens counted at once: memory depends on the number of distinct n-grams, not on the text's length
FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Counts:
    """Distinct n-grams of the highest order, padded at starts of texts, sorted in reverse, with occurrences."""

    keys: Keys
    """[R] each: words last to first, plus one, packed; 0 is padding before a start"""
    occurrences: Ints
    """[R]"""
    order: int
    bits: int
    """bits per packed word"""

    def column(self, number: int) -> NDArray[np.uint32]:
        """[R] word `number` positions before the last, plus one; 0 for padding."""
        key, within = divmod(number, 64 // self.bits)
        shift = 64 - self.bits * (within + 1)
        return (self.keys[key] >> np.uint64(shift) & np.uint64((1 << self.bits) - 1)).astype(np.uint32)


def count(tokens: NDArray[np.unsignedinteger], starts: Ints, boundary: int, vocabulary: int, order: int) -> Counts:
    """Count the n-grams of a text of tokens [N].

    `starts` are positions where the context is reset, in addition to those after a boundary token.
    """
    bits = vocabulary.bit_length()  # ids plus one run up to `vocabulary`
    runs: list[tuple[Keys, Ints]] = []
    for begin in range(0, len(tokens), CHUNK):
        keys = backwards(tokens, starts, boundary, order, bits, begin, min(begin + CHUNK, len(tokens)))
        runs.append(distinct(keys, np.ones(len(keys[0]), dtype=np.int64)))
        while len(runs) > 1 and 2 * len(runs[-1][1]) > len(
            runs[-2][1]
        ):  # merges of similar sizes move each row few times
            merge_last(runs)
    while len(runs) > 1:
        merge_last(runs)
    if not runs:
        raise ConfigError("the training split has no tokens; give it some text")
    keys, occurrences = runs[0]
    return Counts(keys, occurrences, order, bits)


def backwards(
    tokens: NDArray[np.unsignedinteger], starts: Ints, boundary: int, order: int, bits: int, begin: int, end: int
) -> Keys:
    """The n-gram ending at each position from `begin` to `end`, packed last word first."""
    left = max(0, begin - order)
    text = tokens[left:end].astype(np.uint64)
    resets = np.zeros(len(text), dtype=bool)
    resets[0] = left == 0
    resets[1:] = text[:-1] == boundary
    inside = starts[np.searchsorted(starts, left) : np.searchsorted(starts, end)]
    resets[inside - left] = True

    per_key = 64 // bits
    keys = [np.zeros(end - begin, dtype=np.uint64) for _ in range(-(-order // per_key))]
    inside_text = np.ones(end - begin, dtype=bool)
    positions = np.arange(begin - left, end - left)
    for number in range(order):
        at = positions - number  # the word `number` positions before the last
        word = text[np.maximum(at, 0)] + np.uint64(1)
        if number > 0:
            word[resets[np.maximum(at + 1, 0)]] = boundary + 1
        word[~inside_text] = 0
        key, within = divmod(number, per_key)
        keys[key] |= word << np.uint64(64 - bits * (within + 1))
        if number > 0:
            inside_text &= ~resets[np.maximum(at + 1, 0)]
    return keys


def newest_word(tokens: NDArray[np.unsignedinteger], boundary: int, vocabulary: int) -> int:
    """The word whose first occurrence in a text [N] is last."""
    first = np.full(vocabulary, -1, dtype=np.int64)
    for begin in reversed(range(0, len(tokens), CHUNK)):
        text = tokens[begin : begin + CHUNK]
        positions = np.arange(begin, begin + len(text))
        first[text[::-1]] = positions[::-1]  # the earliest of equal words is assigned last
    first[boundary] = -1
    return int(first.argmax())


def distinct(keys: Keys, occurrences: Ints) -> tuple[Keys, Ints]:
    """Sort rows and sum equal ones; empties `keys` on the way to save memory."""
    order = np.lexsort(keys[::-1]) if len(keys) > 1 else np.argsort(keys[0], kind="stable")
    for i in range(len(keys)):
        keys[i] = keys[i][order]
    occurrences = occurrences[order]
    del order
    begin = np.flatnonzero(changes(keys))
    occurrences = np.add.reduceat(occurrences, begin)
    return [keys.pop(0)[begin] for _ in range(len(keys))], occurrences


def merge_last(runs: list[tuple[Keys, Ints]]) -> None:
    """Merge the last two sets of counts."""
    (last, last_occurrences), (other, other_occurrences) = runs.pop(), runs.pop()
    keys = [np.concatenate([last.pop(0), other.pop(0)]) for _ in range(len(last))]
    runs.append(distinct(keys, np.concatenate([last_occurrences, other_occurrences])))


def changes(columns: Sequence[NDArray[np.unsignedinteger]]) -> Bools:
    """[R] whether a row differs from the previous one."""
    new = np.zeros(len(columns[0]), dtype=bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


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

    def keep(self, kept: Bools, new_index: NDArray[np.int32]) -> Level:
        """Keep some n-grams; `new_index` maps old to new indices of the level below."""
        return Level(
            self.first[kept],
            new_index[self.shorter[kept]],
            new_index[self.context[kept]],
            self.occurrences[kept],
            self.adjusted[kept],
        )


def levels(counts: Counts, vocabulary: int) -> list[Level]:
    """The n-grams of every order, from one word up; in the first level a word's index is its id, seen or not."""
    rows = len(counts.occurrences)
    small = np.int32 if counts.occurrences.sum() < 1 << 31 else np.int64  # these take most of the memory
    total = np.zeros(rows + 1, dtype=small)
    np.cumsum(counts.occurrences, out=total[1:])
    new = np.zeros(rows, dtype=bool)
    new[0] = True
    levels: list[Level] = []
    index = counts.column(0).astype(np.int32) - 1  # index of each row's n-gram in the level below
    for number in range(counts.order):
        column = counts.column(number)
        new[1:] |= column[1:] != column[:-1]
        edges = np.append(np.flatnonzero(new), rows).astype(small)
        real = column[edges[:-1]] > 0
        begin, end = edges[:-1][real], edges[1:][real]
        first = column[begin].astype(np.int32) - 1
        occurrences = total[end] - total[begin]
        del edges, real, end
        if number == 0:
            levels.append(_words(first, occurrences, vocabulary))
            continue
        shorter = index[begin]
        _count_words_before(levels[-1], shorter)
        # the context is that of the shorter n-gram, extended by the first word
        context = levels[-1].context[shorter] if number > 1 else None
        contexts = _contexts(levels, context, first, vocabulary)
        levels.append(Level(first, shorter, contexts, occurrences, occurrences))
        if number + 1 < counts.order:
            index = (np.cumsum(new & (column > 0)) - 1).astype(np.int32)  # rows without such an n-gram are never read
    return levels


def _count_words_before(level: Level, shorter: NDArray[np.int32]) -> None:
    """Set a level's adjusted counts from the n-grams that are one word longer."""
    before = np.bincount(shorter, minlength=len(level))
    level.adjusted = level.occurrences.copy()
    np.copyto(level.adjusted, before, where=before > 0, casting="unsafe")


def _words(first: NDArray[np.int32], occurrences: Whole, vocabulary: int) -> Level:
    by_word = np.zeros(vocabulary, dtype=occurrences.dtype)
    by_word[first] = occurrences
    none = np.zeros(vocabulary, dtype=np.int32)
    return Level(np.arange(vocabulary, dtype=np.int32), none, none, by_word, by_word)


def _contexts(
    levels: list[Level], context: NDArray[np.int32] | None, first: NDArray[np.int32], vocabulary: int
) -> NDArray[np.int32]:
    if context is None:  # two words: the context is the first one
        return first.copy()
    below = levels[-1]
    keys = below.shorter.astype(np.int64) * vocabulary + below.first
    contexts = np.empty(len(first), dtype=np.int32)
    for begin in range(0, len(first), CHUNK):
        part = slice(begin, begin + CHUNK)
        contexts[part] = np.searchsorted(keys, context[part].astype(np.int64) * vocabulary + first[part])
    return contexts


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

    levels: list[Level]
    logp: list[Singles]
    """[M] per level, in nats"""
    backoff: list[Singles]
    """[M] per level below the highest, in nats; 0 for n-grams that are not a context"""
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
    levels: list[Level], prune: Sequence[int], fallback: Sequence[float] = FALLBACK, omitted: int | None = None
) -> Estimate:
    """Interpolated modified Kneser-Ney probabilities of all orders.

    `prune[k]`: n-grams of order k + 1 with at most this count are removed (KenLM's `--prune`). `omitted`: a word
    excluded from the counts of counts.
    """
    kept_levels: list[Level] = []
    logp: list[Singles] = []
    backoff: list[Singles] = []
    reports = []
    vocabulary = len(levels[0])
    p_below: Floats = np.array([])
    new_index = np.arange(vocabulary, dtype=np.int32)
    all_kept = True
    for number, level in enumerate(levels):
        kept = level.occurrences > prune[number] if number > 0 else np.ones(vocabulary, dtype=bool)
        histogram = np.bincount(np.minimum(level.adjusted, 5), minlength=6)
        if number == 0 and omitted is not None:
            histogram[min(level.adjusted[omitted], 5)] -= 1
        n1, n2, n3, n4 = (int(n) for n in histogram[1:5])
        chosen, why = discounts((n1, n2, n3, n4), fallback)
        discount = np.array([0.0, *chosen])[np.minimum(level.adjusted, 3)]
        freed = np.where(kept, discount, level.adjusted)  # [M] mass for back-off, including all of what is pruned
        if number == 0:
            total = float(level.adjusted.sum())
            p = (level.adjusted - discount) / total + freed.sum() / total / vocabulary
        else:
            contexts = len(levels[number - 1])
            totals = sums(level.context, level.adjusted, contexts)
            gamma = sums(level.context, freed, contexts)
            np.divide(gamma, totals, out=gamma, where=totals > 0)
            gamma[totals == 0] = 1.0
            p = (level.adjusted - discount) / totals[level.context] + gamma[level.context] * p_below[level.shorter]
            backoff.append(np.log(gamma)[new_index >= 0].astype(np.float32))
        pruned = len(level) - int(kept.sum())
        reports.append(OrderReport(number + 1, len(level) - pruned, pruned, (n1, n2, n3, n4), chosen, why))
        logp.append(np.minimum(np.log(p[kept]), 0).astype(np.float32))  # rounding may exceed 1
        all_kept = all_kept and pruned == 0
        kept_levels.append(level if all_kept else level.keep(kept, new_index))
        new_index = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
        p_below = p
    return Estimate(kept_levels, logp, backoff, reports)


def sums(indices: NDArray[np.int32], values: Whole | Floats, length: int) -> Floats:
    """Sums [length] of the values of each index."""
    return np.bincount(indices, weights=values, minlength=length).astype(
        np.float64
    )  # without values numpy returns integers


def summary_lines(reports: Sequence[OrderReport], unit: str = "line") -> list[str]:
    """Describe each order in a line; orders too long for any `unit` of the text share one."""
    filled = [report for report in reports if report.ngrams + report.pruned]
    lines = [str(report) for report in filled]
    if len(filled) == len(reports) - 1:
        lines.append(f"no {unit} is long enough for order {len(reports)}; it is empty")
    elif len(filled) < len(reports):
        lines.append(f"no {unit} is long enough for orders {len(filled) + 1} and above; they are empty")
    return lines
