"""A range coder: a message as one number in an interval that each symbol narrows in proportion to its probability.

Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised message"; without carries as in
Subbotin 1999. Bounds have 56 bits and frequencies add up to 2^32, so nothing exceeds 64 bits with a sign: the functions
on bounds run as plain Python and compiled by numba, with the same results. Coding costs about 1e-5 bits a symbol more
than the frequencies say.
"""

from __future__ import annotations

from typing import Any

TOTAL_BITS = 32
TOTAL = 1 << TOTAL_BITS
"""sum of the frequencies of all symbols"""
BITS = 56
MASK = (1 << BITS) - 1
TOP = BITS - 8
"""bits below the first byte of a bound"""
NARROWEST = 1 << 40
"""least width of the interval before a symbol"""


def narrow(bounds: Any, start: int, size: int) -> None:
    """Narrow the interval [bounds[0], bounds[1]] to the frequencies from `start` to `start + size` of `TOTAL`."""
    step = (bounds[1] - bounds[0] + 1) >> TOTAL_BITS
    bounds[1] = bounds[0] + step * (start + size) - 1
    bounds[0] = bounds[0] + step * start


def settle(bounds: Any) -> int:
    """Shift out the next byte of the message once both bounds agree on it; -1 while they do not.

    Where a narrow interval contains a place at which the first byte changes, it is cut there.
    """
    low, high = bounds[0], bounds[1]
    if (low ^ high) >> TOP:
        if high - low >= NARROWEST:
            return -1
        high = low | (NARROWEST - 1)
    bounds[0] = (low << 8) & MASK
    bounds[1] = ((high << 8) & MASK) | 255
    return low >> TOP  # type: ignore[no-any-return]


def place(bounds: Any, code: int) -> int:
    """The frequency that a message `code` points at."""
    step = (bounds[1] - bounds[0] + 1) >> TOTAL_BITS
    return min((code - bounds[0]) // step, TOTAL - 1)  # type: ignore[no-any-return]


def last_bytes(bounds: Any) -> bytes:
    """The fewest bytes that end a message inside the interval; the decoder reads zeros after them."""
    low, high = int(bounds[0]), int(bounds[1])
    for count in range(BITS // 8 + 1):
        rest = BITS - 8 * count
        value = -(-low >> rest) << rest
        if value <= high:
            break
    return (value >> rest).to_bytes(count, "big") if count else b""


class Encoder:
    """Symbols to bytes."""

    def __init__(self) -> None:
        self.bounds = [0, MASK]
        self.out = bytearray()

    def encode(self, start: int, size: int) -> None:
        """Add a symbol that has the frequencies from `start` to `start + size`; size at least 1."""
        narrow(self.bounds, start, size)
        while (byte := settle(self.bounds)) >= 0:
            self.out.append(byte)

    def finish(self) -> bytes:
        """The whole message."""
        return bytes(self.out) + last_bytes(self.bounds)


class Decoder:
    """Bytes to symbols: `peek`, find the symbol that has this frequency, then `take` it."""

    def __init__(self, message: bytes) -> None:
        self.bounds = [0, MASK]
        self.rest = iter(message)
        self.code = 0
        for _ in range(BITS // 8):
            self._shift()

    def peek(self) -> int:
        """A frequency of the next symbol."""
        return place(self.bounds, self.code)

    def take(self, start: int, size: int) -> None:
        """Skip a symbol that has the frequencies from `start` to `start + size`."""
        narrow(self.bounds, start, size)
        while settle(self.bounds) >= 0:
            self._shift()

    def _shift(self) -> None:
        self.code = ((self.code << 8) & MASK) | next(self.rest, 0)
