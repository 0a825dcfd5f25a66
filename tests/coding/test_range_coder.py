"""Messages come back, and are as long as their probabilities say: minus log2 of each, and a few bits at the end."""

import math
import random

import numpy as np
import pytest

from foretell.coding.range_coder import MASK, NARROWEST, TOTAL, Decoder, Encoder, last_bytes, narrow, offset, settle

Symbols = list[tuple[int, int]]


def message_of(symbols: Symbols) -> bytes:
    encoder = Encoder()
    for start, size in symbols:
        encoder.encode(start, size)
    return encoder.finish()


def assert_back(symbols: Symbols, message: bytes) -> None:
    decoder = Decoder(message)
    for start, size in symbols:
        assert start <= decoder.peek() < start + size
        decoder.take(start, size)


def test_random_symbols_come_back_at_their_information() -> None:
    draw = random.Random(3)
    for _ in range(30):
        symbols = []
        for _ in range(draw.randrange(400)):
            size = min(TOTAL, 1 + int(TOTAL * draw.random() ** draw.choice([1, 4, 30])))
            symbols.append((draw.randrange(TOTAL - size + 1), size))
        message, bits = message_of(symbols), sum(math.log2(TOTAL / size) for _, size in symbols)
        assert bits - 16 <= 8 * len(message) <= bits * 1.0001 + 10  # zeros at the end cost nothing
        assert_back(symbols, message)


@pytest.mark.parametrize("symbol", [(0, 1), (TOTAL - 1, 1), (0, TOTAL), (1, TOTAL - 1), (TOTAL // 2 - 1, 2)])
def test_extreme_symbols(symbol: tuple[int, int]) -> None:
    message = message_of([symbol] * 300)
    assert_back([symbol] * 300, message)
    assert 8 * len(message) <= 300 * math.log2(TOTAL / symbol[1]) * 1.04 + 40


def test_an_interval_never_becomes_too_narrow_around_a_place_where_the_first_byte_changes() -> None:
    bounds, met = [0, MASK], 0
    for _ in range(300):  # always the part that holds such a place, where there is one
        width, change = bounds[1] - bounds[0] + 1, ((bounds[0] >> 48) + 1) << 48
        met += change <= bounds[1]
        start = min((change - bounds[0]) * TOTAL // width, TOTAL - 1) if change <= bounds[1] else TOTAL // 3
        first, last = offset(bounds, start), offset(bounds, start + 1)
        assert 0 <= first < last <= width
        narrow(bounds, first, last)
        while settle(bounds) >= 0:
            pass
        assert bounds[0] >= 0 and bounds[1] <= MASK and bounds[1] - bounds[0] >= NARROWEST
    assert met > 100


def test_nothing_takes_no_bytes_and_zeros_follow_the_end() -> None:
    assert message_of([]) == b""
    assert last_bytes([1, MASK]) == b"\x01" and last_bytes([0x0102 << 40, (0x0103 << 40) - 1]) == b"\x01\x02"


def test_compiled_it_does_the_same() -> None:
    numba = pytest.importorskip("numba")
    plain = (offset, narrow, settle)
    compiled = tuple(map(numba.njit, plain))
    draw, arrays = random.Random(5), [np.array([0, MASK]), np.array([0, MASK])]
    for _ in range(3000):
        size = 1 + int((TOTAL - 1) * draw.random() ** 8)
        start = draw.randrange(TOTAL - size + 1)
        said: list[list[int]] = [[], []]
        for (at, cut, shift), bounds, out in zip((compiled, plain), arrays, said, strict=True):
            cut(bounds, at(bounds, start), at(bounds, start + size))
            while (byte := int(shift(bounds))) >= 0:
                out.append(byte)
        assert said[0] == said[1] and (arrays[0] == arrays[1]).all()


def test_likely_symbols_cost_what_they_say() -> None:
    encoder, size = Encoder(), TOTAL - (TOTAL >> 14)
    for _ in range(200_000):
        encoder.encode(0, size)
    assert 8 * len(encoder.finish()) <= 200_000 * math.log2(TOTAL / size) * 1.002 + 16
