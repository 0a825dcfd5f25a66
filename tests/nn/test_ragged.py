"""Rows of different lengths and several documents, against plain loops."""

from itertools import groupby

import pytest
import torch
from builders import assert_same
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foretell.nn.ragged import Ragged, positions_in_documents, real_tokens
from foretell.types import Inputs

STEPS = 7
some_rows = st.lists(st.lists(st.integers(1, 4), max_size=4).filter(lambda row: sum(row) <= STEPS), min_size=1)
"""the lengths of the documents of each row"""


def window(rows: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens that tell their place, lengths, and the numbers of documents; padding belongs to the last."""
    tokens = torch.arange(len(rows) * STEPS).view(len(rows), STEPS)
    numbers = [[i for i, size in enumerate(row) for _ in range(size)] for row in rows]
    documents = [row + [row[-1] if row else 0] * (STEPS - len(row)) for row in numbers]
    return tokens, torch.tensor([sum(row) for row in rows]), torch.tensor(documents)


@given(some_rows)
def test_texts_are_sorted_into_rectangles(rows: list[list[int]]) -> None:
    tokens, lengths, documents = window(rows)
    ragged = Ragged.of(tokens, lengths, documents)
    texts = []
    for row, sizes in enumerate(rows):
        begin = row * STEPS
        for size in sizes:
            texts.append(list(range(begin, begin + size)))
            begin += size
    texts.sort(key=len)
    assert ragged.rectangles == tuple((len([*same]), size) for size, same in groupby(texts, key=len))
    assert ragged.index.tolist() == [place for text in texts for place in text]
    assert ragged.positions.tolist() == [place for text in texts for place in range(len(text))]


@given(some_rows, st.booleans(), st.booleans())
def test_what_is_picked_is_spread_again(rows: list[list[int]], padded: bool, several: bool) -> None:
    tokens, lengths, documents = window(rows)
    ragged = Ragged.of(tokens, lengths if padded else None, documents if several else None)
    picked = ragged.pick(Inputs(tokens=tokens, segments=tokens + 1))
    assert torch.equal(picked.segments, picked.tokens + 1)
    assert torch.equal(picked.positions, ragged.positions[None])
    assert sum(n * t for n, t in ragged.rectangles) == picked.tokens.numel()
    real = real_tokens(STEPS, lengths) if padded else torch.ones_like(tokens, dtype=torch.bool)
    spread = ragged.spread((picked.tokens + 1.0)[..., None])
    assert_same(spread[..., 0], (tokens + 1.0) * real)


@given(some_rows)
def test_positions_begin_with_each_document(rows: list[list[int]]) -> None:
    tokens, lengths, documents = window(rows)
    found = positions_in_documents(tokens, documents)
    for row, sizes in enumerate(rows):
        expected = [place for size in sizes for place in range(size)]
        assert found[row, : int(lengths[row])].tolist() == expected


def test_a_window_of_nothing() -> None:
    ragged = Ragged.of(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), None)
    assert (ragged.rectangles, ragged.index.numel()) == ((), 0)
    assert_same(ragged.spread(torch.zeros(1, 0, 4)), torch.zeros(2, 3, 4))


@pytest.mark.parametrize("lengths", [[0], [3], [0, 1, 2, 3]], ids=str)
def test_real_tokens_by_hand(lengths: list[int]) -> None:
    assert real_tokens(3, torch.tensor(lengths)).tolist() == [[i < length for i in range(3)] for length in lengths]
