"""Context mixing, compiled by numba: predict a bit, score it, learn from it.

`reference.py` is the same model in plain Python, which tests hold this against.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from foretell.models.context_mixing.tables import LONGEST, SETS, STEADY, Tables

ORDER, WORDS, SKIP, COLUMN, WORD_ABOVE, MATCH = range(6)
"""kinds of contexts; see `contexts.py`"""
F = np.float32
LIMIT = 250
"""largest count of a slot"""
FIRST_BYTE, BOUNDARY = 1, 0
"""byte b is token b + 1, as in the byte tokenizer"""
FAST, SLOW, SETTLED = 0.02, 0.002, 150_000
"""learning rate of the mixers at the start and after so many bytes"""
TINY = F(2.0**-16)
STRETCH = np.array([math.log((i + 0.5) / (4095.5 - i)) for i in range(4096)], dtype=np.float32)
"""log-odds of probabilities in steps of 1/4096"""
LEVEL = np.array([n if n < 8 else min(15, 8 + int(math.log2(n / 8) * 1.6)) for n in range(256)])
"""level of a count"""
LENGTH = np.array([n if n < 8 else min(15, 8 + int(math.log2(n / 8) * 2)) for n in range(LONGEST + 1)])
"""bucket of the length of a match"""
STEP = np.array([1 / (n + 1.6) for n in range(256)], dtype=np.float32)
MAP_STEP = np.array([1 / (n + 1.5) for n in range(STEADY + 1)], dtype=np.float32)
FIRST = np.array([sum(SETS[:k]) for k in range(len(SETS))])
"""first row of each set of mixer weights"""

jit: Any = njit(cache=True, nogil=True)
fast: Any = njit(cache=True, nogil=True, fastmath=True)


@jit
def mixed(a: int, b: int) -> int:
    """A hash of two numbers."""
    h = (uint64(a) * uint64(0x9E3779B97F4A7C15)) ^ ((uint64(b) + uint64(0x7F4A7C15)) * uint64(0xC2B2AE3D27D4EB4F))
    h ^= h >> uint64(29)
    h *= uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> uint64(32))


@jit
def squash(x: float) -> float:
    """The logistic function."""
    return F(1) / (F(1) + np.exp(-x))


@jit
def stretched(p: float) -> float:
    """Log-odds."""
    return STRETCH[int(p * F(4095.99))]


@fast
def dot(weights: NDArray[np.float32], x: NDArray[np.float32]) -> float:
    """The output of a mixer, at most 12 in size."""
    total = F(0)
    for j in range(len(x)):
        total += weights[j] * x[j]
    return min(max(total, F(-12)), F(12))


@fast
def learn_weights(weights: NDArray[np.float32], x: NDArray[np.float32], step: float) -> None:
    """A step along the gradient of the coding cost."""
    for j in range(len(x)):
        weights[j] += step * x[j]


# --- contexts -------------------------------------------------------------------------------------


@jit
def byte_at(t: Tables, back: int) -> int:
    """The byte `back` positions before the next one; 0 before the text."""
    place = t.position[0] - back
    return int(t.history[place]) if place >= 0 else 0


@jit
def above(t: Tables) -> int:
    """The byte of the line before in the column of the next byte; 0 if that line is shorter."""
    place = t.position[2] + t.position[0] - t.position[1]
    return int(t.history[place]) if place < t.position[1] else 0


@jit
def expected(t: Tables, m: int) -> int:
    """The byte that a match model expects; 0 without a match."""
    return int(t.history[t.matches[m, 0]]) if t.matches[m, 1] > 0 else 0


@jit
def hash_contexts(t: Tables, hashes: NDArray[np.uint64]) -> None:
    """The hash of each context of the next byte."""
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
                h = mixed(h, byte_at(t, 1))
        elif kind == SKIP:
            h = mixed(mixed(h, byte_at(t, 2)), byte_at(t, 3))
        elif kind == COLUMN:
            h = mixed(mixed(mixed(h, above(t)), min(t.position[0] - t.position[1], 255)), byte_at(t, 1))
        elif kind == WORD_ABOVE:
            h = mixed(mixed(h, t.words[0]), above(t))
        else:
            for m in range(len(t.matches)):
                h = mixed(h, expected(t, m) * 16 + LENGTH[t.matches[m, 1]])
        hashes[c] = h


@jit
def find_buckets(t: Tables, hashes: NDArray[np.uint64], nibble: int, learn: bool, buckets: NDArray[np.int64]) -> None:
    """The bucket of each context and nibble; without learning -1 where there is none yet.

    Three neighbours are probed; a new bucket takes the place of the one whose first node was seen least.
    """
    size = uint64(t.slots.shape[1] - 1)
    for c in range(len(hashes)):
        h = hashes[c] if nibble == 0 else mixed(hashes[c], nibble + 256)
        check = np.uint32((h >> uint64(40)) | uint64(1))
        start = np.int64(h & size)
        buckets[c], lowest, place = -1, np.int64(1 << 30), start
        for probe in range(3):
            near = start ^ probe
            if t.slots[c, near, 0] == check:
                buckets[c] = near
                break
            count = np.int64(t.slots[c, near, 1] >> np.uint32(8)) & 255 if t.slots[c, near, 0] else np.int64(-1)
            if count < lowest:
                lowest, place = count, near
        if buckets[c] < 0 and learn:
            t.slots[c, place, 1:] = np.uint32(1 << 31)
            t.slots[c, place, 0] = check
            buckets[c] = place


# --- one bit --------------------------------------------------------------------------------------


@jit
def gather(t: Tables, buckets: NDArray[np.int64], node: int, x: NDArray[np.float32], at: NDArray[np.int64]) -> None:
    """The inputs of the mixers for the bit after `node`, the bits of the byte so far behind a 1.

    `at` [C + M + 3, 3] receives the places in the adaptive maps, then highest order seen and state of the matches.
    """
    contexts, models = len(buckets), len(t.matches)
    local, bit = node, 0
    while node >> bit > 1:
        bit += 1
    if bit >= 4:
        local = (node & ((1 << (bit - 4)) - 1)) | (1 << (bit - 4))
    highest = 0
    for c in range(contexts):
        value = t.slots[c, buckets[c], local] if buckets[c] >= 0 else np.uint32(0)
        count, bits = np.int64(value >> np.uint32(8)) & 255, np.int64(value) & 255
        at[c, 0] = -1
        if count == 0:
            x[3 * c] = x[3 * c + 1] = x[3 * c + 2] = F(0)
            continue
        stretch = STRETCH[np.int64(value >> np.uint32(20))]
        if t.contexts[c, 0] == ORDER:
            highest = c + 1
        cell = min(max(int(stretch * F(2) + F(16)), 0), 31)
        at[c, 0], at[c, 1], at[c, 2] = LEVEL[count], cell, bits
        x[3 * c] = stretch * F(0.5) if count < 3 else stretch
        x[3 * c + 1] = stretched(t.by_count[c, LEVEL[count], cell, bits & 3, 0])
        x[3 * c + 2] = stretched(t.by_history[c, min(count, 7), bits & 63, 0])
    state, lengths = 0, 0
    for m in range(models):
        first, row = 3 * contexts + 2 * m, contexts + m
        x[first] = x[first + 1] = F(0)
        at[row, 0] = -1
        state, lengths = state * 3, lengths * 8
        length = t.matches[m, 1]
        byte = expected(t, m) + 256
        if length > 0 and byte >> (8 - bit) == node:
            wanted, bucket = (byte >> (7 - bit)) & 1, LENGTH[length]
            q = t.by_match[m, bucket, wanted, 0]
            x[first], x[first + 1] = stretched(q), (q - F(0.5)) * F(4)
            at[row, 0], at[row, 1] = bucket, wanted
            state, lengths = state + 1 + wanted, lengths + min(bucket // 2, 7)
    x[-1] = F(0.3)
    row = contexts + models
    at[row, 0], at[row, 1], at[row, 2] = highest, min(state, 15), lengths & 63
    at[row + 1, 0] = bit


@jit
def predict(
    t: Tables,
    node: int,
    x: NDArray[np.float32],
    at: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float32],
) -> float:
    """The probability that the bit is 1. `out` receives the stretched outputs of the sets, and the probability before
    correction; `rows` the rows of the sets, the rows of the corrections and the bin."""
    last = at.shape[0] - 2
    highest, state, lengths, bit = at[last, 0], at[last, 1], at[last, 2], at[last + 1, 0]
    c1, c2, sets = byte_at(t, 1), byte_at(t, 2), len(FIRST)
    rows[0] = FIRST[0] + node * 16 + state
    rows[1] = FIRST[1] + min(highest, 15) * 8 + bit
    rows[2] = FIRST[2] + c1 * 256 + node
    rows[3] = FIRST[3] + lengths * 16 + state
    rows[4] = FIRST[4] + c2 * 256 + node
    total = F(0)
    for k in range(sets):
        out[k] = dot(t.mixers[rows[k]], x)
        total += t.final[node, k] * out[k]
    total = min(max(total, F(-12)), F(12))
    p = squash(total)
    out[sets] = p
    place = (min(max(total, F(-7.999)), F(7.999)) + F(8)) * F(2)
    low = int(place)
    part = place - F(low)
    out[sets + 1] = part
    rows[sets], rows[sets + 1], rows[sets + 2] = (
        c1 * 256 + node,
        np.int64(mixed(c1 * 256 + c2, node) & uint64(0xFFFF)),
        low,
    )
    corrected = F(0)
    for k in range(2):
        bins = t.refined[k, rows[sets + k]]
        corrected += bins[low] * (F(1) - part) + bins[low + 1] * part
    return min(max(F(0.5) * p + F(0.25) * corrected, TINY), F(1) - TINY)


@jit
def learn_bit(
    t: Tables,
    bit: int,
    node: int,
    buckets: NDArray[np.int64],
    x: NDArray[np.float32],
    at: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Update everything that predicted the bit."""
    contexts, models, sets, y = len(buckets), len(t.matches), len(FIRST), F(bit)
    low, part = rows[sets + 2], out[sets + 1]
    for k in range(2):
        bins = t.refined[k, rows[sets + k]]
        bins[low] += (y - bins[low]) * F(0.02) * (F(1) - part)
        bins[low + 1] += (y - bins[low + 1]) * F(0.02) * part
    step = (y - out[sets]) * F(SLOW)
    rate = F(max(SLOW, FAST * (1 - t.position[3] / SETTLED)))
    for k in range(sets):
        t.final[node, k] += step * out[k]
        learn_weights(t.mixers[rows[k]], x, (y - squash(out[k])) * rate)
    depth = at[contexts + models + 1, 0]
    local = node if depth < 4 else (node & ((1 << (depth - 4)) - 1)) | (1 << (depth - 4))
    for c in range(contexts):
        value = t.slots[c, buckets[c], local]
        count, bits = np.int64(value >> np.uint32(8)) & 255, np.int64(value) & 255
        if count > 0:
            learn_map(t.by_count[c, at[c, 0], at[c, 1], bits & 3], y)
            learn_map(t.by_history[c, min(count, 7), bits & 63], y)
        p = F(value >> np.uint32(16)) / F(65536)
        p = min(max(p + (y - p) * STEP[count], F(0)), F(0.99998))
        probability = np.uint32(p * F(65536)) << np.uint32(16)
        t.slots[c, buckets[c], local] = (
            probability | np.uint32(min(count + 1, LIMIT) << 8) | np.uint32(((bits << 1) | bit) & 255)
        )
    for m in range(models):
        if at[contexts + m, 0] >= 0:
            learn_map(t.by_match[m, at[contexts + m, 0], at[contexts + m, 1]], y)


