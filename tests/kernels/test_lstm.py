"""A window of an LSTM or multiplicative LSTM layer: each kernel against its plain loop, and against torch's."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels import lstm as kernels
from foretell.kernels.lstm import is_faster, lstm, lstm_reference
from foretell.kernels.mlstm import mlstm, mlstm_reference
from foretell.nn.recurrent.lstm import LSTM

Layer = Callable[..., tuple[Tensor, Tensor, Tensor]]
NAMES = ["inputs", "h", "c", "weight_ih", "weight_hh", "bias"]
SHAPES = [(5, 3, 4, 6), (1, 3, 4, 6), (4, 1, 1, 1), (7, 2, 8, 3)]  # steps, rows, inputs, hidden
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@dataclass(frozen=True)
class Kernel:
    """One of them, its plain loop, and how many blocks of hidden size its weights have."""

    fast: Layer
    reference: Layer
    blocks: int

    def example(self, shape: tuple[int, int, int, int] = SHAPES[0], dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Inputs, a state that is not zero, weights and the bias."""
        torch.manual_seed(0)
        steps, rows, inputs, hidden = shape
        height = self.blocks * hidden
        sizes = [(steps, rows, inputs), (rows, hidden), (rows, hidden), (height, inputs), (height, hidden)]
        bound = hidden**-0.5
        given = [torch.randn(size) * bound if i > 2 else torch.randn(size) for i, size in enumerate(sizes)]
        return [tensor.to(dtype).requires_grad_() for tensor in (*given, torch.randn(4 * hidden))]


LSTM_KERNEL, MLSTM_KERNEL = Kernel(lstm, lstm_reference, 4), Kernel(mlstm, mlstm_reference, 5)
every_kernel = pytest.mark.parametrize("kernel", [LSTM_KERNEL, MLSTM_KERNEL], ids=["lstm", "mlstm"])


