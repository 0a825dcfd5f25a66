"""RNN, GRU and LSTM layers against torch's modules and against plain loops in float64."""

from collections.abc import Callable

import pytest
import torch
from builders import assert_same, name_of
from torch import Tensor, nn

from foretell.config import Config
from foretell.nn.recurrent.lstm import FusedLayer, GRUConfig, LSTMConfig, RNNConfig, packed

INPUTS, HIDDEN, ROWS, STEPS = 3, 4, 5, 6
State = tuple[Tensor, ...]


def rnn_step(x: Tensor, state: State, w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> State:
    """Elman 1990 with tanh."""
    return (torch.tanh(x @ w.T + b + state[0] @ u.T + c),)


def gru_step(x: Tensor, state: State, w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> State:
    """Gates r, z, n; r resets after the recurrent product."""
    h = state[0]
    xr, xz, xn = (x @ w.T + b).chunk(3, dim=1)
    hr, hz, hn = (h @ u.T + c).chunk(3, dim=1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    return ((1 - z) * torch.tanh(xn + r * hn) + z * h,)


def lstm_step(x: Tensor, state: State, w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> State:
    """Gates i, f, g, o."""
    h, cell = state
    i, f, g, o = (x @ w.T + b + h @ u.T + c).chunk(4, dim=1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


REFERENCES: dict[str, tuple[Callable[..., State], type[nn.RNNBase]]] = {
    "rnn": (rnn_step, nn.RNN),
    "gru": (gru_step, nn.GRU),
    "lstm": (lstm_step, nn.LSTM),
}
CELLS = [RNNConfig, GRUConfig, LSTMConfig]
every_cell = pytest.mark.parametrize("config", CELLS, ids=name_of)


def build(config: type[Config], **settings: object) -> FusedLayer:
    torch.manual_seed(0)
    return config(**settings).build(INPUTS, HIDDEN, 0.0, None).double()


def parameters(layer: FusedLayer) -> list[Tensor]:
    return [layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh]


def example(layer: FusedLayer) -> tuple[Tensor, State]:
    """Inputs and a state that is not zero."""
    torch.manual_seed(1)
    x = torch.randn(ROWS, STEPS, INPUTS, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn_like(part, requires_grad=True) for part in layer.initial(ROWS))
    return x, state


def loop(layer: FusedLayer, kind: str, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for t in range(x.shape[1]):
        state = REFERENCES[kind][0](x[:, t], state, *parameters(layer))
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


@every_cell
def test_equal_to_a_plain_loop(config: type[Config]) -> None:
    layer = build(config)
    x, state = example(layer)
    expected, last = loop(layer, config.kind_name(), x, state)
    outputs, after = layer(x, state)
    assert_same(outputs, expected, 1e-10)
    assert_same(after, last, 1e-10)
    directions = torch.randn_like(expected)
    wanted = [x, *state, *parameters(layer)]
    gradients = torch.autograd.grad((outputs * directions).sum(), wanted)
    assert_same(gradients, torch.autograd.grad((expected * directions).sum(), wanted), 1e-10)


@every_cell
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_equal_to_torch(config: type[Config], dtype: torch.dtype, tolerance: float) -> None:
    layer = build(config).to(dtype)
    module = REFERENCES[config.kind_name()][1](INPUTS, HIDDEN, batch_first=True, dtype=dtype)
    with torch.no_grad():
        for mine, theirs in zip(parameters(layer), module.parameters(), strict=True):
            theirs.copy_(mine)
    x, state = example(layer)
    x = x.to(dtype)
    given = tuple(part[None] for part in state)
    expected, last = module(x, given if len(state) > 1 else given[0])
    outputs, after = layer(x, state)
    assert_same(outputs, expected, tolerance)
    assert_same([part[None] for part in after], [*last] if len(state) > 1 else [last], tolerance)


@every_cell
def test_gradcheck(config: type[Config]) -> None:
    """In a random direction; each gradient by itself is that of the plain loop, above."""
    layer = build(config)
    x, state = example(layer)
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(names, rest[len(state) :], strict=True))
        outputs, after = torch.func.functional_call(layer, values, (x, rest[: len(state)]))
        return outputs, *after

    assert torch.autograd.gradcheck(run, (x, *state, *layer.parameters()), fast_mode=True)


@every_cell
def test_gradcheck_with_rows_of_different_lengths(config: type[Config]) -> None:
    layer = build(config)
    x, state = example(layer)
    lengths = torch.tensor([2, 0, 6, 2, 3])

    def run(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs, after = layer(x, state, lengths)
        return outputs, *after

    assert torch.autograd.gradcheck(run, (x, *state))


@every_cell
def test_nothing_comes_after_a_rows_end(config: type[Config]) -> None:
    layer = build(config)
    x, state = example(layer)
    outputs, _ = layer(x, state, torch.tensor([2, 0, 6, 2, 3]))
    for row, length in enumerate([2, 0, 6, 2, 3]):
        assert (outputs[row, :length] != 0).all()
        assert (outputs[row, length:] == 0).all()


@every_cell
def test_the_start_is_zero_or_learned(config: type[Config]) -> None:
    zeros = build(config).initial(ROWS)
    assert all(part.shape == (ROWS, HIDDEN) and not part.any() for part in zeros)
    layer = build(config, learned_state=True)
    torch.nn.init.normal_(layer.start)
    assert layer.start.shape == (len(zeros) * HIDDEN,)
    for i, part in enumerate(layer.initial(ROWS)):
        assert_same(part, layer.start.view(len(zeros), HIDDEN)[i].expand(ROWS, HIDDEN))
    x, _ = example(layer)
    outputs, _ = layer(x, layer.initial(ROWS))
    expected, _ = loop(layer, config.kind_name(), x, layer.initial(ROWS))
    assert_same(outputs, expected, 1e-10)
    outputs.sum().backward()
    assert (layer.start.grad != 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 2.5])
def test_forget_bias(value: float) -> None:
    """The gates' sum of biases: `value` for f, random in +- 1 / sqrt(width) elsewhere."""
    layer = build(LSTMConfig, forget_bias=value)
    i, f, g, o = (layer.bias_ih + layer.bias_hh).chunk(4)
    assert (f == value).all()
    assert (torch.cat([i, g, o]) != value).all()
    plain = build(LSTMConfig)
    assert_same(layer.bias_ih[:HIDDEN], plain.bias_ih[:HIDDEN])
    assert (plain.bias_ih.chunk(4)[1] != 0).all()


@every_cell
@pytest.mark.parametrize(("init_range", "bound"), [(None, 100**-0.5), (0.02, 0.02)])
def test_start_values_are_uniform(config: type[Config], init_range: float | None, bound: float) -> None:
    layer = config().build(100, 100, 0.0, init_range)
    for weight in (layer.weight_ih, layer.weight_hh):
        assert weight.abs().max() <= bound
        assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.03)
    for bias in (layer.bias_ih, layer.bias_hh):
        assert 0.5 * bound < bias.abs().max() <= bound


def test_packed_weights_are_views_of_one_buffer() -> None:
    """The layout cuDNN takes without copying and warning in each call."""
    weights = [torch.randn(4, 3, requires_grad=True), torch.randn(4, requires_grad=True)]
    together = packed(weights)
    assert_same(together, weights)
    storages = {piece.untyped_storage().data_ptr() for piece in together}
    assert len(storages) == 1
    assert [piece.storage_offset() for piece in together] == [0, 12]
    sum((piece * 2).sum() for piece in together).backward()
    assert all((weight.grad == 2).all() for weight in weights)


@pytest.mark.gpu
@every_cell
def test_on_an_accelerator(config: type[Config], recwarn: pytest.WarningsRecorder) -> None:
    layer = build(config).float()
    x, state = example(layer)
    x, state = x.float().detach(), tuple(part.float().detach() for part in state)
    lengths = torch.tensor([2, 0, 6, 2, 3])
    expected = [layer(x, state), layer(x, state, lengths)]
    layer.cuda()
    x, state = x.cuda(), tuple(part.cuda() for part in state)
    for (outputs, after), given in zip(expected, (None, lengths.cuda()), strict=True):
        there, last = layer(x, state, given)
        assert_same(there.cpu(), outputs, 1e-4)
        assert_same([part.cpu() for part in last], list(after), 1e-4)
    assert not recwarn.list