@jit
def learn_map(cell: NDArray[np.float32], y: float) -> None:
    """Move a probability towards a bit, less with each count."""
    count = int(cell[1])
    cell[0] += (y - cell[0]) * MAP_STEP[count]
    if count < STEADY:
        cell[1] = F(count + 1)


# --- tokens ---------------------------------------------------------------------------------------


@jit
def boundary(t: Tables) -> float:
    """The probability that the document ends here, by the last two bytes."""
    return min(max(t.ends[byte_at(t, 1), byte_at(t, 2), 0], TINY), F(1) - TINY)


@jit
def advance(t: Tables, token: int, learn: bool) -> None:
    """Append a token to the history, a boundary as byte 0; without learning later matches do not find it."""
    n, byte = t.position[0], max(token - FIRST_BYTE, 0)
    t.history[n] = byte
    n += 1
    t.position[0] = n
    if learn:
        t.position[3] += 1
    if token == BOUNDARY:
        t.position[1] = t.position[2] = n
        t.words[:] = uint64(0)
    if byte == 10:
        t.position[2], t.position[1] = t.position[1], n
    lower = byte + 32 if 65 <= byte <= 90 else byte
    if 97 <= lower <= 122 or byte >= 128:
        t.words[0] = mixed(t.words[0], lower)
    elif t.words[0] != 0:
        t.words[2], t.words[1], t.words[0] = t.words[1], t.words[0], uint64(0)
    for m in range(len(t.matches)):
        if t.matches[m, 1] > 0 and t.history[t.matches[m, 0]] == byte:
            t.matches[m, 0] += 1
            t.matches[m, 1] = min(t.matches[m, 1] + 1, LONGEST)
        else:
            t.matches[m, 1] = 0
        shortest = t.lengths[m]
        if n < shortest:
            continue
        h = uint64(m + 1)
        for back in range(1, shortest + 1):
            h = mixed(h, int(t.history[n - back]))
        place = np.int64(h & uint64(t.heads.shape[1] - 1))
        if t.matches[m, 1] == 0:
            before, length = t.heads[m, place], 0
            while length < min(before, LONGEST) and t.history[before - 1 - length] == t.history[n - 1 - length]:
                length += 1
            if length >= shortest:
                t.matches[m, 0], t.matches[m, 1] = before, length
        if learn:
            t.heads[m, place] = n


