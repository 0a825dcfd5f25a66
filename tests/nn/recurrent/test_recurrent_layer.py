"""Rows of different lengths in any recurrent layer."""

import torch
from builders import assert_same
from torch import Tensor

from foretell.nn.recurrent.recurrent_layer import Layer, LayerState


class Sums(Layer):
    """Outputs the running sum of its inputs, and records the shapes it is called with."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.calls: list[tuple[int, ...]] = []

    def initial(self, rows: int) -> LayerState:
        return (torch.zeros(rows, 2),)

    def dropped_weights(self) -> list[Tensor]:
        return []

    def window(self, inputs: Tensor, state: LayerState, weights: list[Tensor]) -> tuple[Tensor, LayerState]:
        self.calls.append(tuple(inputs.shape[:2]))
        outputs = state[0][:, None] + inputs.cumsum(1)
        return outputs, (outputs[:, -1],)


def test_only_real_tokens_are_computed() -> None:
    layer, x = Sums(), torch.arange(40.0).view(4, 5, 2)
    lengths = torch.tensor([2, 0, 5, 2])
    outputs, (last,) = layer(x, layer.initial(4), lengths)
    assert sorted(layer.calls) == [(1, 3), (3, 2)]  # two calls for the lengths 2 and 5
    for row, length in enumerate(lengths.tolist()):
        assert_same(outputs[row, :length], x[row, :length].cumsum(0))
        assert not outputs[row, length:].any()
        assert_same(last[row], x[row, :length].sum(0))


def test_without_tokens_the_state_stays() -> None:
    layer, state = Sums(), (torch.ones(2, 2),)
    outputs, after = layer(torch.ones(2, 3, 2), state, torch.tensor([0, 0]))
    assert not outputs.any() and layer.calls == []
    assert_same(after, state)
