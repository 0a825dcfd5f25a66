"""Layouts: the units of a text, the rows of running text, the rows of two texts."""

from itertools import pairwise

import numpy as np
import pytest
from builders import FakeText
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.batches.layouts import Layout, Pairs, Running, Units, surroundings, units
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError

BOUNDARY = 9
some_documents = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5), min_size=1, max_size=6)
"""the lengths of the lines of each document"""


def text_of(documents: list[list[int]], boundary: int = BOUNDARY) -> FakeText:
    """Lines of these lengths; the last line of each document has a boundary more."""
    tokens, lines, ends = [], [0], [0]
    for document in documents:
        for length in document:
            tokens += [1] * length
            lines.append(len(tokens))
        tokens.append(boundary)
        lines[-1] = len(tokens)
        ends.append(len(tokens))
    return FakeText(np.array(tokens), np.array(ends), np.array(lines))


def unit_spans(made: Units) -> list[tuple[int, int]]:
    return list(zip(made.start.tolist(), made.end.tolist(), strict=True))


@given(some_documents, st.integers(1, 8))
def test_units_are_lines_without_boundaries_in_parts(documents: list[list[int]], longest: int) -> None:
    text = text_of(documents)
    made = units(text, text.lines, longest, BOUNDARY)
    expected = [
        (begin, min(begin + longest, stop))
        for start, end in pairwise(text.lines.tolist())
        for stop in [end - (text.tokens[end - 1] == BOUNDARY)]
        for begin in range(start, stop, longest)
    ]
    assert unit_spans(made) == expected
    document = [int(np.searchsorted(text.documents, start, side="right")) for start, _ in expected]
    assert made.last.tolist() == [len(document) - document[::-1].index(number) for number in document]


def test_what_is_no_unit() -> None:
    with pytest.raises(ConfigError, match="no tokens but boundaries"):
        units(text_of([[0], [0]]), np.array([0, 1, 2]), 5, BOUNDARY)
    with pytest.raises(ConfigError, match="room for 0 tokens"):
        units(text_of([[3]]), np.array([0, 4]), 0, BOUNDARY)


@given(some_documents, st.integers(5, 30), st.booleans())
def test_rows_of_running_text_take_units_while_they_fit(documents: list[list[int]], room: int, apart: bool) -> None:
    text = text_of(documents)
    made = units(text, text.lines, 5, BOUNDARY)
    rows: list[list[int]] = []
    for (start, end), last in zip(unit_spans(made), made.last.tolist(), strict=True):
        if rows and end - rows[-1][0] <= room and (rows[-1][2] == last or not apart):
            rows[-1][1] = end
        else:
            rows.append([start, end, last])
    layout = Running(made, room, apart).layout(np.random.default_rng(0))
    assert layout.first.tolist() == [row[:2] for row in rows]
    assert not layout.second.any() and (layout.label == -100).all()


def test_lengths_count_special_tokens() -> None:
    bert, none = Specials(boundary=9, begin=2, separator=3), Specials(boundary=9)
    layout = Layout(np.array([[0, 5], [5, 9]]), np.array([[0, 0], [9, 12]]), np.array([-100, 0]))
    assert layout.lengths(bert).tolist() == [len("[xxxxx]"), len("[xxxx]yyy]")]
    assert layout.lengths(none).tolist() == [5, 7]
    assert [surroundings(bert), surroundings(bert, 2), surroundings(none, 2)] == [2, 3, 0]


# --- two texts ------------------------------------------------------------------------------------


def long_documents() -> Units:
    draw = np.random.default_rng(0)
    text = text_of([draw.integers(2, 12, size=12).tolist() for _ in range(1000)])
    return units(text, text.lines, 20, BOUNDARY)


@pytest.mark.parametrize("pairs", ["none", "sop"])
def test_the_two_texts_of_a_passage_are_all_the_text_once(pairs: str) -> None:
    made = long_documents()
    layout = Pairs(made, room=40, pairs=pairs, alone=False).layout(np.random.default_rng(1))
    assert (np.diff(layout.first) + np.diff(layout.second) <= 40).all()
    covered = np.concatenate([layout.first, layout.second[np.diff(layout.second)[:, 0] > 0]])
    places = np.concatenate([np.arange(start, end) for start, end in covered])
    inside = np.concatenate([np.arange(start, end) for start, end in unit_spans(made)])
    assert np.array_equal(np.sort(places), inside)


def test_short_rows_by_chance() -> None:
    made = long_documents()
    always, never = (
        Pairs(made, room=37, pairs="none", alone=False, short=share).layout(np.random.default_rng(1))
        for share in (1.0, 0.0)
    )
    mean = [np.mean(np.diff(layout.first) + np.diff(layout.second)) for layout in (always, never)]
    assert mean[0] < 0.8 * mean[1]


def test_trimming_is_that_of_bert() -> None:
    """Token by token from the longer text, the second where both are as long, front or back by chance."""
    plan = Pairs(long_documents(), room=20, pairs="nsp", alone=False, beyond=True)
    first, second = np.array([[100, 130], [100, 112], [100, 105]]), np.array([[200, 205], [200, 212], [200, 230]])
    taken = []
    for seed in range(300):
        found = plan.trimmed(first.copy(), second.copy(), np.zeros(3), np.random.default_rng(seed))
        lengths = np.stack([np.diff(found.first)[:, 0], np.diff(found.second)[:, 0]], 1)
        assert lengths.tolist() == [[15, 5], [10, 10], [5, 15]]
        taken.append(found.first[0, 0] - 100)
    assert np.mean(taken) == pytest.approx(7.5, abs=0.5)
