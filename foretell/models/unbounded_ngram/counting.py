"""Kneser-Ney counts of all contexts of a text, from its sorted contexts.

Contexts that some token precedes in two ways or more are the inner nodes of a suffix tree of the text read backwards;
all others occur only inside of longer ones, whose followers they share. A node counts each token that follows it once
for every context one token longer that it follows (Kneser and Ney 1995). N tokens of a text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretell.kernels import compiling, suffix_index
from foretell.kernels.compiling import compiled
from foretell.kernels.suffix_index import Rows

Small = NDArray[np.uint8] | NDArray[np.int32]
LONGEST = 254
"""tokens of the longest contexts that are counted; longer ones are one node. So contexts one token longer are not
distinguished, and those of this length count each follower once"""

SOURCES = Path(__file__).parent, suffix_index.__file__
jit: Any = compiled(*SOURCES)
inlined: Any = compiling.inlined(*SOURCES)


class Counts(NamedTuple):
    """Facts of nodes; a node is at its first row, or at its last where it begins with the node around it."""

    length: NDArray[np.uint8]
    """[N + 1] tokens of the context, at most 255"""
    branches: Small
    """[N + 1] contexts that are one token longer"""
    types: Small
    """[N + 1] different tokens that follow"""
    total: NDArray[np.int32]
    """[N + 1] sum of its counts: the sum of the types of its branches"""


def counts_of(tokens: Rows, places: Rows, symbols: int) -> Counts:
    """The counts of all contexts of a text [N]; where the last symbol follows, which is not a token, nothing counts."""
    rows = len(tokens) + 1
    different = np.count_nonzero(np.bincount(tokens, minlength=symbols)) + 1  # a text may begin with its context
    small: Any = np.uint8 if different < 256 else np.int32
    counts = Counts(np.zeros(rows, np.uint8), np.zeros(rows, small), np.zeros(rows, small), np.zeros(rows, np.int32))
    shared = _shared_lengths(tokens, places)
    _count(tokens, places, shared, symbols, counts)
    return counts


def is_consistent(counts: Counts, tokens: int) -> bool:
    """Whether they can be the counts of a text [N]."""
    kinds = np.dtype(np.uint8), np.dtype(np.int32)
    shaped = all(part.shape == (tokens + 1,) and part.dtype in kinds for part in counts)
    return shaped and bool((counts.total >= counts.types).all() and (counts.types >= 0).all())


@jit
def _shared_lengths(tokens: Rows, places: Rows) -> Rows:
    """[N + 2] how many tokens the context of each row shares with that of the row before, at most 255; -1 at both ends.

    By place, longest contexts first, a length decreases by 1 or less (Kasai et al. 2001; Karkkainen et al. 2009).
    """
    rows = len(places)
    by_place = np.zeros(rows, np.int32)
    by_place[places[0]] = -1
    for row in range(1, rows):
        by_place[places[row]] = places[row - 1]
    length = 0
    for place in range(rows - 1, -1, -1):
        other = by_place[place]
        if other < 0:
            length = 0
            continue
        while length < place and length < other and tokens[place - 1 - length] == tokens[other - 1 - length]:
            length += 1
        by_place[place] = length
        if length > 0:
            length -= 1
    shared = np.full(rows + 1, -1, np.int32)
    for row in range(1, rows):
        shared[row] = min(by_place[places[row]], LONGEST + 1)
    return shared


@jit
def _count(tokens: Rows, places: Rows, shared: Rows, symbols: int, counts: Counts) -> None:
    """Close nodes from left to right, innermost first. Types: leaves less the pairs of equal ones next to each other
    that first meet in a node (Hui 1992)."""
    begin, length, branches, types, total = np.zeros((5, LONGEST + 2), np.int32)  # of open nodes, one in another
    seen = np.full(symbols, -1, np.int32)
    top = 0
    for row in range(1, len(shared)):
        child, inner, followers = row - 1, -1, 0  # first row, length if it is a node, types
        kinds, sums = 0, 0
        place = places[row - 1]
        if place < len(tokens) and tokens[place] < symbols - 1:
            followers = 1
            before = seen[tokens[place]]
            seen[tokens[place]] = row - 1
            if before >= 0:
                low, high = 0, top
                while low < high:
                    middle = (low + high + 1) >> 1
                    if begin[middle] <= before:
                        low = middle
                    else:
                        high = middle - 1
                types[low] -= 1
        while length[top] > shared[row]:
            if inner >= 0:
                _keep(counts, child, inner, kinds, followers, sums)
            branches[top] += 1
            types[top] += followers
            total[top] += followers
            child, inner, kinds, followers, sums = begin[top], length[top], branches[top], types[top], total[top]
            top -= 1
            if top < 0:
                break
        if top < 0 or length[top] < shared[row]:
            if inner >= 0:
                _keep(counts, child if top < 0 else row - 1, inner, kinds, followers, sums)
            top += 1
            length[top], begin[top], branches[top] = shared[row], child, 1
            types[top] = total[top] = followers
        else:
            if inner >= 0:
                _keep(counts, child, inner, kinds, followers, sums)
            branches[top] += 1
            types[top] += followers
            total[top] += followers


@inlined
def _keep(counts: Counts, at: int, length: int, branches: int, types: int, total: int) -> None:
    counts.length[at] = length
    counts.branches[at] = branches
    counts.types[at] = types
    counts.total[at] = total
