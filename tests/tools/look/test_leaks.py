"""Passages that two splits share."""

import random

import pytest

from foretell.data.text_files import Piece
from foretell.tools.look import leaks
from foretell.tools.look.leaks import Leaks, shortened


def pieces(*documents: str) -> list[Piece]:
    return [Piece(text, True, 0) for text in documents]


def noise(seed: int, length: int) -> str:
    drawn = random.Random(seed)
    return "".join(drawn.choices("abcdefgh ", k=length))


def test_passages_across_lines_are_found_where_they_are() -> None:
    copied = noise(1, 150) + "\n" + noise(2, 150)
    train = pieces(noise(3, 500), noise(4, 70) + copied + noise(5, 300))
    share, longest = Leaks(train).look_up("valid", pieces(noise(6, 400), copied + noise(7, 299)))
    assert share == pytest.approx(0.301, abs=0.01)
    assert len(longest) == 1
    assert longest[0]["passage"] == "valid 1" and longest[0]["document"] == 2
    assert longest[0]["offset"] == pytest.approx(70, abs=5) and longest[0]["bytes"] == pytest.approx(301, abs=10)
    assert longest[0]["text"].endswith("…")


def test_other_texts_share_nothing() -> None:
    assert Leaks(pieces(noise(1, 3000))).look_up("test", pieces(noise(2, 3000))) == (0, [])
    assert Leaks(pieces("")).look_up("test", pieces("")) == (0, [])


def test_only_the_beginnings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = noise(1, 400)
    monkeypatch.setattr(leaks, "LOOKED_UP", 300)
    share, _ = Leaks(pieces(copied)).look_up("test", pieces(noise(2, 300), copied))
    assert share == 0


def test_texts_are_shortened_to_a_line() -> None:
    assert shortened("a\n b\t c") == "a b c"
    assert shortened("x" * 100) == "x" * leaks.SHOWN + "…"