@jit
def read(t: Tables, tokens: NDArray[np.uint16], learn: bool, logp: NDArray[np.float64]) -> None:
    """Score tokens in order, and learn from each after it was scored; `logp` [N] receives nats."""
    contexts, sets = t.contexts.shape[0], len(FIRST)
    hashes, buckets = np.zeros(contexts, np.uint64), np.zeros(contexts, np.int64)
    x, out = np.zeros(t.mixers.shape[1], F), np.zeros(sets + 2, F)
    at, rows = np.zeros((contexts + len(t.matches) + 2, 3), np.int64), np.zeros(sets + 3, np.int64)
    for i in range(len(tokens)):
        token = np.int64(tokens[i])
        logp[i] = read_one(t, token, learn, hashes, buckets, x, at, rows, out)
        advance(t, token, learn)


@jit
def read_one(
    t: Tables,
    token: int,
    learn: bool,
    hashes: NDArray[np.uint64],
    buckets: NDArray[np.int64],
    x: NDArray[np.float32],
    at: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float32],
) -> float:
    """The log-probability of the next token, in nats."""
    end = boundary(t)
    if learn:
        learn_map(t.ends[byte_at(t, 1), byte_at(t, 2)], F(token == BOUNDARY))
    if token == BOUNDARY:
        return math.log(end)
    total, node, byte = math.log(F(1) - end), 1, token - FIRST_BYTE
    hash_contexts(t, hashes)
    for depth in range(8):
        if depth == 0 or depth == 4:
            find_buckets(t, hashes, node if depth else 0, learn, buckets)
        bit = (byte >> (7 - depth)) & 1
        gather(t, buckets, node, x, at)
        p = predict(t, node, x, at, rows, out)
        total += math.log(p if bit else F(1) - p)
        if learn:
            learn_bit(t, bit, node, buckets, x, at, rows, out)
        node = node * 2 + bit
    return total


