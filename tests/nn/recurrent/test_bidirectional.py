"""Reversing rows, and layers that read in both directions."""

import torch
from builders import assert_same

from foretell.nn.recurrent.bidirectional import BothWays, Reverse, reversed_rows
from foretell.nn.recurrent.lstm import GRUConfig


def test_reversing_keeps_padding_in_place() -> None:
    x = torch.arange(1, 13).view(2, 6, 1)
    assert reversed_rows(x, torch.tensor([4, 0]))[..., 0].tolist() == [[4, 3, 2, 1, 5, 6], [7, 8, 9, 10, 11, 12]]
    assert reversed_rows(x, None)[0, :, 0].tolist() == [6, 5, 4, 3, 2, 1]


def test_both_ways_concatenates_forward_and_reverse() -> None:
    torch.manual_seed(0)
    forwards, backwards = (GRUConfig().build(3, 4, 0.0, None).double() for _ in range(2))
    x, lengths = torch.randn(2, 5, 3, dtype=torch.float64), torch.tensor([5, 2])
    both = BothWays(forwards, backwards)(x, lengths)
    assert_same(both[..., :4], forwards(x, forwards.initial(2), lengths)[0])
    assert_same(both[..., 4:], Reverse(backwards)(x, lengths))
    alone = backwards(x[1:, :2].flip(1), backwards.initial(1))[0].flip(1)
    assert_same(both[1:, :2, 4:], alone, 1e-12)
    assert not both[1, 2:].any()
