"""All contexts of a text in sorted order: which contexts of any length occur, how often, and where.

The *context* of place i is the text before it, read backwards. Contexts in alphabetical order are *rows* 0 to N, the
empty one first, so those that end in one string are an interval of rows. The index keeps, for each token, the rows that
it follows: the Burrows-Wheeler transform as lists. Reading a token takes all intervals of the text read so far, one in
another, to those of the text with that token; the binary searches of an interval stay within the bounds of the one
around it (backward search, Ferragina and Manzini 2000). A *path* is that chain of intervals, without the text itself.

N tokens of a text, V symbols. Compiled by numba; import it only where an index is used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretell.errors import ConfigError
from foretell.kernels import compiling
from foretell.kernels.compiling import compiled

Rows = NDArray[np.int32]
Whole = NDArray[np.int64]
LEVELS = 48
"""most intervals of a path: contexts with more different beginnings are cut"""

jit: Any = compiled(__file__)
inlined: Any = compiling.inlined(__file__)


class Index(NamedTuple):
    """The contexts of a text."""

    follows: Rows
    """[N] rows that each token follows, ascending: those of the first token, then those of the second, ..."""
    first: Whole
    """[V + 1] the first of the rows whose contexts end in each token; the end"""


class Path(NamedTuple):
    """The intervals of the text read so far, from the empty context to the longest that occurs; `depth[0]` in use."""

    begin: Whole
    """[LEVELS] first row"""
    end: Whole
    """[LEVELS] the row after the last"""
    length: Whole
    """[LEVELS] tokens of the longest context that has this interval"""
    depth: Whole
    """[1] number of intervals"""


def index_of(tokens: Rows, symbols: int) -> tuple[Index, Rows]:
    """The index of a text [N], and the place of each row's context [N + 1].

    The suffix array is that of libdivsufsort (Mori 2008). Raises `ConfigError` for a text beyond 2^31 - 2 tokens.
    """
    from pydivsufsort import divsufsort

    count = len(tokens)
    if count > np.iinfo(np.int32).max - 1:
        raise ConfigError(f"an index holds at most 2^31 - 2 tokens, not {count:,}; give less text")
    frequencies = np.bincount(tokens, minlength=symbols)
    ranks = np.cumsum(frequencies > 0) - 1
    small = np.uint8 if ranks[-1] < 256 else np.uint16 if ranks[-1] < 1 << 16 else np.uint32
    places = np.zeros(count + 1, dtype=np.int32)
    if count:
        np.subtract(count, divsufsort(np.ascontiguousarray(ranks.astype(small)[tokens][::-1])), out=places[1:])
    first = np.ones(symbols + 1, dtype=np.int64)
    first[1:] += np.cumsum(frequencies)
    return Index(_follows(tokens, places, first), first), places


@jit
def _follows(tokens: Rows, places: Rows, first: Whole) -> Rows:
    follows = np.empty(len(tokens), np.int32)
    at = first.copy()
    for row in range(len(places)):
        place = places[row]
        if place < len(tokens):
            token = tokens[place]
            follows[at[token] - 1] = row
            at[token] += 1
    return follows


@jit
def text_of(index: Index) -> Rows:
    """The text [N]."""
    count = len(index.follows)
    after = np.zeros(count + 1, np.int32)  # the row of the context with one token more
    for k in range(count):
        after[index.follows[k]] = k + 1
    text = np.empty(count, np.int32)
    row = 0
    for place in range(count):
        row = after[row]
        text[place] = np.searchsorted(index.first, row, side="right") - 1
    return text


def is_sound(index: Index, symbols: int) -> bool:
    """Whether an index can be that of a text: reading takes its values as places."""
    follows, first = index
    if follows.dtype != np.int32 or first.dtype != np.int64 or follows.ndim != 1 or first.shape != (symbols + 1,):
        return False
    if first[0] != 1 or first[-1] != len(follows) + 1 or (first[1:] < first[:-1]).any():
        return False
    rises = follows[1:] > follows[:-1]
    rises[first[(first > 1) & (first <= len(follows))] - 2] = True  # the rows of another token
    return bool(rises.all()) and follows.min(initial=0) >= 0 and follows.max(initial=0) <= len(follows)


# --- reading --------------------------------------------------------------------------------------


def start(index: Index) -> Path:
    """The path before any text."""
    begin, end, length = np.zeros((3, LEVELS), np.int64)
    end[0] = len(index.follows) + 1
    return Path(begin, end, length, np.ones(1, np.int64))


@inlined
def at_least(follows: Rows, low: int, high: int, row: int) -> int:
    """The first of the places `low` to `high` in `follows`, counted from 1, that holds `row` or a later one."""
    while low < high:
        middle = (low + high) >> 1
        if follows[middle - 1] < row:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def read(index: Index, path: Path, token: int) -> None:
    """Take a path to that of the text with one token more."""
    depth, new = path.depth[0], 1
    low, high = index.first[token], index.first[token + 1]
    begin, end, length = path.begin[0], path.end[0], path.length[0]
    for level in range(depth):
        if level > 0:
            low = at_least(index.follows, low, high, begin)
            high = at_least(index.follows, low, high, end)
        if low == high:
            break
        here = length + 1
        if level + 1 < depth:  # the new level may take its place
            begin, end, length = path.begin[level + 1], path.end[level + 1], path.length[level + 1]
        if path.begin[new - 1] == low and path.end[new - 1] == high:
            path.length[new - 1] = here
        elif new < LEVELS:
            path.begin[new], path.end[new], path.length[new] = low, high, here
            new += 1
    path.depth[0] = new


@jit
def _longest(index: Index, path: Path, tokens: Rows, found: Whole) -> None:
    for t in range(len(tokens)):
        read(index, path, tokens[t])
        last = path.depth[0] - 1
        found[t, 0], found[t, 1], found[t, 2] = path.length[last], path.begin[last], path.end[last]


def longest_matches(index: Index, tokens: Rows) -> Whole:
    """The longest context in the index that ends with each token of another text [T]: length, first row, the row after
    the last [T, 3]. A context with more than `LEVELS` endings that occur differently often is cut."""
    found = np.zeros((len(tokens), 3), np.int64)
    _longest(index, start(index), tokens, found)
    return found
