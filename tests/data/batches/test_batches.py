"""What all batches share: epochs one after another, and the account of the tokens."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.batches.batches import Accounting, Batches
from foretell.types import Batch


class Sized(Batches):
    """Epochs of given sizes, the last size again and again."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def size(self, epoch: int) -> int:
        return self.sizes[min(epoch, len(self.sizes) - 1)]

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        raise NotImplementedError


@given(st.lists(st.integers(0, 4), max_size=6), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_batch_is_located_from_any_place(some: list[int], last: int, draw: random.Random) -> None:
    batches = Sized([*some, last])
    expected = [(epoch, place, batches.size(epoch)) for epoch in range(12) for place in range(batches.size(epoch))]
    for k in draw.sample(range(len(expected)), len(expected)):
        assert batches.locate(k) == expected[k]
    assert len(batches) == [*some, last][0]


def test_padding_is_a_share_of_all_places() -> None:
    account = Accounting(
        text=1200, kept=1000, boundaries=50, dropped=150, repeated=200, special=100, padded=325, rows=13
    )
    assert account.padding == pytest.approx(325 / (13 * 125))
    assert str(account) == (
        "13 rows: 1,000 of 1,200 tokens kept, 150 dropped, 200 repeated, 50 ends of documents; "
        "100 special, 325 padded (20.0%)"
    )
    assert Sized([1]).accounting() is None
