"""A window of a multiplicative LSTM layer: the kernel against the plain loop."""

from collections.abc import Callable

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels.mlstm import mlstm, mlstm_reference

Layer = Callable[..., tuple[Tensor, Tensor, Tensor]]
NAMES = ["inputs", "h", "c", "weight_ih", "weight_hh", "bias"]
SHAPES = [(5, 3, 4, 6), (1, 3, 4, 6), (4, 1, 1, 1), (7, 2, 8, 3)]  # steps, rows, inputs, hidden
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def example(shape: tuple[int, int, int, int] = SHAPES[0], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Inputs, a state that is not zero, weights and the bias."""
    torch.manual_seed(0)
    steps, rows, inputs, hidden = shape
    sizes = [(steps, rows, inputs), (rows, hidden), (rows, hidden), (5 * hidden, inputs), (5 * hidden, hidden)]
    given = [torch.randn(size) * (hidden**-0.5 if i > 2 else 1) for i, size in enumerate([*sizes, (4 * hidden,)])]
    return [tensor.to(dtype).requires_grad_() for tensor in given]


def gradients(layer: Layer, given: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a random direction of all three results."""
    torch.manual_seed(1)
    results = layer(*given)
    directions = [torch.randn(result.shape).to(result.dtype) for result in results]
    return torch.autograd.grad(results, given, directions)


def by_hand(x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> list[float]:
    """One unit, one row, in plain numbers: Krause et al. 2016, equations 18 to 22."""
    from math import exp, tanh

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
def test_one_unit_by_hand(layer: Layer) -> None:
    given = [tensor.detach() for tensor in example((4, 1, 1, 1))]
    outputs, h, c = layer(*given)
    expected = by_hand(*given)
    assert [*outputs.flatten().tolist(), float(c)] == pytest.approx(expected, abs=1e-12)
    assert float(h) == float(outputs[-1])


@every_shape
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_equal_with_gradients(shape: tuple[int, int, int, int], dtype: torch.dtype, tolerance: float) -> None:
    given = example(shape, dtype)
    assert_same(mlstm(*given), mlstm_reference(*given), tolerance)
    assert_same(gradients(mlstm, given), gradients(mlstm_reference, given), tolerance)


def test_exact_at_a_size_it_is_made_for() -> None:
    """fp32 with packed weights over many steps, against the plain loop in float64."""
    given = example((40, 5, 30, 200), torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    assert_same(tuple(result.double() for result in mlstm(*given)), mlstm_reference(*exact), 1e-5)
    for mine, theirs in zip(gradients(mlstm, given), gradients(mlstm_reference, exact), strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm()


@every_shape
def test_gradcheck(shape: tuple[int, int, int, int]) -> None:
    assert torch.autograd.gradcheck(mlstm, example(shape))


@pytest.mark.parametrize("wanted", range(len(NAMES)), ids=NAMES)
def test_only_the_gradient_asked_for(wanted: int) -> None:
    given = example()
    expected = torch.autograd.grad(sum(part.sum() for part in mlstm_reference(*given)), given[wanted])
    for i, tensor in enumerate(given):
        tensor.requires_grad_(i == wanted)
    sum(part.sum() for part in mlstm(*given)).backward()
    assert_same(given[wanted].grad, expected[0], 1e-10)
    assert all(tensor.grad is None for i, tensor in enumerate(given) if i != wanted)


@pytest.mark.parametrize("used", range(3), ids=["outputs", "h", "c"])
def test_a_loss_of_one_result_only(used: int) -> None:
    given = example()
    expected = torch.autograd.grad(mlstm_reference(*given)[used].square().sum(), given, allow_unused=True)
    assert_same(torch.autograd.grad(mlstm(*given)[used].square().sum(), given), expected, 1e-10)


def test_one_window_is_two_with_the_state_carried() -> None:
    inputs, h, c, *weights = example((8, 3, 4, 6))
    whole = mlstm(inputs, h, c, *weights)
    first, *state = mlstm(inputs[:3], h, c, *weights)
    second, *state = mlstm(inputs[3:], *state, *weights)
    assert_same((torch.cat([first, second]), *state), whole, 1e-12)
    parts = [inputs, h, c, *weights]
    expected = torch.autograd.grad(sum(part.square().sum() for part in whole), parts)
    joined = (torch.cat([first, second]), *state)
    assert_same(torch.autograd.grad(sum(part.square().sum() for part in joined), parts), expected, 1e-12)


def test_any_layout_will_do() -> None:
    """Batch-first inputs seen from the side, one state for all rows, weights that are transposed views."""
    inputs, h, c, weight_ih, weight_hh, bias = example(SHAPES[0], torch.float32)
    sideways = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    turned = [weight.t().contiguous().t() for weight in (weight_ih, weight_hh)]
    odd = [sideways, h[:1].expand_as(h), c[:1].expand_as(c), *turned, bias]
    even = [tensor.contiguous() for tensor in odd]
    assert_same(mlstm(*odd), mlstm_reference(*even), 1e-6)
    assert_same(gradients(mlstm, odd), gradients(mlstm_reference, even), 1e-5)


def test_going_backward_twice_and_the_same_to_the_last_bit() -> None:
    given = example((20, 5, 30, 100), torch.float32)
    total = mlstm(*given)[0].square().sum()
    first = torch.autograd.grad(total, given, retain_graph=True)
    assert_same(torch.autograd.grad(total, given), first)
    assert_same(mlstm(*given), mlstm(*given))


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
