"""The memory of a context-mixing model: everything it has learned, and where it stands in the text.

C contexts, M match models, N = 3 C + 2 M + 1 inputs of a mixer, S sets of mixer weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SLOTS = 16
"""words of a bucket: a check, and the 15 nodes of the binary tree of a nibble"""
MATCH_BITS = 22
MATCH_SETS: Final = (16, 2)
SETS: Final = (256 * 16, 16 * 8, 256 * 256, 64 * 16, 256 * 256)
"""rows of each set of mixer weights; see `compiled.select`"""
BINS = 33
REFINED = 1 << 16
"""contexts of a final correction"""


class Tables(NamedTuple):
    """Arrays that are learned, then where reading stands, then what does not change."""

    slots: NDArray[np.uint32]
    """[C, 2^table_bits, 16] for each context and nibble: probability (16 bits), count (8), last eight bits (8)"""
    by_count: NDArray[np.float32]
    """[C, 16, 32, 4, 2] probability and count by level of count, stretched probability and last two bits"""
    by_history: NDArray[np.float32]
    """[C, 8, 64, 2] probability and count by count and last six bits"""
    by_match: NDArray[np.float32]
    """[M, 16, 2, 2] probability and count by length of the match and expected bit"""
    mixers: NDArray[np.float32]
    """[sum(SETS), N] weights of the first layer"""
    final: NDArray[np.float32]
    """[256, S] weights of the second layer, by the bits so far"""
    refined: NDArray[np.float32]
    """[2, 2^16, 33] final corrections, interpolated between 33 bins of the stretched probability"""
    heads: NDArray[np.int32]
    """[M, 2^22] position after the last occurrence of each context of a match model"""
    matches: NDArray[np.int64]
    """[M, 2] position of the expected byte, and length of the match; 0: none"""
    words: NDArray[np.uint64]
    """[3] hash of the word so far and of the two before it"""
    position: NDArray[np.int64]
    """[4] bytes read, start of the line, start of the line before, bytes learned from"""
    history: NDArray[np.uint8]
    """[capacity] the bytes read"""
    contexts: NDArray[np.int64]
    """[C, 2] kind and argument of each context"""
    lengths: NDArray[np.int64]
    """[M] shortest match of each match model"""


LEARNED = Tables._fields[:12]
"""what is saved: the rest follows from the settings"""


def empty(contexts: Sequence[tuple[int, int]], lengths: Sequence[int], table_bits: int) -> Tables:
    """The tables before any text."""
    c, m = len(contexts), len(lengths)
    by_count = np.zeros((c, 16, 32, 4, 2), dtype=np.float32)
    by_count[..., 0] = squashed((np.arange(32) - 15.5) / 2)[:, None]
    by_history, by_match = np.zeros((c, 8, 64, 2), np.float32), np.zeros((m, *MATCH_SETS, 2), np.float32)
    by_history[..., 0] = by_match[..., 0] = 0.5
    refined = np.empty((2, REFINED, BINS), np.float32)
    refined[:] = squashed((np.arange(BINS) - 16) / 2)
    return Tables(
        slots=np.zeros((c, 1 << table_bits, SLOTS), np.uint32),
        by_count=by_count,
        by_history=by_history,
        by_match=by_match,
        mixers=np.full((sum(SETS), 3 * c + 2 * m + 1), 0.12, np.float32),
        final=np.full((256, len(SETS)), 1 / len(SETS), np.float32),
        refined=refined,
        heads=np.full((m, 1 << MATCH_BITS), -1, np.int32),
        matches=np.zeros((m, 2), np.int64),
        words=np.zeros(3, np.uint64),
        position=np.zeros(4, np.int64),
        history=np.zeros(0, np.uint8),
        contexts=np.array(contexts, np.int64).reshape(c, 2),
        lengths=np.array(lengths, np.int64),
    )


def squashed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def with_room(tables: Tables, count: int) -> Tables:
    """The same tables with room for so many further bytes of history."""
    needed = int(tables.position[0]) + count
    if needed <= len(tables.history):
        return tables
    history = np.zeros(max(needed, 2 * len(tables.history)), np.uint8)
    history[: len(tables.history)] = tables.history
    return tables._replace(history=history)


def bits_for(size: int) -> int:
    """Table bits that suit a training text of `size` bytes: 2^20 buckets for 2 MB."""
    return min(max(math.ceil(math.log2(max(size, 1))) - 1, 16), 22)