@jit
def follow(t: Tables, tokens: NDArray[np.int64]) -> None:
    """Read tokens as context only; numbers below 0 are none."""
    for i in range(len(tokens)):
        if tokens[i] >= 0:
            advance(t, tokens[i], False)


@jit
def score(t: Tables, tokens: NDArray[np.int64], targets: NDArray[np.int64], logp: NDArray[np.float64]) -> None:
    """Log-probability of each target after the tokens up to it, without learning; numbers below 0 are none."""
    contexts, sets = t.contexts.shape[0], len(FIRST)
    hashes, buckets = np.zeros(contexts, np.uint64), np.zeros(contexts, np.int64)
    x, out = np.zeros(t.mixers.shape[1], F), np.zeros(sets + 2, F)
    at, rows = np.zeros((contexts + len(t.matches) + 2, 3), np.int64), np.zeros(sets + 3, np.int64)
    for i in range(len(tokens)):
        if tokens[i] >= 0:
            advance(t, tokens[i], False)
        if targets[i] >= 0:
            logp[i] = read_one(t, targets[i], False, hashes, buckets, x, at, rows, out)


@jit
def branch(
    t: Tables,
    buckets: NDArray[np.int64],
    node: int,
    x: NDArray[np.float32],
    at: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.float32],
    nodes: NDArray[np.float64],
) -> None:
    """Log-probabilities of the two nodes below one, from its own."""
    gather(t, buckets, node, x, at)
    p = predict(t, node, x, at, rows, out)
    nodes[2 * node], nodes[2 * node + 1] = nodes[node] + math.log(F(1) - p), nodes[node] + math.log(p)


@jit
def distribution(t: Tables, logp: NDArray[np.float64]) -> None:
    """Log-probabilities [257] of the next token: 255 predictions of a bit, without learning."""
    contexts, sets = t.contexts.shape[0], len(FIRST)
    hashes, buckets = np.zeros(contexts, np.uint64), np.zeros(contexts, np.int64)
    x, out = np.zeros(t.mixers.shape[1], F), np.zeros(sets + 2, F)
    at, rows = np.zeros((contexts + len(t.matches) + 2, 3), np.int64), np.zeros(sets + 3, np.int64)
    nodes, end = np.zeros(512), boundary(t)
    logp[BOUNDARY], nodes[1] = math.log(end), math.log(F(1) - end)
    hash_contexts(t, hashes)
    find_buckets(t, hashes, 0, False, buckets)
    for node in range(1, 16):
        branch(t, buckets, node, x, at, rows, out, nodes)
    for nibble in range(16, 32):
        find_buckets(t, hashes, nibble, False, buckets)
        for depth in range(4):
            for low in range(1 << depth):
                branch(t, buckets, (nibble << depth) | low, x, at, rows, out, nodes)
    logp[FIRST_BYTE:] = nodes[256:]
