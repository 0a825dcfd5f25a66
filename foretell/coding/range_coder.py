"""A range coder: a message as one number in an interval that each symbol narrows in proportion to its probability.

Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised message"; without carries as in
Subbotin 1999. Bounds have 56 bits and frequencies add up to 2^32, so nothing exceeds 64 bits with a sign: the functions
on bounds run as plain Python and compiled by numba, with the same results. A message is a few hundred-thousandths
longer than the frequencies say.
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
NARROWEST = 1 << 36
"""least width of the interval before a symbol"""


def offset(bounds: Any, frequency: int) -> int:
    """Where a frequency lies in the interval [bounds[0], bounds[1]]: its share of the width, in 64 bits."""
    width = bounds[1] - bounds[0] + 1
    return (width >> TOTAL_BITS) * frequency + ((((width & (TOTAL - 1)) >> 8) * frequency) >> 24)  # type: ignore[no-any-return]


def narrow(bounds: Any, first: int, last: int) -> None:
    """Narrow the interval to what lies between two offsets."""
    bounds[1] = bounds[0] + last - 1
    bounds[0] = bounds[0] + first


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
        narrow(self.bounds, offset(self.bounds, start), offset(self.bounds, start + size))
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
        low, high = self.bounds
        found = ((self.code - low) << TOTAL_BITS) // (high - low + 1)  # no more than the frequency: offsets are rounded
        while found + 1 < TOTAL and offset(self.bounds, found + 1) <= self.code - low:
            found += 1
        return found

    def take(self, start: int, size: int) -> None:
        """Skip a symbol that has the frequencies from `start` to `start + size`."""
        narrow(self.bounds, offset(self.bounds, start), offset(self.bounds, start + size))
        while settle(self.bounds) >= 0:
            self._shift()

    def _shift(self) -> None:
        self.code = ((self.code << 8) & MASK) | next(self.rest, 0)
