"""What contexts know of the text before, against Python's own string methods."""

import numpy as np
import pytest

from foretell.models.context_mixing import contexts
from foretell.models.context_mixing.hashing import jit
from foretell.models.context_mixing.history import advance, is_letter
from foretell.models.context_mixing.tables import Tables, empty, with_room

TEXT = "The cat's café\n\n  the cat sat: the cat's caf".encode()


@jit
def append(t: Tables, tokens: np.ndarray, learn: bool) -> None:
    for token in tokens:
        advance(t, token, learn)


@jit
def letters(bytes_: np.ndarray, found: np.ndarray) -> None:
    for at, byte in enumerate(bytes_):
        found[at] = is_letter(byte)


LETTERS = bytes(byte for byte in range(256) if bytes([byte]).isalpha() or byte >= 128)


def after(text: bytes, *, learn: bool = True) -> Tables:
    tables = with_room(empty([context.code for context in contexts.ALL], [(0, 256 * 27)], (4, 8), 8), 200)
    append(tables, np.frombuffer(text, np.uint8).astype(np.int64) + 1, learn)
    return tables


def test_letters() -> None:
    found = np.zeros(256, np.bool_)
    letters(np.arange(256), found)
    assert bytes(np.flatnonzero(found).tolist()) == LETTERS


@pytest.mark.parametrize("end", [1, 4, 9, 15, 16, 17, 20, len(TEXT)])
def test_lines_words_and_letters(end: int) -> None:
    text, tables = TEXT[:end], after(TEXT[:end])
    read, line, before, learned, _, length = tables.position.tolist()
    starts = [0, *(at + 1 for at, byte in enumerate(text) if byte == 10)]
    assert (read, line, learned) == (end, starts[-1], end)
    assert before == (starts[-2] if len(starts) > 1 else 0)
    assert length == len(text) - len(text.rstrip(LETTERS))
    assert (tables.words[0] == 0) == (length == 0)


def test_words_are_alike_in_any_case_and_matches_are_followed() -> None:
    assert after(b"The cat").words[0] == after(b"a CAT").words[0] != after(b"a cut").words[0]
    place, length = after(TEXT).matches[0].tolist()
    assert TEXT[place : place + 1] == "é".encode()[:1] and length == len(b"he cat's caf")
    assert after(TEXT, learn=False).matches[0, 1] == 0
