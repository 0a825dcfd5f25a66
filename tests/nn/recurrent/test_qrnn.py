"""QRNN layers: the window, the state, zoneout and weight dropout. The pooling itself: kernels/test_qrnn.py."""

import subprocess
import sys

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.config import validate
from foretell.errors import ConfigError
from foretell.nn.recurrent.qrnn import QRNN, QRNNConfig

INPUTS, HIDDEN, ROWS, STEPS = 3, 4, 5, 6
every_pooling = pytest.mark.parametrize("pooling", ["f", "fo", "ifo"])
every_window = pytest.mark.parametrize("window", [1, 2, 5, 9])


def build(**settings: object) -> QRNN:
    torch.manual_seed(0)
    return QRNN(INPUTS, HIDDEN, **settings).double()


def example(layer: QRNN, rows: int = ROWS, steps: int = STEPS) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Inputs and a state that is not zero."""
    torch.manual_seed(1)
    x = torch.randn(rows, steps, INPUTS, dtype=torch.float64, requires_grad=True)
    return x, tuple(torch.randn_like(part, requires_grad=True) for part in layer.initial(rows))


def loop(layer: QRNN, x: Tensor, state: tuple[Tensor, ...], pooling: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Equations 1 to 5 of the paper, word by word; the gates of one row in torch's own convolution."""
    cell, tail = state
    longer = torch.cat([tail, x], 1)  # [B, W - 1 + T, I]
    kernel = layer.weight.unflatten(1, (-1, INPUTS)).flip(1).transpose(1, 2)  # [G H, I, W], the oldest input first
    gates = torch.conv1d(longer.transpose(1, 2), kernel, layer.bias)  # [B, G H, T]
    outputs = []
    for step in gates.unbind(2):
        z, f, *rest = step.chunk(len(layer.bias) // HIDDEN, dim=1)
        z, f = torch.tanh(z), torch.sigmoid(f)
        i = torch.sigmoid(rest[1]) if pooling == "ifo" else 1 - f
        cell = f * cell + i * z
        outputs.append(cell if pooling == "f" else torch.sigmoid(rest[0]) * (cell.tanh() if layer.tanh else cell))
    return torch.stack(outputs, 1), (cell, longer[:, x.shape[1] :])


@every_pooling
@every_window
@pytest.mark.parametrize("steps", [1, STEPS])
def test_equal_to_a_convolution_and_a_plain_loop(pooling: str, window: int, steps: int) -> None:
    layer = build(pooling=pooling, window=window, tanh=pooling == "ifo")
    x, state = example(layer, steps=steps)
    expected, last = loop(layer, x, state, pooling)
    outputs, after = layer(x, state)
    assert_same((outputs, after), (expected, last), 1e-10)
    wanted = [x, *state, layer.weight, layer.bias]
    directions = torch.randn_like(expected)
    found = torch.autograd.grad((outputs * directions).sum(), wanted, allow_unused=True)
    theirs = torch.autograd.grad((expected * directions).sum(), wanted, allow_unused=True)
    for one, other, of in zip(found, theirs, wanted, strict=True):
        if of.numel() > 0:
            assert_same(torch.zeros_like(of) if one is None else one, other, 1e-10)


@every_pooling
def test_gradcheck_with_rows_of_different_lengths(pooling: str) -> None:
    layer = build(pooling=pooling, window=2, zoneout=0.2).eval()
    x, state = example(layer, rows=3, steps=4)
    lengths = torch.tensor([2, 0, 4])

    def run(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs, after = layer(x, state, lengths)
        return outputs, *after

    assert torch.autograd.gradcheck(run, (x, *state))


@every_pooling
@every_window
@pytest.mark.parametrize("cut", [1, 4])
def test_one_window_is_two_with_the_state_carried(pooling: str, window: int, cut: int) -> None:
    layer = build(pooling=pooling, window=window)
    x, state = example(layer)
    whole, last = layer(x, state)
    first, between = layer(x[:, :cut], state)
    second, after = layer(x[:, cut:], between)
    assert_same((torch.cat([first, second], 1), after), (whole, last), 1e-12)


@every_pooling
@pytest.mark.parametrize("window", [1, 3])
def test_a_row_is_as_if_alone(pooling: str, window: int) -> None:
    """The state is explicit, so one row at a time is a batch of another size, and lengths differ (pytorch-qrnn)."""
    layer = build(pooling=pooling, window=window)
    x, state = example(layer)
    lengths = torch.tensor([2, 0, 6, 2, 3])
    outputs, after = layer(x, state, lengths)
    for row, length in enumerate(lengths.tolist()):
        part = slice(row, row + 1)
        before = tuple(tensor[part] for tensor in state)
        alone, ended = layer(x[part, :length], before) if length else (x[part, :0, :1].expand(1, 0, HIDDEN), before)
        assert_same(outputs[part, :length], alone, 1e-12)
        assert not outputs[row, length:].any()
        assert_same(tuple(tensor[part] for tensor in after), ended, 1e-12)


def test_one_row_one_step_one_unit() -> None:
    layer = QRNN(1, 1, window=2, pooling="ifo")
    outputs, (cell, tail) = layer(torch.ones(1, 1, 1), layer.initial(1))
    assert outputs.shape == (1, 1, 1) and cell.shape == (1, 1) and tail.shape == (1, 1, 1)
    assert float(tail) == 1


@every_pooling
def test_zoneout_keeps_states_as_often_as_asked_for(pooling: str) -> None:
    """A state that is kept is the one before to the last bit; gates stay between 0 and 1 (fastai's do not)."""
    layer = QRNN(INPUTS, 50, pooling=pooling, zoneout=0.3)
    torch.manual_seed(2)
    x, state = torch.randn(200, 1, INPUTS), (torch.randn(200, 50), torch.zeros(200, 0, INPUTS))
    _, (cell, _) = layer(x, state)
    share = float((cell == state[0]).double().mean())
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)
    _, (free, _) = QRNN.forward(layer_without_zoneout(layer), x, state)
    kept = cell == state[0]
    assert_same(cell[~kept], free[~kept])


def layer_without_zoneout(layer: QRNN) -> QRNN:
    """The same weights."""
    pooling = {2: "f", 3: "fo", 4: "ifo"}[len(layer.bias) // layer.output]
    other = QRNN(layer.inputs, layer.output, pooling=pooling)
    other.load_state_dict(layer.state_dict())
    return other


@every_pooling
def test_evaluation_is_the_mean_of_zoneout(pooling: str) -> None:
    """Over many masks of one step; the gate is linear in the mask, so the mean is exact."""
    layer = build(pooling=pooling, zoneout=0.3)
    x, state = example(layer, rows=1, steps=1)
    many = 20_000
    _, (drawn, _) = layer(
        x.detach().expand(many, -1, -1), tuple(part.detach().expand(many, *part.shape[1:]) for part in state)
    )
    _, (mean, _) = layer.eval()(x, state)
    noise = drawn.std(0) / many**0.5
    assert bool(((drawn.mean(0) - mean[0]).abs() < 4 * noise).all())
    assert bool((drawn.std(0) > 0).all())


def test_evaluation_with_zoneout_can_go_backward() -> None:
    """As dynamic evaluation does; pytorch-qrnn overwrites what its own backward pass needs."""
    layer = build(zoneout=0.3).eval()
    x, state = example(layer)
    twice = [torch.autograd.grad(layer(x, state)[0].square().sum(), list(layer.parameters())) for _ in range(2)]
    assert_same(*twice)
    assert all(bool(gradient.any()) for gradient in twice[0])


def test_weight_dropout_is_of_the_whole_weight_and_once_a_window() -> None:
    layer = QRNN(100, 50, window=2, weight_dropout=0.4)
    dropped, bias = layer.dropped_weights()
    assert bias is layer.bias
    gone = dropped == 0
    assert float(gone.double().mean()) == pytest.approx(0.4, abs=0.02)
    assert_same(dropped[~gone], layer.weight[~gone] / 0.6, 1e-6)
    assert layer.eval().dropped_weights()[0] is layer.weight
    layer.train()
    x = torch.randn(4, 1, 100).expand(4, 6, 100)
    outputs, _ = layer(torch.cat([x[:, :1], x], 1), layer.initial(4), torch.tensor([7, 7, 3, 1]))
    torch.manual_seed(0)
    outputs.sum().backward()
    assert float((layer.weight.grad == 0).double().mean()) == pytest.approx(0.4, abs=0.02)


def test_start_values_and_the_learned_start() -> None:
    layer = QRNN(100, 100, window=2)
    assert layer.weight.abs().max() <= 200**-0.5
    assert float(layer.weight.detach().std()) == pytest.approx((200 * 3) ** -0.5, rel=0.03)
    assert QRNN(100, 100, init_range=0.02).weight.abs().max() <= 0.02
    assert not any(part.any() for part in layer.initial(3))
    learned = build(learned_state=True)
    torch.nn.init.normal_(learned.start)
    cell, _ = learned.initial(ROWS)
    assert_same(cell, learned.start.expand(ROWS, HIDDEN))
    learned(example(learned)[0], learned.initial(ROWS))[0].sum().backward()
    assert bool((learned.start.grad != 0).all())


def test_tanh_without_an_output_gate_is_refused() -> None:
    with pytest.raises(ConfigError, match="output gate"):
        validate(QRNNConfig, {"pooling": "f", "tanh": True}, "cell")
    assert QRNNConfig().build(3, 4, 0.0, None).tanh is False


def test_nothing_is_compiled_or_loaded_for_it_at_import() -> None:
    """fastai's compiles C++ when it is imported."""
    code = (
        "import sys, foretell.nn.recurrent.qrnn; "
        "print([m for m in ('triton', 'numba', 'torch._inductor') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.gpu
@every_pooling
def test_on_an_accelerator(pooling: str) -> None:
    layer = build(pooling=pooling, window=2).float()
    x, state = example(layer)
    x, state = x.float().detach(), tuple(part.float().detach() for part in state)
    expected = layer(x, state)
    found = layer.cuda()(x.cuda(), tuple(part.cuda() for part in state))
    assert_same(tuple(part.cpu() for part in (found[0], *found[1])), (expected[0], *expected[1]), 1e-4)
