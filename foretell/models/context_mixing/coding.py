"""Context mixing as a coder: each bit of a byte is a decision of a range coder, in the compiled loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numba import int64
from numpy.typing import NDArray

from foretell.coding import range_coder
from foretell.coding.range_coder import BITS, MASK, TOTAL
from foretell.coding.tokens import Ids
from foretell.models.context_mixing.compiled import (
    F,
    boundary,
    learn_byte,
    learn_map,
    look_up,
    predict,
    scratch,
)
from foretell.models.context_mixing.hashing import byte_at, hash_contexts, inlined, jit
from foretell.models.context_mixing.history import BOUNDARY, FIRST_BYTE, advance
from foretell.models.context_mixing.tables import Tables
from foretell.types import OnProgress

if TYPE_CHECKING:
    from foretell.models.context_mixing.model import ContextMixing

BLOCK = 1 << 14
"""tokens that are coded between two reports of progress"""
MOST_BYTES = 64
"""bytes of a message that a token can take: nine decisions of 17 bits, and what cuts of the interval waste"""
LOW, HIGH, CODE, PLACE = range(4)
"""bounds of the interval, the message in the decoder's window, and the place after it"""

narrow, settle, offset = (
    inlined(function) for function in (range_coder.narrow, range_coder.settle, range_coder.offset)
)


@inlined
def coded(coder: NDArray[np.int64], message: NDArray[np.uint8], p: float, bit: int) -> int:
    """Write a bit that is 1 with probability `p`; where `bit` is below 0, read it. Returns the bit."""
    edge, reading = offset(coder, min(max(int64(p * TOTAL), 1), TOTAL - 1)), bit < 0
    if reading:
        bit = int64(coder[CODE] - coder[LOW] < edge)
    if bit:
        narrow(coder, 0, edge)
    else:
        narrow(coder, edge, coder[HIGH] - coder[LOW] + 1)
    byte = settle(coder)
    while byte >= 0:
        if reading:
            following = int64(message[coder[PLACE]]) if coder[PLACE] < len(message) else int64(0)
            coder[CODE] = ((coder[CODE] << 8) & MASK) | following
        else:
            message[coder[PLACE]] = byte
        coder[PLACE] += 1
        byte = settle(coder)
    return bit


@jit
def code(
    t: Tables,
    tokens: NDArray[np.uint16],
    learn: bool,
    reading: bool,
    coder: NDArray[np.int64],
    message: NDArray[np.uint8],
) -> None:
    """Code tokens [N] in order, and learn from each after it was coded; `reading` fills them from the message.

    The same predictions and updates as in `compiled.read_token`.
    """
    w = scratch(t)
    for i in range(len(tokens)):
        token, node = np.int64(tokens[i]), 1
        ends = coded(coder, message, boundary(t), -1 if reading else int64(token == BOUNDARY))
        if learn:
            learn_map(t.ends[byte_at(t, 1), byte_at(t, 2)], F(ends))
        if not ends:
            hash_contexts(t, w.hashes)
            for depth in range(8):
                if depth == 0 or depth == 4:
                    look_up(t, w, node if depth else 0)
                bit = -1 if reading else ((token - FIRST_BYTE) >> (7 - depth)) & 1
                node = node * 2 + coded(coder, message, predict(t, w, node, depth), bit)
            if learn:
                learn_byte(t, w, node - 256)
        tokens[i] = BOUNDARY if ends else node - 256 + FIRST_BYTE
        advance(t, np.int64(tokens[i]), learn)


class BitCoder:
    """Codes texts by a model, each from its start; with `learn` by a copy that learns from each token it has coded."""

    def __init__(self, model: ContextMixing, *, learn: bool):
        self.model, self.learn = model, learn

    def encode(self, tokens: Ids, on_progress: OnProgress) -> bytes:
        """Tokens [N] to a message."""
        tables, coder, parts = self._start(len(tokens)), np.array([0, MASK, 0, 0]), []
        buffer = np.zeros(MOST_BYTES * min(BLOCK, len(tokens)), np.uint8)
        for begin, end in blocks(len(tokens), on_progress):
            coder[PLACE] = 0
            code(tables, tokens[begin:end].astype(np.uint16), self.learn, False, coder, buffer)
            parts.append(buffer[: coder[PLACE]].tobytes())
        return b"".join(parts) + range_coder.last_bytes(coder)

    def decode(self, message: bytes, count: int, on_progress: OnProgress) -> Ids:
        """The `count` tokens of a message."""
        window = BITS // 8
        first = int.from_bytes(message[:window].ljust(window, b"\0"), "big")
        tables, coder, tokens = self._start(count), np.array([0, MASK, first, window]), np.zeros(count, np.uint16)
        content = np.frombuffer(bytearray(message), np.uint8)
        for begin, end in blocks(count, on_progress):
            code(tables, tokens[begin:end], self.learn, True, coder, content)
        return tokens

    def _start(self, count: int) -> Tables:
        """The tables at the start of a text, which comes after a boundary."""
        model = (self.model.copy() if self.learn else self.model).beside(count + 2)
        model.follow(np.array([BOUNDARY]))
        return model.tables


def blocks(count: int, on_progress: OnProgress) -> Iterator[tuple[int, int]]:
    """Begin and end of each block."""
    for begin in range(0, count, BLOCK):
        on_progress(begin / count)
        yield begin, min(begin + BLOCK, count)
