"""The n-grams of a text, sorted from their last word to their first; compiled by numba.

An n-gram is the place of its last word in the text, and how many words it has. It reaches back to the beginning of its
sentence, before which stands the boundary once, and then nothing. *Rows* are places in the order of the n-grams that
end there, so those that end in the same words are next to each other. N tokens of a text, M n-grams.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretell.kernels import compiling
from foretell.kernels.compiling import compiled
from foretell.types import OnProgress, no_progress

Tokens = NDArray[np.unsignedinteger[Any]]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int32] | NDArray[np.int64]
Numbers = NDArray[np.int32]

jit: Any = compiled(__file__)
inlined: Any = compiling.inlined(__file__)


class Sorted(NamedTuple):
    """A text and its rows."""

    tokens: Tokens
    """[N]"""
    since: Bytes
    """[N] words since the sentence began, that of the place included; at most the highest order"""
    boundary: int
    rows: Places
    """[N] places"""
    shared: Bytes
    """[N] last words that the n-gram of a row has in common with that of the row before; at most the highest order"""


class Found(NamedTuple):
    """The n-grams of an order, in the order of their rows."""

    first: Numbers
    """[M] first word"""
    shorter: Numbers
    """[M] number of the n-gram without the first word, among those of the order below"""
    context: Numbers
    """[M] number of the n-gram without the last word, among those of the order below"""
    occurrences: Places
    """[M]"""


def sort(
    tokens: Tokens,
    starts: NDArray[np.int64],
    boundary: int,
    vocabulary: int,
    order: int,
    on_progress: OnProgress = no_progress,
) -> Sorted:
    """Sort n-grams of up to `order` words, at most 254. Sentences begin at `starts` and after a boundary."""
    if len(tokens) and int(tokens.max()) >= vocabulary:
        raise ValueError(f"token {int(tokens.max())} is beyond the vocabulary of {vocabulary}")
    since = _since(tokens, starts, boundary, order)
    kind: Any = np.int32 if len(tokens) < 1 << 31 else np.int64
    rows, other = np.arange(len(tokens), dtype=kind), np.empty(len(tokens), dtype=kind)
    for number in range(order - 1, -1, -1):  # each keeps the order of the last among equals
        _sort_by(tokens, since, boundary, number, np.zeros(vocabulary + 1, np.int64), rows, other)
        rows, other = other, rows
        on_progress(1 - number / order)
    return Sorted(tokens, since, boundary, rows, _shared(tokens, since, boundary, rows, order))


def ngrams(text: Sorted, number: int, below: Numbers) -> tuple[Found, Numbers]:
    """The n-grams of `number` + 1 words, two or more, and which of them ends at each place [N].

    `below` [N] is that of the order below, of which single words are numbered by their ids.
    """
    count = _count(text.since, text.rows, text.shared, number)
    first, shorter, context = np.empty((3, count), np.int32)
    found = Found(first, shorter, context, np.zeros(count, text.rows.dtype))
    here = np.empty(len(text.tokens), np.int32)
    _find(text, number, below, here, found)
    return found, here


@jit
def _since(tokens: Tokens, starts: NDArray[np.int64], boundary: int, most: int) -> Bytes:
    since = np.zeros(len(tokens), np.uint8)
    for start in starts:
        if start < len(tokens):
            since[start] = 1
    length = 0
    for place in range(len(tokens)):
        begins = place == 0 or since[place] == 1 or tokens[place - 1] == boundary
        length = 1 if begins else min(length + 1, most)
        since[place] = length
    return since


@inlined
def word(tokens: Tokens, since: Bytes, boundary: int, place: int, number: int) -> int:
    """The word `number` before the last one, plus one; 0 if there is none."""
    if number < since[place]:
        return np.int64(tokens[place - number]) + 1
    return boundary + 1 if number == since[place] else 0


@jit
def _sort_by(
    tokens: Tokens, since: Bytes, boundary: int, number: int, at: NDArray[np.int64], rows: Places, into: Places
) -> None:
    for place in rows:
        at[word(tokens, since, boundary, place, number)] += 1
    total = 0
    for value in range(len(at)):
        count = at[value]
        at[value] = total
        total += count
    for place in rows:
        value = word(tokens, since, boundary, place, number)
        into[at[value]] = place
        at[value] += 1


@jit
def _shared(tokens: Tokens, since: Bytes, boundary: int, rows: Places, most: int) -> Bytes:
    shared = np.zeros(len(rows), np.uint8)
    for row in range(1, len(rows)):
        place, before, length = rows[row], rows[row - 1], 0
        while length < most and word(tokens, since, boundary, place, length) == word(
            tokens, since, boundary, before, length
        ):
            length += 1
        shared[row] = length
    return shared


@jit
def _count(since: Bytes, rows: Places, shared: Bytes, number: int) -> int:
    count = 0
    for row in range(len(rows)):
        if shared[row] <= number <= since[rows[row]]:
            count += 1
    return count


@jit
def _find(text: Sorted, number: int, below: Numbers, here: Numbers, found: Found) -> None:
    at = -1
    for row in range(len(text.rows)):
        place = text.rows[row]
        if number > text.since[place]:
            continue
        if text.shared[row] <= number:
            at += 1
            found.first[at] = word(text.tokens, text.since, text.boundary, place, number) - 1
            found.shorter[at] = below[place]
            # of two words the first one may stand before the text
            found.context[at] = below[place - 1] if number > 1 else found.first[at]
        found.occurrences[at] += 1
        here[place] = at
