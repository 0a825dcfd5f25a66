"""The contexts of the next byte and their places in the tables, compiled by numba."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from foretell.coding import range_coder
from foretell.kernels import compiling, prefetching
from foretell.kernels.compiling import PART, compiled
from foretell.kernels.prefetching import prefetch
from foretell.models.context_mixing.tables import LONGEST, Tables

ORDER, WORDS, SKIP, COLUMN, WORD_ABOVE, MATCH, WORD_SKIP, SHAPE, FOLLOWERS = range(9)
"""kinds of contexts; see `contexts.py`"""
LENGTH = np.array([n if n < 8 else min(15, 8 + int(math.log2(n / 8) * 2)) for n in range(LONGEST + 1)])
"""bucket of the length of a match"""

SOURCES = Path(__file__).parent, range_coder.__file__, prefetching.__file__

jit: Any = compiled(*SOURCES)
inlined: Any = compiling.inlined(*SOURCES)
vectorised: Any = compiled(*SOURCES, fastmath={"reassoc"}, **PART)
"""sums in any order, but without fused operations: the same wherever it is inlined"""


@inlined
def mixed(a: int, b: int) -> int:
    """A hash of two numbers."""
    h = (uint64(a) * uint64(0x9E3779B97F4A7C15)) ^ ((uint64(b) + uint64(0x7F4A7C15)) * uint64(0xC2B2AE3D27D4EB4F))
    h ^= h >> uint64(29)
    h *= uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> uint64(32))


@inlined
def byte_at(t: Tables, back: int) -> int:
    """The byte `back` positions before the next one; 0 before the text."""
    place = t.position[0] - back
    return int(t.history[place]) if place >= 0 else 0


@inlined
def above(t: Tables) -> int:
    """The byte of the line before in the column of the next byte; 0 if that line is shorter."""
    place = t.position[2] + t.position[0] - t.position[1]
    return int(t.history[place]) if place < t.position[1] else 0


@inlined
def expected(t: Tables, m: int) -> int:
    """The byte that a match model expects; 0 without a match."""
    return int(t.history[t.matches[m, 0]]) if t.matches[m, 1] > 0 else 0


@inlined
def hash_contexts(t: Tables, hashes: NDArray[np.uint64]) -> None:
    """The hash of each context of the next byte."""
    last, before = byte_at(t, 1), byte_at(t, 2)
    for c in range(len(hashes)):
        kind, argument = t.contexts[c]
        h = uint64(c + 1)
        if kind == ORDER:
            for back in range(1, argument + 1):
                h = mixed(h, byte_at(t, back) + 1 if back <= t.position[0] else 0)
        elif kind == WORDS:
            for k in range(argument):
                h = mixed(h, t.words[k])
            if t.words[0] == 0:
                h = mixed(h, last)
        elif kind == SKIP:
            h = mixed(mixed(h, before), byte_at(t, 3))
        elif kind == COLUMN:
            h = mixed(mixed(mixed(h, above(t)), min(t.position[0] - t.position[1], 255)), last)
        elif kind == WORD_ABOVE:
            h = mixed(mixed(h, t.words[0]), above(t))
        elif kind == WORD_SKIP:
            h = mixed(mixed(h, t.words[0]), t.words[2])
            if t.words[0] == 0:
                h = mixed(h, last)
        elif kind == SHAPE:
            h = mixed(mixed(mixed(h, t.words[0]), last), t.position[4])
        elif kind == FOLLOWERS:
            h = mixed(mixed(h, t.followers[last, before]), last)
        else:
            for m in range(len(t.matches)):
                h = mixed(h, expected(t, m) * 16 + LENGTH[t.matches[m, 1]])
        hashes[c] = h


@inlined
def find_buckets(
    t: Tables,
    hashes: NDArray[np.uint64],
    nibble: int,
    buckets: NDArray[np.int64],
    places: NDArray[np.int64],
    checks: NDArray[np.uint32],
) -> None:
    """The bucket of each context and nibble, -1 where there is none yet, where it is to be made, and what marks it.

    Three neighbours are probed; a new bucket takes the place of the one whose first node was seen least.
    """
    size = uint64(t.slots.shape[1] - 1)
    for c in range(len(hashes)):
        h = hashes[c] if nibble == 0 else mixed(hashes[c], nibble + 256)
        checks[c], places[c] = np.uint32((h >> uint64(40)) | uint64(1)), np.int64(h & size)
        prefetch(t.slots, (c, places[c], 0))
    for c in range(len(hashes)):
        check, start = checks[c], places[c]
        buckets[c], lowest, place = -1, np.int64(1 << 30), start
        for probe in range(3):
            near = start ^ probe
            if t.slots[c, near, 0] == check:
                buckets[c] = place = near
                break
            count = np.int64(t.slots[c, near, 1] >> np.uint32(8)) & 255 if t.slots[c, near, 0] else np.int64(-1)
            if count < lowest:
                lowest, place = count, near
        places[c] = place


@inlined
def make_buckets(t: Tables, buckets: NDArray[np.int64], places: NDArray[np.int64], checks: NDArray[np.uint32]) -> None:
    """Make the buckets that do not exist yet, and those that the other nibble of the byte has taken the place of."""
    for c in range(len(buckets)):
        if buckets[c] < 0 or t.slots[c, places[c], 0] != checks[c]:
            t.slots[c, places[c], 1:] = np.uint32(1 << 31)
            t.slots[c, places[c], 0] = checks[c]
            buckets[c] = places[c]