def gradients(layer: Layer, given: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a random direction of all three results."""
    torch.manual_seed(1)
    results = layer(*given)
    directions = [torch.randn(result.shape).to(result.dtype) for result in results]
    return torch.autograd.grad(results, given, directions)


def torchs(
    inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """torch.lstm, with the bias in two halves."""
    weights = [weight_ih, weight_hh, bias / 2, bias / 2]
    outputs, h, c = torch.lstm(inputs, (h[None], c[None]), weights, True, 1, 0.0, True, False, False)
    return outputs, h[0], c[0]


@every_kernel
@every_shape
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_equal_with_gradients(
    kernel: Kernel, shape: tuple[int, int, int, int], dtype: torch.dtype, tolerance: float
) -> None:
    given = kernel.example(shape, dtype)
    assert_same(kernel.fast(*given), kernel.reference(*given), tolerance)
    assert_same(gradients(kernel.fast, given), gradients(kernel.reference, given), tolerance)


@every_kernel
def test_exact_at_a_size_it_is_made_for(kernel: Kernel) -> None:
    """fp32 with packed weights over many steps, against the plain loop in float64."""
    given = kernel.example((40, 5, 30, 200), torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    assert_same(tuple(result.double() for result in kernel.fast(*given)), kernel.reference(*exact), 1e-5)
    for mine, theirs in zip(gradients(kernel.fast, given), gradients(kernel.reference, exact), strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm()


@every_kernel
@every_shape
def test_gradcheck(kernel: Kernel, shape: tuple[int, int, int, int]) -> None:
    """In a random direction; each gradient by itself is that of the reference, above."""
    assert torch.autograd.gradcheck(kernel.fast, kernel.example(shape), fast_mode=True)


@every_kernel
@pytest.mark.parametrize("wanted", range(len(NAMES)), ids=NAMES)
def test_only_the_gradient_asked_for(kernel: Kernel, wanted: int) -> None:
    given = kernel.example()
    expected = torch.autograd.grad(sum(part.sum() for part in kernel.reference(*given)), given[wanted])
    for i, tensor in enumerate(given):
        tensor.requires_grad_(i == wanted)
    sum(part.sum() for part in kernel.fast(*given)).backward()
    assert_same(given[wanted].grad, expected[0], 1e-10)
    assert all(tensor.grad is None for i, tensor in enumerate(given) if i != wanted)


@every_kernel
@pytest.mark.parametrize("used", range(3), ids=["outputs", "h", "c"])
def test_a_loss_of_one_result_only(kernel: Kernel, used: int) -> None:
    given = kernel.example()
    expected = torch.autograd.grad(kernel.reference(*given)[used].square().sum(), given, allow_unused=True)
    assert_same(torch.autograd.grad(kernel.fast(*given)[used].square().sum(), given), expected, 1e-10)


@every_kernel
def test_one_window_is_two_with_the_state_carried(kernel: Kernel) -> None:
    inputs, h, c, *weights = kernel.example((8, 3, 4, 6))
    whole = kernel.fast(inputs, h, c, *weights)
    first, *state = kernel.fast(inputs[:3], h, c, *weights)
    second, *state = kernel.fast(inputs[3:], *state, *weights)
    assert_same((torch.cat([first, second]), *state), whole, 1e-12)
    parts = [inputs, h, c, *weights]
    expected = torch.autograd.grad(sum(part.square().sum() for part in whole), parts)
    joined = (torch.cat([first, second]), *state)
    assert_same(torch.autograd.grad(sum(part.square().sum() for part in joined), parts), expected, 1e-12)


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_any_layout_will_do(kernel: Kernel, dtype: torch.dtype) -> None:
    """Batch-first inputs seen from the side, one state for all rows, weights that are transposed views."""
    inputs, h, c, weight_ih, weight_hh, bias = kernel.example(SHAPES[0], dtype)
    sideways = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    turned = [weight.t().contiguous().t() for weight in (weight_ih, weight_hh)]
    odd = [sideways, h[:1].expand_as(h), c[:1].expand_as(c), *turned, bias]
    even = [tensor.contiguous() for tensor in odd]
    assert_same(kernel.fast(*odd), kernel.reference(*even), 1e-6)
    assert_same(gradients(kernel.fast, odd), gradients(kernel.reference, even), 1e-5)


@every_kernel
def test_going_backward_twice(kernel: Kernel) -> None:
    given = kernel.example()
    total = kernel.fast(*given)[0].square().sum()
    first = torch.autograd.grad(total, given, retain_graph=True)
    assert_same(torch.autograd.grad(total, given), first)


@every_kernel
def test_equal_to_the_last_bit_when_repeated(kernel: Kernel) -> None:
    given = kernel.example((20, 5, 30, 300), torch.float32)
    assert_same(kernel.fast(*given), kernel.fast(*given))
    assert_same(gradients(kernel.fast, given), gradients(kernel.fast, given))


@every_shape
def test_lstm_as_torchs(shape: tuple[int, int, int, int]) -> None:
    given = LSTM_KERNEL.example(shape)
    assert_same(lstm(*given), torchs(*given), 1e-10)
    assert_same(gradients(lstm, given), gradients(torchs, given), 1e-10)


def test_the_gradient_reaches_a_weight_behind_a_mask_and_one_used_twice() -> None:
    inputs, h, c, weight_ih, weight_hh, bias = LSTM_KERNEL.example((5, 3, 6, 6))
    mask = (torch.rand_like(weight_hh) < 0.5).double() * 2

    def stack(layer: Layer) -> Tensor:
        first, *_ = layer(inputs, h, c, weight_ih, weight_hh * mask, bias)
        second, *_ = layer(first, h, c, weight_ih, weight_hh * mask, bias)
        return second.square().sum()

    expected = torch.autograd.grad(stack(lstm_reference), [inputs, weight_ih, weight_hh])
    assert_same(torch.autograd.grad(stack(lstm), [inputs, weight_ih, weight_hh]), expected, 1e-10)
    assert (expected[2][mask == 0] == 0).all()


# --- which one a layer takes ----------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The kernel's calls, by shape of their inputs; every layer is large."""
    seen: list[tuple[int, ...]] = []

    def spy(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(tuple(inputs.shape))
        return lstm(inputs, *rest)

    monkeypatch.setattr(kernels, "LARGE", 0)
    monkeypatch.setattr(kernels, "lstm", spy)
    return seen


def layer_and_inputs(rows: int = 4, steps: int = 6) -> tuple[LSTM, Tensor]:
    torch.manual_seed(0)
    layer = LSTM(3, 5, weight_dropout=0.5, learned_state=True)
    return layer, torch.randn(rows, steps, 3, requires_grad=True)


def test_a_layer_takes_it_and_gives_the_same(calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = layer_and_inputs()
    wanted = [inputs, *layer.parameters()]

    def run() -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        torch.manual_seed(2)  # the same weights are dropped
        outputs, state = layer(inputs, layer.initial(4))
        return outputs, state, torch.autograd.grad(outputs.square().sum() + state[1].sum(), wanted)

    mine = run()
    assert calls == [(6, 4, 3)]
    monkeypatch.setattr(kernels, "LARGE", 10**9)
    theirs = run()
    assert len(calls) == 1
    for one, other in zip(mine, theirs, strict=True):
        assert_same(one, other, 1e-6)


def test_rows_of_different_lengths(calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tread of the staircase with several rows takes it."""
    layer, inputs = layer_and_inputs()
    layer.eval()
    lengths = torch.tensor([3, 0, 4, 6])
    mine = layer(inputs, layer.initial(4), lengths)
    assert calls == [(3, 3, 3), (1, 2, 3)]
    monkeypatch.setattr(kernels, "LARGE", 10**9)
    assert_same(mine, layer(inputs, layer.initial(4), lengths), 1e-6)


def test_where_it_is_not_taken(calls: list[tuple[int, ...]]) -> None:
    layer, inputs = layer_and_inputs()
    state = layer.initial(4)
    layer(inputs[:1], layer.initial(1))
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(inputs, state)
    assert outputs.dtype == torch.bfloat16
    layer.double()(inputs.double(), layer.initial(4))
    assert not calls


def test_only_large_layers_on_a_cpu_take_it() -> None:
    inputs, large, small = torch.empty(70, 20, 8), torch.empty(4 * 1150, 1150), torch.empty(4 * 200, 200)
    assert is_faster(inputs, large)
    assert not is_faster(inputs, small)
    assert not is_faster(inputs.to("meta"), large.to("meta"))
