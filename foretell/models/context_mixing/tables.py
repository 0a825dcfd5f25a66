"""The memory of a context-mixing model: everything it has learned, and its position in the text.

C contexts, M match models, E experts, N inputs of a mixer (4 C + 2 M + 1 + E, padded), S sets of mixer weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretell.errors import ConfigError

LANES = 32
"""inputs of mixers are padded with zeros to a multiple of this, for vector instructions"""
MATCHES = 3
"""match models at most"""
MATCH_STATES = 3**MATCHES
"""no match, or one that expects a 0 or a 1, for each match model"""
SLOTS = 16
"""words of a bucket: a check, and the 15 nodes of the binary tree of a nibble"""
PIECE = 1 << 12
"""places that are packed at once"""
MATCH_BITS = 22
BINS = 33
NO_ADVICE = np.zeros((0, 0, 8), np.float32)
"""of no expert"""
EXPERT = 0.3
"""weight of all experts at the start"""
REFINED = 1 << 16
"""contexts of a final correction"""


class Tables(NamedTuple):
    """Arrays that are learned, then the position, then what does not change."""

    slots: NDArray[np.uint32]
    """[C, 2^table_bits, 16] for each context and nibble: probability (16 bits), count (8), last eight bits (8)"""
    by_count: NDArray[np.float32]
    """[C, 16 * 32 * 4, 2] probability and count by level of count, stretched probability and last two bits"""
    by_history: NDArray[np.float32]
    """[C, 8 * 256, 2] probability and count by count and last eight bits"""
    by_match: NDArray[np.float32]
    """[M, 16 * 2, 2] probability and count by length of the match and expected bit"""
    mixers: NDArray[np.float32]
    """[rows of all mixers, N] weights of the first layer"""
    final: NDArray[np.float32]
    """[256, S] weights of the second layer, by the bits so far"""
    refined: NDArray[np.float32]
    """[2, 2^16, 33] final corrections, interpolated between 33 bins of the stretched probability"""
    ends: NDArray[np.float32]
    """[256, 256, 2] probability and count of the end of a document after the last two bytes"""
    followers: NDArray[np.uint16]
    """[256, 256] the last two bytes that followed the last byte and the one before it"""
    heads: NDArray[np.int32]
    """[M, 2^22] position after the last occurrence of each context of a match model"""
    matches: NDArray[np.int64]
    """[M, 2] position of the expected byte, and length of the match; 0: none"""
    words: NDArray[np.uint64]
    """[3] hash of the word so far and of the two before it"""
    position: NDArray[np.int64]
    """[6] tokens read, start of the line, start of the line before, tokens learned from, which of the last eight bytes
    are letters (bits), letters of the word so far"""
    history: NDArray[np.uint8]
    """[capacity] the bytes read; 0 for a boundary"""
    contexts: NDArray[np.int64]
    """[C, 2] kind and argument of each context"""
    selectors: NDArray[np.int64]
    """[S, 2] kind of each mixer and its first row"""
    lengths: NDArray[np.int64]
    """[M] shortest match of each match model"""
    advice: NDArray[np.float32]
    """[E, 256] log-odds of a 1 after each node of the next byte, by other models; 0: nothing is known"""


LINE = 64
"""bytes of a cache line"""
STEADY = 1000
"""largest count of an adaptive map"""
LONGEST = 400
"""bytes that a match is verified for"""
SMALLEST, LARGEST_TABLE = 1 << 8, 1 << 24
"""places of a context; three neighbours are probed"""
LARGEST = 1e4
"""weights of mixers stay far below"""
MISFIT = "the weights are not those of this context-mixing model; train again what another version has made"
UNSEEN = np.uint32(1 << 31)
"""a slot of probability 1/2 that has seen no bit"""
SIGNED = {np.dtype(np.uint16): np.int16, np.dtype(np.uint32): np.int32, np.dtype(np.uint64): np.int64}
LEARNED = Tables._fields[:14]
"""what is saved: the rest follows from the settings"""


def empty(
    contexts: Sequence[tuple[int, int]], mixers: Sequence[tuple[int, int]], lengths: Sequence[int], table_bits: int
) -> Tables:
    """The tables before any text, for kinds of contexts with their arguments and kinds of mixers with their rows."""
    rows = [size for _, size in mixers]
    c, m = len(contexts), len(lengths)
    by_count = np.zeros((c, 16 * 32 * 4, 2), dtype=np.float32)
    by_count[..., 0] = np.tile(np.repeat(squashed((np.arange(32) - 15.5) / 2), 4), 16)
    by_history, by_match = np.zeros((c, 8 * 256, 2), np.float32), np.zeros((m, 16 * 2, 2), np.float32)
    by_history[..., 0] = by_match[..., 0] = 0.5
    refined = np.empty((2, REFINED, BINS), np.float32)
    refined[:] = squashed((np.arange(BINS) - 16) / 2)
    ends = np.zeros((256, 256, 2), np.float32)
    ends[..., 0] = 1 / 512
    return Tables(
        slots=aligned(c, 1 << table_bits),
        by_count=by_count,
        by_history=by_history,
        by_match=by_match,
        mixers=np.full((sum(rows), padded(4 * c + 2 * m + 1)), 0.12, np.float32),
        final=np.full((256, len(rows)), 1 / len(rows), np.float32),
        refined=refined,
        ends=ends,
        followers=np.zeros((256, 256), np.uint16),
        heads=np.full((m, 1 << MATCH_BITS), -1, np.int32),
        matches=np.zeros((m, 2), np.int64),
        words=np.zeros(3, np.uint64),
        position=np.zeros(6, np.int64),
        history=np.zeros(0, np.uint8),
        contexts=np.array(contexts, np.int64).reshape(c, 2),
        selectors=np.array([(kind, sum(rows[:k])) for k, (kind, _) in enumerate(mixers)], np.int64).reshape(-1, 2),
        lengths=np.array(lengths, np.int64),
        advice=np.zeros((0, 256), np.float32),
    )


def padded(inputs: int) -> int:
    """The width of a mixer."""
    return -(-inputs // LANES) * LANES


def with_experts(t: Tables, experts: int) -> Tables:
    """Tables whose mixers have further inputs, for other models that predict the same text."""
    own = 4 * len(t.contexts) + 2 * len(t.matches) + 1
    mixers = np.full((len(t.mixers), padded(own + experts)), EXPERT / max(experts, 1), np.float32)
    mixers[:, :own] = t.mixers[:, :own]
    return t._replace(mixers=mixers, advice=np.zeros((experts, 256), np.float32))


def packed(tables: Tables) -> dict[str, NDArray[Any]]:
    """The arrays to save, as signed integers and floats; of the slots only those that have seen a bit."""
    kept = tables._replace(history=tables.history[: int(tables.position[0])])
    values, bits = [], []
    for part in pieces(kept.slots):
        used = (part & 0xFF00) != 0
        used[:, 0] = part[:, 0] != 0
        values.append(part[used])
        bits.append(np.packbits(used))
    learned = {name: np.ascontiguousarray(getattr(kept, name)) for name in LEARNED if name != "slots"}
    slots = {"slots": np.concatenate(values), "slots_used": np.concatenate(bits)}
    arrays = learned | slots | {"shape": np.array(kept.slots.shape)}
    return {name: part.view(SIGNED.get(part.dtype, part.dtype)) for name, part in arrays.items()}


def unpacked(arrays: Mapping[str, NDArray[Any]], blank: Tables) -> Tables:
    """Tables as `packed` made them; `blank` are those of the same settings before any text.

    Raises `ConfigError` where they do not fit the settings, or hold a value that learning cannot lead to: compiled
    code uses some of them as indices.
    """
    wanted = {*LEARNED, "slots_used", "shape"}
    shape = tuple(int(n) for n in arrays.get("shape", ()))
    if set(arrays) != wanted or len(shape) != 3 or shape[0] != len(blank.contexts) or shape[2] != SLOTS:
        raise ConfigError(MISFIT)
    bits, values = arrays["slots_used"], arrays["slots"]
    if not SMALLEST <= shape[1] <= LARGEST_TABLE or shape[1] & (shape[1] - 1):
        raise ConfigError(MISFIT)
    if bits.shape != (shape[0] * shape[1] * SLOTS // 8,) or bits.dtype != np.uint8:
        raise ConfigError(MISFIT)
    if values.shape != (int(np.bitwise_count(bits).sum(dtype=np.int64)),) or values.dtype != np.int32:
        raise ConfigError(MISFIT)
    places, flags, read = aligned(shape[0], shape[1]), bits.reshape(-1, SLOTS // 8), 0
    for number, part in enumerate(pieces(places)):
        used = np.unpackbits(flags[number * PIECE :][:PIECE]).view(bool).reshape(-1, SLOTS)
        if count := int(np.count_nonzero(used)):  # memory that is never written takes no time
            np.multiply(used[:, :1], UNSEEN, out=part[:, 1:])
            part[used] = values[read : read + count].view(np.uint32)
            read += count
    learned = {}
    for name in LEARNED:
        like: NDArray[Any] = getattr(blank, name)
        if name != "slots":
            if arrays[name].dtype != SIGNED.get(like.dtype, like.dtype):
                raise ConfigError(MISFIT)
            learned[name] = arrays[name].view(like.dtype)
    tables = blank._replace(slots=places, **learned)
    if not is_sound(tables, blank):
        raise ConfigError(MISFIT)
    return tables


def pieces(slots: NDArray[np.uint32]) -> Iterator[NDArray[np.uint32]]:
    """Slots [C, P, 16] as views [PIECE, 16] that fit a cache."""
    flat = slots.reshape(-1, SLOTS)
    return (flat[begin : begin + PIECE] for begin in range(0, len(flat), PIECE))


def is_sound(t: Tables, blank: Tables) -> bool:
    """Whether shapes are those of the settings and all values in their ranges."""
    if any(
        getattr(t, name).shape != getattr(blank, name).shape for name in LEARNED if name not in ("slots", "history")
    ):
        return False
    maps = [part.reshape(-1, 2) for part in (t.by_count, t.by_history, t.by_match, t.ends)]
    read, line, before, learned, letters, length = t.position.tolist()
    return (
        all(within(part[:, 0], 0, 1) and within(part[:, 1], 0, STEADY) for part in maps)
        and all(within(part, -LARGEST, LARGEST) for part in (t.mixers, t.final))
        and within(t.refined, 0, 1)
        and read == len(t.history) < 2**31
        and 0 <= before <= line <= read
        and min(learned, length) >= 0 <= letters < 256
        and within(t.heads, -1, read)
        and within(t.matches[:, 0], 0, read)
        and within(t.matches[:, 1], 0, LONGEST)
    )


def within(values: NDArray[Any], low: float, high: float) -> bool:
    """Whether all values are in a range."""
    return bool(((values >= low) & (values <= high)).all())


def aligned(contexts: int, places: int) -> NDArray[np.uint32]:
    """Empty slots, each place in a cache line of its own."""
    size = contexts * places * LINE
    raw = np.zeros(size + LINE, np.uint8)
    begin = -raw.ctypes.data % LINE
    return raw[begin : begin + size].view(np.uint32).reshape(contexts, places, SLOTS)


def copied(tables: Tables) -> Tables:
    """An independent copy."""
    slots = aligned(*tables.slots.shape[:2])
    slots[:] = tables.slots
    others = {name: part.copy() for name, part in tables._asdict().items() if name != "slots"}
    return Tables(slots=slots, **others)


def squashed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def with_room(tables: Tables, count: int) -> Tables:
    """Tables with room for `count` further bytes of history."""
    needed = int(tables.position[0]) + count
    if needed <= len(tables.history):
        return tables
    history = np.zeros(max(needed, 2 * len(tables.history)), np.uint8)
    history[: len(tables.history)] = tables.history
    return tables._replace(history=history)


def bits_for(size: int) -> int:
    """Table bits that suit a training text of `size` bytes: 2^20 buckets for 2 MB."""
    return min(max(math.ceil(math.log2(max(size, 1))) - 1, 16), 22)
