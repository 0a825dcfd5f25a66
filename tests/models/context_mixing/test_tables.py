"""What is saved is what is opened, and damaged tables are refused."""

from typing import Any

import numpy as np
import pytest

from foretell.errors import ConfigError
from foretell.models.context_mixing import compiled, contexts, selectors
from foretell.models.context_mixing.tables import (
    LEARNED,
    NO_ADVICE,
    SLOTS,
    Tables,
    bits_for,
    empty,
    packed,
    unpacked,
    with_room,
)

CODES = [context.code for context in contexts.ALL]
MIXERS = [(mixer.code, mixer.rows) for mixer in selectors.ALL]
TOKENS = np.frombuffer(b"a rose is a rose is a rose\n" * 8, np.uint8).astype(np.uint16) + 1


def trained() -> Tables:
    tables = with_room(empty(CODES, MIXERS, (5,), 8), len(TOKENS))
    compiled.read(tables, TOKENS, np.zeros(len(TOKENS)), NO_ADVICE)
    return tables


def blank() -> Tables:
    return empty(CODES, MIXERS, (5,), 8)


def test_unpacked_tables_are_those_that_were_packed() -> None:
    tables = trained()
    again = unpacked(packed(tables), blank())
    for name in LEARNED:
        if name not in ("slots", "history"):
            np.testing.assert_array_equal(getattr(again, name), getattr(tables, name), err_msg=name)
    np.testing.assert_array_equal(again.history, TOKENS - 1)
    seen = (tables.slots & 0xFF00 != 0) | (np.arange(SLOTS) == 0)
    np.testing.assert_array_equal(again.slots[seen], tables.slots[seen])
    one, two = np.zeros(257), np.zeros(257)
    compiled.distribution(tables, one)
    compiled.distribution(with_room(again, 1), two)
    np.testing.assert_array_equal(one, two)


def test_only_slots_in_use_are_saved() -> None:
    tables = trained()
    assert packed(tables)["slots"].size < 0.2 * tables.slots.size


@pytest.mark.parametrize("bits", [0, 1, 7])
def test_tables_smaller_than_any_that_settings_make_are_refused(bits: int) -> None:
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):
        unpacked(packed(empty(CODES, MIXERS, (5,), bits)), blank())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("by_count", 1001.0),
        ("by_history", -1.0),
        ("ends", np.nan),
        ("by_match", 1e9),
        ("mixers", 1e9),
        ("final", np.nan),
        ("refined", 1.5),
        ("heads", 217),
        ("matches", -1),
        ("position", 1 << 40),
    ],
)
def test_values_that_learning_cannot_reach_are_refused(name: str, value: Any) -> None:
    arrays = {key: part.copy() for key, part in packed(trained()).items()}
    arrays[name].reshape(-1)[-1 if name != "position" else 0] = value
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):
        unpacked(arrays, blank())


@pytest.mark.parametrize("name", [*LEARNED, "slots_used", "shape"])
def test_arrays_of_another_shape_are_refused(name: str) -> None:
    arrays = packed(trained())
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):
        unpacked({**arrays, name: arrays[name][:-1]}, blank())
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):
        unpacked({key: part for key, part in arrays.items() if key != name}, blank())


def test_tables_grow_with_the_text_within_limits() -> None:
    assert [bits_for(size) for size in (0, 1000, 1_740_000, 2**21, 10**10)] == [16, 16, 20, 20, 22]


def test_room_keeps_the_history() -> None:
    tables = trained()
    assert with_room(tables, 0) is tables
    grown = with_room(tables, 10_000)
    np.testing.assert_array_equal(grown.history[: len(TOKENS)], TOKENS - 1)
    assert len(grown.history) >= len(TOKENS) + 10_000
