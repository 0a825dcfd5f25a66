"""Context mixing, compiled by numba: predict a bit, score it, learn from it.

`reference.py` is the same model in plain Python, which tests hold this against.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from foretell.kernels.prefetching import prefetch
from foretell.models.context_mixing.hashing import (
    LENGTH,
    ORDER,
    byte_at,
    expected,
    find_buckets,
    hash_contexts,
    inlined,
    jit,
    make_buckets,
    mixed,
    vectorised,
)
from foretell.models.context_mixing.history import BOUNDARY, FIRST_BYTE, advance
from foretell.models.context_mixing.tables import MATCH_STATES, STEADY, Tables

BITS, HIGHEST, BYTE, BYTE_2, BYTE_3, MATCH_LENGTH, EXPECTED, WORD_LENGTH, COUNTS, WORD = range(10)
"""kinds of mixers; see `selectors.py`"""
HASHED = 0xFFFF
"""rows that a hash selects from, less one"""
F = np.float32
LIMIT = 250
"""largest count of a slot"""
FAST, SLOW, SETTLED = 0.02, 0.0015, 300_000
"""learning rates of the mixers at the start and after the first `SETTLED` bytes"""
FINAL = 0.0005
"""learning rate of the last mixer"""
TINY = F(2.0**-16)
STRETCH = np.array([math.log((i + 0.5) / (4095.5 - i)) for i in range(4096)], dtype=np.float32)
"""log-odds of probabilities in steps of 1/4096"""
LEVEL = np.array([n if n < 8 else min(15, 8 + int(math.log2(n / 8) * 1.6)) for n in range(256)])
"""level of a count"""
STEP = np.array([1 / (n + 1.6) for n in range(256)], dtype=np.float32)
MAP_STEP = np.array([1 / (n + 1.5) for n in range(STEADY + 1)], dtype=np.float32)


class Scratch(NamedTuple):
    """Intermediate values of one byte, to learn from once it is scored."""

    hashes: NDArray[np.uint64]
    """[C] of the contexts"""
    buckets: NDArray[np.int64]
    """[2, C] places in the tables, for each nibble; -1: none"""
    places: NDArray[np.int64]
    """[2, C] where such a bucket is to be made"""
    checks: NDArray[np.uint32]
    """[2, C] what marks it"""
    values: NDArray[np.uint32]
    """[C] slots of the next bit"""
    x: NDArray[np.float32]
    """[8, N] inputs of the mixers"""
    cells: NDArray[np.int64]
    """[8, C, 2] cells of the adaptive maps; -1: the context is new"""
    matched: NDArray[np.int64]
    """[8, M] cells of the match models; -1: no match"""
    rows: NDArray[np.int64]
    """[8, S + 2] rows of the mixers, then of the final corrections"""
    bins: NDArray[np.int64]
    """[8] lower of the two bins of the final corrections"""
    outputs: NDArray[np.float32]
    """[8, S] outputs of the mixers"""
    shares: NDArray[np.float32]
    """[8, 2] probability before the corrections, and share of the upper bin"""


@jit
def scratch(t: Tables) -> Scratch:
    """Room for one byte."""
    contexts, models, mixers = len(t.contexts), len(t.matches), len(t.selectors)
    return Scratch(
        np.zeros(contexts, np.uint64),
        np.zeros((2, contexts), np.int64),
        np.zeros((2, contexts), np.int64),
        np.zeros((2, contexts), np.uint32),
        np.zeros(contexts, np.uint32),
        np.zeros((8, t.mixers.shape[1]), F),
        np.zeros((8, contexts, 2), np.int64),
        np.zeros((8, models), np.int64),
        np.zeros((8, mixers + 2), np.int64),
        np.zeros(8, np.int64),
        np.zeros((8, mixers), F),
        np.zeros((8, 2), F),
    )


@inlined
def squash(x: float) -> float:
    """The logistic function."""
    return F(1) / (F(1) + np.exp(-x))


@inlined
def stretched(p: float) -> float:
    """Log-odds."""
    return STRETCH[int(p * F(4095.99))]


@vectorised
def dot(weights: NDArray[np.float32], x: NDArray[np.float32]) -> float:
    """The output of a mixer, at most 12 in size."""
    total = F(0)
    for j in range(len(x)):
        total += weights[j] * x[j]
    return min(max(total, F(-12)), F(12))


@inlined
def learn_weights(weights: NDArray[np.float32], x: NDArray[np.float32], step: float) -> None:
    """A step along the gradient of the coding cost."""
    for j in range(len(x)):
        weights[j] += step * x[j]


# --- one bit --------------------------------------------------------------------------------------


@inlined
def look_up(t: Tables, w: Scratch, nibble: int) -> None:
    """Find the buckets of the first nibble of a byte (0), or of the second after the node of the first."""
    half = 1 if nibble else 0
    find_buckets(t, w.hashes, nibble, w.buckets[half], w.places[half], w.checks[half])


@inlined
def local(node: int, depth: int) -> int:
    """The place of a node in the bucket of its nibble."""
    return node if depth < 4 else (node & ((1 << (depth - 4)) - 1)) | (1 << (depth - 4))


@inlined
def gather(t: Tables, w: Scratch, node: int, depth: int) -> None:
    """The inputs and the rows of the mixers for the bit after `node`, a 1 and the bits of the byte so far."""
    x, cells, matched, buckets = w.x[depth], w.cells[depth], w.matched[depth], w.buckets[depth >> 2]
    contexts, models, place = len(buckets), len(t.matches), local(node, depth)
    highest, counts = 0, 0
    for c in range(contexts):
        value = t.slots[c, buckets[c], place] if buckets[c] >= 0 else np.uint32(0)
        w.values[c], count = value, np.int64(value >> np.uint32(8)) & 255
        if 2 <= c < 7:
            counts = counts * 4 + (0 if count == 0 else 1 if count < 3 else 2 if count < 8 else 3)
        if count > 0 and t.contexts[c, 0] == ORDER:
            highest = c + 1
    state, lengths = 0, 0
    for m in range(models):
        first = 4 * contexts + 2 * m
        x[first] = x[first + 1] = F(0)
        matched[m] = -1
        state, lengths = state * 3, lengths * 8
        length, byte = t.matches[m, 1], expected(t, m) + 256
        if length > 0 and byte >> (8 - depth) == node:
            wanted, bucket = (byte >> (7 - depth)) & 1, LENGTH[length]
            matched[m] = bucket * 2 + wanted
            q = t.by_match[m, matched[m], 0]
            x[first], x[first + 1] = stretched(q), (q - F(0.5)) * F(4)
            state, lengths = state + 1 + wanted, lengths + min(bucket // 2, 7)
    select(t, w.rows[depth], node, depth, highest, counts, state, lengths)
    for c in range(contexts):
        value = w.values[c]
        count, bits = np.int64(value >> np.uint32(8)) & 255, np.int64(value) & 255
        if count == 0:
            cells[c, 0] = -1
            x[4 * c] = x[4 * c + 1] = x[4 * c + 2] = x[4 * c + 3] = F(0)
            continue
        stretch = STRETCH[np.int64(value >> np.uint32(20))]
        cells[c, 0] = (LEVEL[count] * 32 + min(max(int(stretch * F(2) + F(16)), 0), 31)) * 4 + (bits & 3)
        cells[c, 1] = min(count, 7) * 256 + bits
        p = t.by_count[c, cells[c, 0], 0]
        x[4 * c] = stretch * F(0.5) if count < 3 else stretch
        x[4 * c + 1], x[4 * c + 2] = stretched(p), (p - F(0.5)) * F(2)
        x[4 * c + 3] = stretched(t.by_history[c, cells[c, 1], 0])
    first = 4 * contexts + 2 * models
    x[first] = F(0.3)
    for e in range(len(t.advice)):
        x[first + 1 + e] = t.advice[e, node]


@inlined
def select(
    t: Tables, rows: NDArray[np.int64], node: int, depth: int, highest: int, counts: int, state: int, lengths: int
) -> None:
    """The row of each mixer, then those of the final corrections."""
    last, before, mixers, row = byte_at(t, 1), byte_at(t, 2), len(t.selectors), np.int64(0)
    for k in range(mixers):
        kind = t.selectors[k, 0]
        if kind == BITS:
            row = node * MATCH_STATES + state
        elif kind == HIGHEST:
            row = min(highest, 31) * 8 + depth
        elif BYTE <= kind <= BYTE_3:
            row = byte_at(t, kind - BYTE + 1) * 256 + node
        elif kind == MATCH_LENGTH:
            row = lengths * MATCH_STATES + state
        elif kind == EXPECTED:
            m = len(t.matches) - 1
            while m > 0 and t.matches[m, 1] == 0:
                m -= 1
            row = expected(t, m) * 8 + depth
        elif kind == WORD_LENGTH:
            row = min(t.position[5], 15) * 256 + node
        elif kind == COUNTS:
            row = counts * 8 + depth
        else:
            row = np.int64(mixed(t.words[0], node) & uint64(HASHED))
        rows[k] = t.selectors[k, 1] + row
        for j in range(0, t.mixers.shape[1], 16):
            prefetch(t.mixers, (rows[k], j))
    rows[mixers] = last * 256 + node
    rows[mixers + 1] = np.int64(mixed(last * 256 + before, node) & uint64(HASHED))
    for k in range(2):
        for j in range(0, 33, 16):
            prefetch(t.refined, (k, rows[mixers + k], j))


@inlined
def predict(t: Tables, w: Scratch, node: int, depth: int) -> float:
    """The probability that the bit after `node` is 1."""
    gather(t, w, node, depth)
    rows, outputs, mixers = w.rows[depth], w.outputs[depth], len(t.selectors)
    total = F(0)
    for k in range(mixers):
        outputs[k] = dot(t.mixers[rows[k]], w.x[depth])
        total += t.final[node, k] * outputs[k]
    total = min(max(total, F(-12)), F(12))
    p = squash(total)
    place = (min(max(total, F(-7.999)), F(7.999)) + F(8)) * F(2)
    low = int(place)
    part = place - F(low)
    w.shares[depth, 0], w.shares[depth, 1], w.bins[depth] = p, part, low
    corrected = F(0)
    for k in range(2):
        bins = t.refined[k, rows[mixers + k]]
        corrected += bins[low] * (F(1) - part) + bins[low + 1] * part
    return min(max(F(0.5) * p + F(0.25) * corrected, TINY), F(1) - TINY)


@inlined
def counted(slot: int, bit: int) -> int:
    """A slot after one more bit."""
    count, bits, p = np.int64(slot >> np.uint32(8)) & 255, np.int64(slot) & 255, F(slot >> np.uint32(16)) / F(65536)
    p = min(max(p + (F(bit) - p) * STEP[count], F(0)), F(0.99998))
    return (
        (np.uint32(p * F(65536)) << np.uint32(16))
        | np.uint32(min(count + 1, LIMIT) << 8)
        | np.uint32(((bits << 1) | bit) & 255)
    )


@inlined
def learn_bit(t: Tables, w: Scratch, node: int, depth: int, bit: int) -> None:
    """Update everything that predicted the bit after `node`."""
    rows, outputs, cells, buckets = w.rows[depth], w.outputs[depth], w.cells[depth], w.buckets[depth >> 2]
    mixers, y, low, part = len(t.selectors), F(bit), w.bins[depth], w.shares[depth, 1]
    for k in range(2):
        bins = t.refined[k, rows[mixers + k]]
        bins[low] += (y - bins[low]) * F(0.02) * (F(1) - part)
        bins[low + 1] += (y - bins[low + 1]) * F(0.02) * part
    step = (y - w.shares[depth, 0]) * F(FINAL)
    rate = F(max(SLOW, FAST * (1 - t.position[3] / SETTLED)))
    for k in range(mixers):
        t.final[node, k] += step * outputs[k]
        learn_weights(t.mixers[rows[k]], w.x[depth], (y - squash(outputs[k])) * rate)
    place = local(node, depth)
    for c in range(len(buckets)):
        if cells[c, 0] >= 0:
            learn_map(t.by_count[c, cells[c, 0]], y)
            learn_map(t.by_history[c, cells[c, 1]], y)
        t.slots[c, buckets[c], place] = counted(t.slots[c, buckets[c], place], bit)
    for m in range(len(t.matches)):
        if w.matched[depth, m] >= 0:
            learn_map(t.by_match[m, w.matched[depth, m]], y)


@inlined
def learn_byte(t: Tables, w: Scratch, byte: int) -> None:
    """Update everything that predicted a byte, bit by bit."""
    for depth in range(8):
        if depth == 0 or depth == 4:
            half = depth >> 2
            make_buckets(t, w.buckets[half], w.places[half], w.checks[half])
        learn_bit(t, w, (byte | 256) >> (8 - depth), depth, (byte >> (7 - depth)) & 1)


@inlined
def learn_map(cell: NDArray[np.float32], y: float) -> None:
    """Move a probability towards a bit, less with each count."""
    count = int(cell[1])
    cell[0] += (y - cell[0]) * MAP_STEP[count]
    if count < STEADY:
        cell[1] = F(count + 1)


# --- tokens ---------------------------------------------------------------------------------------


@inlined
def boundary(t: Tables) -> float:
    """The probability that the document ends here, by the last two bytes."""
    return min(max(t.ends[byte_at(t, 1), byte_at(t, 2), 0], TINY), F(1) - TINY)


@inlined
def read_token(t: Tables, w: Scratch, token: int, learn: bool) -> float:
    """The log-probability of the next token, in nats; with `learn` everything learns from it then."""
    end = boundary(t)
    if learn:
        learn_map(t.ends[byte_at(t, 1), byte_at(t, 2)], F(token == BOUNDARY))
    if token == BOUNDARY:
        return math.log(np.float64(end))
    total, node, byte = math.log(np.float64(F(1) - end)), 1, token - FIRST_BYTE
    hash_contexts(t, w.hashes)
    for depth in range(8):
        if depth == 0 or depth == 4:
            look_up(t, w, node if depth else 0)
        bit = (byte >> (7 - depth)) & 1
        p = predict(t, w, node, depth)
        total += math.log(np.float64(p if bit else F(1) - p))
        node = node * 2 + bit
    if learn:
        learn_byte(t, w, byte)
    return total


@jit
def read(t: Tables, tokens: NDArray[np.uint16], logp: NDArray[np.float64], advice: NDArray[np.float32]) -> None:
    """Score tokens in order, and learn from each after it was scored; `logp` [N] receives nats.

    `advice` [N, E, 8]: log-odds of a 1 for each bit of the token, by E experts.
    """
    w = scratch(t)
    for i in range(len(tokens)):
        token = np.int64(tokens[i])
        if token != BOUNDARY:
            for e in range(len(t.advice)):
                for depth in range(8):
                    t.advice[e, ((token - FIRST_BYTE) | 256) >> (8 - depth)] = advice[i, e, depth]
        logp[i] = read_token(t, w, token, True)
        advance(t, token, True)


@inlined
def count_byte(t: Tables, w: Scratch, byte: int) -> None:
    """Update the slots of a byte in all contexts."""
    hash_contexts(t, w.hashes)
    look_up(t, w, 0)
    look_up(t, w, (byte | 256) >> 4)
    for half in range(2):
        make_buckets(t, w.buckets[half], w.places[half], w.checks[half])
        for c in range(len(t.contexts)):
            bucket = w.buckets[half, c]
            for depth in range(4 * half, 4 * half + 4):
                place, bit = local((byte | 256) >> (8 - depth), depth), (byte >> (7 - depth)) & 1
                t.slots[c, bucket, place] = counted(t.slots[c, bucket, place], bit)


@jit
def count(t: Tables, tokens: NDArray[np.uint16]) -> None:
    """Learn what follows each context from tokens, without predicting them: what corrects and mixes predictions learns
    nothing. Several times as fast as `read`."""
    w, learned = scratch(t), t.position[3]
    for token in tokens:
        learn_map(t.ends[byte_at(t, 1), byte_at(t, 2)], F(token == BOUNDARY))
        if token != BOUNDARY:
            count_byte(t, w, np.int64(token) - FIRST_BYTE)
        advance(t, np.int64(token), True)
    t.position[3] = learned


@jit
def score(t: Tables, tokens: NDArray[np.int64], targets: NDArray[np.int64], logp: NDArray[np.float64]) -> None:
    """Log-probability of each target after the tokens up to it, without learning; numbers below 0 are none."""
    w = scratch(t)
    for i in range(len(tokens)):
        if tokens[i] >= 0:
            advance(t, tokens[i], False)
        if targets[i] >= 0:
            logp[i] = read_token(t, w, targets[i], False)


@inlined
def branch(t: Tables, w: Scratch, node: int, depth: int, nodes: NDArray[np.float64]) -> None:
    """Log-probabilities of the two nodes below one, from its own."""
    p = predict(t, w, node, depth)
    nodes[2 * node] = nodes[node] + math.log(np.float64(F(1) - p))
    nodes[2 * node + 1] = nodes[node] + math.log(np.float64(p))


@jit
def distribution(t: Tables, logp: NDArray[np.float64]) -> None:
    """Log-probabilities [257] of the next token: 255 predictions of a bit, without learning."""
    w, nodes, end = scratch(t), np.zeros(512), boundary(t)
    logp[BOUNDARY], nodes[1] = math.log(np.float64(end)), math.log(np.float64(F(1) - end))
    hash_contexts(t, w.hashes)
    look_up(t, w, 0)
    for depth in range(4):
        for low in range(1 << depth):
            branch(t, w, (1 << depth) | low, depth, nodes)
    for nibble in range(16, 32):
        look_up(t, w, nibble)
        for depth in range(4):
            for low in range(1 << depth):
                branch(t, w, (nibble << depth) | low, 4 + depth, nodes)
    logp[FIRST_BYTE:] = nodes[256:]
