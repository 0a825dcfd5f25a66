"""A multiplicative LSTM layer against its equations in plain numbers; see `test_lstm` for what both kernels share."""

from collections.abc import Callable
from math import exp, tanh

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels.mlstm import mlstm, mlstm_reference

Layer = Callable[..., tuple[Tensor, Tensor, Tensor]]


def example(shape: tuple[int, int, int, int]) -> list[Tensor]:
    """Inputs, a state that is not zero, weights and the bias, of steps, rows, inputs and hidden units."""
    torch.manual_seed(0)
    steps, rows, inputs, hidden = shape
    sizes = [(steps, rows, inputs), (rows, hidden), (rows, hidden), (5 * hidden, inputs), (5 * hidden, hidden)]
    given = [torch.randn(size) * (hidden**-0.5 if i > 2 else 1) for i, size in enumerate(sizes)]
    return [tensor.double().requires_grad_() for tensor in (*given, torch.randn(4 * hidden))]


def by_hand(x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> list[float]:
    """One unit, one row, in plain numbers: Krause et al. 2016, equations 18 to 22."""

    def sigmoid(value: float) -> float:
        return 1 / (1 + exp(-value))

    one, memory, outputs = float(h), float(c), []
    (*into, mx), (*onto, mh) = weight_ih[:, 0].tolist(), weight_hh[:, 0].tolist()
    for now in x.flatten().tolist():
        m = mx * now * mh * one
        i, f, g, o = (a * now + b * m + s for a, b, s in zip(into, onto, bias.tolist(), strict=True))
        memory = sigmoid(f) * memory + sigmoid(i) * tanh(g)
        one = sigmoid(o) * tanh(memory)
        outputs.append(one)
    return [*outputs, memory]


@pytest.mark.parametrize("layer", [mlstm, mlstm_reference])
def test_one_multiplicative_unit_by_hand(layer: Layer) -> None:
    given = [tensor.detach() for tensor in example((4, 1, 1, 1))]
    outputs, h, c = layer(*given)
    expected = by_hand(*given)
    assert [*outputs.flatten().tolist(), float(c)] == pytest.approx(expected, abs=1e-12)
    assert float(h) == float(outputs[-1])


def test_a_cell_more_precise_than_the_rest() -> None:
    """bf16 loses increments below a 256th of a cell; kept in fp32 it stays as near as its inputs allow."""
    inputs, h, c, weight_ih, weight_hh, bias = (tensor.detach() for tensor in example((60, 4, 8, 16)))
    bias[16:32] = 6.0  # forget gates nearly open: the cell is a long sum
    given = [inputs, h, c, weight_ih, weight_hh, bias]
    low = [tensor.bfloat16() for tensor in given]
    exact = mlstm_reference(*(tensor.double() for tensor in low))[2]
    precise, rounded = mlstm(*low[:2], low[2].float(), *low[3:])[2], mlstm(*low)[2]
    assert precise.dtype == torch.float32
    assert (precise - exact).norm() < 0.5 * (rounded - exact).norm()


@pytest.mark.parametrize("shape", [(3, 2, 3, 2), (1, 1, 1, 1), (2, 3, 1, 4)], ids=str)
def test_gradcheck(shape: tuple[int, int, int, int]) -> None:
    assert torch.autograd.gradcheck(mlstm, example(shape))


def test_one_window_is_two_with_the_state_carried() -> None:
    inputs, h, c, *weights = example((7, 2, 3, 4))
    outputs, *last = mlstm(inputs, h, c, *weights)
    first, *state = mlstm(inputs[:3], h, c, *weights)
    second, *state = mlstm(inputs[3:], *state, *weights)
    assert_same([torch.cat([first, second]), *state], [outputs, *last], 1e-12)
