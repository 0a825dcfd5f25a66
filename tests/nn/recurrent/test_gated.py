"""Normalisation, projection, reset and dropout inside gated layers, against loops that spell the equations out."""

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from builders import assert_same
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from foretell import config as configs
from foretell.config import Config
from foretell.errors import ConfigError
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.dropout import keep_mask
from foretell.nn.recurrent.gated import GatedLayer
from foretell.nn.recurrent.lstm import GRUConfig, LSTMConfig, RNNConfig
from foretell.nn.recurrent.mlstm import MLSTMConfig

INPUTS, HIDDEN, ROWS, STEPS = 3, 4, 5, 6
LENGTHS = torch.tensor([2, 0, 6, 2, 3])
State = tuple[Tensor, ...]
Parameters = Mapping[str, Tensor]


def build(config: Config, seed: int = 0) -> GatedLayer:
    """In float64, gains and learned starts moved away from one and zero."""
    torch.manual_seed(seed)
    layer = config.build(INPUTS, HIDDEN, 0.0, None).double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return layer


def example(layer: GatedLayer, rows: int = ROWS, steps: int = STEPS) -> tuple[Tensor, State]:
    """Inputs and a state that is not zero."""
    torch.manual_seed(1)
    x = torch.randn(rows, steps, INPUTS, dtype=torch.float64, requires_grad=True)
    return x, tuple(torch.randn_like(part, requires_grad=True) for part in layer.initial(rows))


# --- the equations --------------------------------------------------------------------------------


def normed(p: Parameters, place: str, x: Tensor) -> Tensor:
    """Layer normalisation where the layer has some."""
    gain = p.get(f"{place}.weight")
    return x if gain is None else layer_norm(x, x.shape[-1:], gain, p.get(f"{place}.bias"))


def lstm_step(p: Parameters, x: Tensor, state: State, fed: Tensor, write: Tensor | float) -> State:
    """Ba et al. 2016, equations 20 to 22; without normalisation the plain LSTM. Sak et al. 2014: projection."""
    of_inputs = normed(p, "norm_ih.0", x @ p["weight_ih"].T) + p["bias_ih"]
    i, f, g, o = (of_inputs + normed(p, "norm_hh.0", fed @ p["weight_hh"].T) + p["bias_hh"]).chunk(4, dim=1)
    c = f.sigmoid() * state[1] + i.sigmoid() * (g.tanh() * write)
    h = o.sigmoid() * normed(p, "norm_cell", c).tanh()
    return (h @ p["weight_hr"].T if "weight_hr" in p else h), c


def gru_step(p: Parameters, x: Tensor, state: State, fed: Tensor, write: Tensor | float, before: bool = False) -> State:
    """Ba et al. 2016, equations 26 to 28; `before`: Cho et al. 2014, the reset gate before the product."""
    (wr, wz, wn), (ur, uz, un) = p["weight_ih"].chunk(3), p["weight_hh"].chunk(3)
    (br, bz, bn), (cr, cz, cn) = p["bias_ih"].chunk(3), p["bias_hh"].chunk(3)
    gates = normed(p, "norm_ih.0", torch.cat([x @ wr.T, x @ wz.T], 1))
    gates = gates + normed(p, "norm_hh.0", torch.cat([fed @ ur.T, fed @ uz.T], 1))
    r, z = (gates + torch.cat([br + cr, bz + cz])).sigmoid().chunk(2, dim=1)
    inner, outer = (r, 1.0) if before else (1.0, r)
    recurrent = outer * normed(p, "norm_hh.1", (inner * fed) @ un.T) + outer * cn
    n = torch.tanh(normed(p, "norm_ih.1", x @ wn.T) + bn + recurrent)
    return ((1 - z) * (n * write) + z * state[0],)


def mlstm_step(p: Parameters, x: Tensor, state: State, fed: Tensor, write: Tensor | float) -> State:
    """Krause et al. 2016, with rows of weights at the lengths `gain_*` where there are any."""
    weights = [p["weight_ih"], p["weight_hh"]]
    if "gain_ih" in p:
        gains = [p["gain_ih"], p["gain_hh"]]
        pairs = zip(gains, weights, strict=True)
        weights = [torch.stack([g * v / v.norm() for g, v in zip(*pair, strict=True)]) for pair in pairs]
    (w_x, w_mx), (w_m, w_mh) = ((w[: 4 * HIDDEN], w[4 * HIDDEN :]) for w in weights)
    m = normed(p, "norm_ih.1", x @ w_mx.T) * normed(p, "norm_hh.1", fed @ w_mh.T)
    z = normed(p, "norm_ih.0", x @ w_x.T) + normed(p, "norm_hh.0", m @ w_m.T) + p["bias"]
    i, f, g, o = z.chunk(4, dim=1)
    c = f.sigmoid() * state[1] + i.sigmoid() * (g.tanh() * write)
    return o.sigmoid() * normed(p, "norm_cell", c).tanh(), c


def before_step(*given: object) -> State:
    return gru_step(*given, before=True)  # type: ignore[arg-type]


Step = Callable[..., State]
CASES: dict[str, tuple[Config, Step]] = {
    "lstm": (LSTMConfig(learned_state=True), lstm_step),
    "lstm-projected": (LSTMConfig(projection=2, learned_state=True), lstm_step),
    "lstm-normed": (LSTMConfig(layer_norm=True), lstm_step),
    "lstm-normed-projected": (LSTMConfig(layer_norm=True, projection=2), lstm_step),
    "gru": (GRUConfig(), gru_step),
    "gru-before": (GRUConfig(reset="before"), before_step),
    "gru-normed": (GRUConfig(layer_norm=True), gru_step),
    "gru-normed-before": (GRUConfig(layer_norm=True, reset="before"), before_step),
    "mlstm": (MLSTMConfig(learned_state=True), mlstm_step),
    "mlstm-weight-norm": (MLSTMConfig(weight_norm=True), mlstm_step),
    "mlstm-normed": (MLSTMConfig(layer_norm=True), mlstm_step),
    "mlstm-both-norms": (MLSTMConfig(layer_norm=True, weight_norm=True), mlstm_step),
}
every_case = pytest.mark.parametrize("name", CASES)
CARRYING = ["lstm", "lstm-projected", "lstm-normed", "gru", "gru-before", "mlstm", "mlstm-weight-norm"]


def loop(
    name: str, layer: GatedLayer, x: Tensor, state: State, mask: Tensor | None = None, write: Tensor | None = None
) -> tuple[Tensor, State]:
    """Step by step; `mask` [B, output] on what is fed back, `write` [B, T, H] on what is written."""
    parameters, outputs = dict(layer.named_parameters()), []
    for t in range(x.shape[1]):
        fed = state[0] if mask is None else state[0] * mask
        state = CASES[name][1](parameters, x[:, t], state, fed, 1.0 if write is None else write[:, t])
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


@every_case
def test_equal_to_a_plain_loop(name: str) -> None:
    layer = build(CASES[name][0])
    x, state = example(layer)
    expected, outputs = loop(name, layer, x, state), layer(x, state)
    assert_same(outputs, expected, 1e-10)
    directions = torch.randn_like(expected[0])
    wanted = [x, *state, *(p for key, p in layer.named_parameters() if key != "start")]
    found = torch.autograd.grad((outputs[0] * directions).sum(), wanted)
    assert_same(found, torch.autograd.grad((expected[0] * directions).sum(), wanted), 1e-10)


@every_case
def test_equal_to_a_plain_loop_in_single_precision(name: str) -> None:
    layer = build(CASES[name][0])
    x, state = example(layer)
    expected, last = loop(name, layer, x, state)
    outputs, after = layer.float()(x.float(), tuple(part.float() for part in state))
    assert_same(outputs.double(), expected, 1e-5)
    assert_same(tuple(part.double() for part in after), last, 1e-5)


WITH_KERNEL = ["lstm", "gru", "mlstm", "mlstm-weight-norm"]


@every_case
def test_what_has_a_kernel(name: str) -> None:
    assert build(CASES[name][0]).stepwise == (name not in WITH_KERNEL)


@pytest.mark.parametrize("name", WITH_KERNEL)
def test_steps_are_what_the_kernel_does(name: str) -> None:
    layer = build(CASES[name][0])
    x, state = example(layer)
    assert_same(layer.steps(x, state, layer.dropped_weights()), layer.kernel(x, state, layer.dropped_weights()), 1e-12)


@every_case
def test_gradcheck(name: str) -> None:
    """In a random direction; each gradient by itself is that of the plain loop, above."""
    layer = build(CASES[name][0])
    x, state = example(layer, rows=2, steps=3)
    names = [key for key, _ in layer.named_parameters()]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(names, rest[len(state) :], strict=True))
        outputs, after = torch.func.functional_call(layer, values, (x, rest[: len(state)]))
        return outputs, *after

    assert torch.autograd.gradcheck(run, (x, *state, *layer.parameters()), fast_mode=True)


@every_case
@pytest.mark.parametrize("cut", [1, 4])
def test_one_window_is_two_with_the_state_carried(name: str, cut: int) -> None:
    layer = build(CASES[name][0])
    x, state = example(layer)
    whole, last = layer(x, state)
    first, between = layer(x[:, :cut], state)
    second, after = layer(x[:, cut:], between)
    assert_same(torch.cat([first, second], 1), whole, 1e-12)
    assert_same(after, last, 1e-12)


@every_case
def test_rows_of_different_lengths(name: str) -> None:
    layer = build(CASES[name][0])
    x, state = example(layer)
    outputs, after = layer(x, state, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        last = tuple(part[one] for part in state)
        if length:
            expected, last = loop(name, layer, x[one, :length], last)
            assert_same(outputs[one, :length], expected, 1e-10)
        assert (outputs[row, length:] == 0).all()
        assert_same(tuple(part[one] for part in after), last, 1e-10)


def test_projection_is_torchs() -> None:
    layer = build(LSTMConfig(projection=2))
    module = nn.LSTM(INPUTS, HIDDEN, batch_first=True, dtype=torch.float64, proj_size=2)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(getattr(layer, name.removesuffix("_l0")))
    x, (h, c) = example(layer)
    expected, (last_h, last_c) = module(x, (h[None], c[None]))
    outputs, after = layer(x, (h, c))
    assert outputs.shape == (ROWS, STEPS, 2)
    assert_same(outputs, expected, 1e-12)
    assert_same(after, (last_h[0], last_c[0]), 1e-12)


def test_layer_norm_does_not_care_for_the_scale_of_weights() -> None:
    for config in (LSTMConfig, GRUConfig, MLSTMConfig):
        layer = build(config(layer_norm=True))
        x, state = example(layer)
        before = layer(x, state)[0]
        with torch.no_grad():
            layer.weight_hh *= 1000
            layer.weight_ih *= 1000
        assert_same(layer(x, state)[0], before, 1e-3)


# --- what is dropped ------------------------------------------------------------------------------


def with_dropout(name: str, **rates: float | bool) -> GatedLayer:
    config = CASES[name][0]
    changed = configs.validate(type(config), config.model_dump() | {"dropout": rates}, "test")
    return build(changed).train()


@pytest.mark.parametrize("name", CARRYING)
def test_one_mask_on_what_is_fed_back_for_all_steps(name: str) -> None:
    """Gal and Ghahramani 2016; what is carried on is not masked."""
    layer = with_dropout(name, state=0.5)
    x, state = example(layer)
    torch.manual_seed(3)
    outputs = layer(x, state)
    torch.manual_seed(3)
    mask = keep_mask(x, (ROWS, layer.output), 0.5)
    assert (mask == 0).any() and len(mask.unique(dim=0)) > 1
    assert_same(outputs, loop(name, layer, x, state, mask=mask), 1e-10)
    torch.manual_seed(3)  # rows of different lengths keep their masks
    ragged, _ = layer(x, state, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert_same(ragged[row, :length], outputs[0][row, :length], 1e-12)
    assert_same(layer.eval()(x, state), loop(name, layer, x, state), 1e-10)


@pytest.mark.parametrize("name", CARRYING)
def test_only_what_is_written_is_dropped(name: str) -> None:
    """Semeniuta et al. 2016: with everything written dropped, the cell is only forgotten."""
    layer = with_dropout(name, update=0.5)
    x, state = example(layer)
    torch.manual_seed(3)
    outputs = layer(x, state)
    torch.manual_seed(3)
    write = keep_mask(x, (ROWS, STEPS, HIDDEN), 0.5)
    assert_same(outputs, loop(name, layer, x, state, write=write), 1e-10)
    assert_same(layer.eval()(x, state), loop(name, layer, x, state), 1e-10)


@pytest.mark.parametrize("name", ["lstm", "lstm-projected", "mlstm"])
def test_update_dropout_keeps_the_expected_cell(name: str) -> None:
    layer = with_dropout(name, update=0.3)
    rows = 20_000
    x, state = (part for part in example(layer, 1, 1))
    many = layer(x.expand(rows, -1, -1), tuple(part.expand(rows, -1) for part in state))[1][1]  # cells [rows, H]
    expected = layer.eval()(x, state)[1][1][0]
    error = (many.mean(0) - expected).abs() / (many.std(0) / math.sqrt(rows))
    assert (error < 3).all()


ZONED = [(name, "zoneout") for name in CARRYING] + [(name, "zoneout_cell") for name in CARRYING if "gru" not in name]


@pytest.mark.parametrize(("name", "part"), ZONED)
def test_zoneout(name: str, part: str) -> None:
    """A unit stays or goes on; how often, and what evaluation makes of it: the mean (arXiv:1606.01305)."""
    rate, rows, place = 0.3, 10_000, int(part == "zoneout_cell")
    layer = with_dropout(name, **{part: rate})
    x, state = example(layer, 1, 1)
    _, plain = loop(name, layer, x, state)
    outputs, after = layer(x.expand(rows, -1, -1), tuple(p.expand(rows, -1) for p in state))
    assert_same(outputs[:, 0], after[0])
    stayed = (after[place] - state[place]).abs() < 1e-12  # [rows, width]
    assert_same(after[place], torch.where(stayed, state[place], plain[place]), 1e-12)
    share, sigma = stayed.double().mean(), math.sqrt(rate * (1 - rate) / stayed.numel())
    assert abs(float(share) - rate) < 3 * sigma
    if len(state) > 1:
        assert_same(after[1 - place], plain[1 - place].expand_as(after[1 - place]), 1e-12)
    _, mean = layer.eval()(x, state)
    assert_same(mean[place], rate * state[place] + (1 - rate) * plain[place], 1e-12)
    error = (after[place].mean(0) - mean[place][0]).abs() / (after[place].std(0) / math.sqrt(rows))
    assert (error < 3).all()


@pytest.mark.parametrize("config", [RNNConfig, GRUConfig, LSTMConfig, MLSTMConfig])
@pytest.mark.parametrize("by_rows", [False, True], ids=["elements", "rows"])
def test_weights_of_inputs_and_states_are_dropped(config: type[Config], by_rows: bool) -> None:
    """Once a window, one by one or in whole rows; raw weights stay, and get no gradient where they were dropped."""
    layer = config(dropout={"input_weight": 0.4, "rows": by_rows}).build(30, 60, 0.25, None).train()
    raw = {name: p.detach().clone() for name, p in layer.named_parameters()}
    torch.manual_seed(2)
    weight_ih, weight_hh, *_ = layer.dropped_weights()
    for name, dropped, rate in (("weight_ih", weight_ih, 0.4), ("weight_hh", weight_hh, 0.25)):
        kept = dropped != 0
        units = kept.any(1) if by_rows else kept
        assert not by_rows or bool((kept == kept[:, :1]).all())
        share = float(units.double().mean())
        assert abs(share - (1 - rate)) < 3 * math.sqrt(rate * (1 - rate) / units.numel())
        assert_same(dropped[kept], (raw[name] / (1 - rate))[kept], 1e-6)
    (weight_ih.sum() + weight_hh.sum()).backward()
    assert_same(layer.weight_hh.grad != 0, weight_hh != 0)
    x = torch.randn(1, 7, 30).expand(4, -1, -1)
    outputs, _ = layer(x, layer.initial(4))
    assert_same(outputs, outputs[:1].expand_as(outputs), 1e-6)  # the same for all rows
    assert not torch.equal(outputs, layer(x, layer.initial(4))[0])  # and another at the next window
    assert_same({name: p.detach() for name, p in layer.named_parameters()}, raw)
    weight_ih, weight_hh, *_ = layer.eval().dropped_weights()
    assert_same([weight_ih.detach(), weight_hh.detach()], [raw["weight_ih"], raw["weight_hh"]])


@pytest.mark.parametrize(
    ("cell", "setting"),
    [("rnn", "state"), ("rnn", "update"), ("rnn", "zoneout"), ("gru", "zoneout_cell")],
)
def test_a_cell_that_cannot_drop_something_says_so(cell: str, setting: str) -> None:
    tree = {"cell": {"kind": cell, "dropout": {setting: 0.1}}}
    with pytest.raises(ConfigError, match=rf"cell.dropout.{setting}: no such setting"):
        configs.validate(RecurrentConfig, tree, "recipe")


def test_what_a_kernel_can_do_it_does() -> None:
    """Steps are written out only while they are needed: dropping does not slow evaluation down, zoneout does."""
    assert with_dropout("lstm", state=0.1, update=0.1).stepwise
    assert not with_dropout("lstm", state=0.1, update=0.1).eval().stepwise
    assert with_dropout("lstm", zoneout=0.1).eval().stepwise
    assert not with_dropout("mlstm", input_weight=0.1, rows=True).stepwise


@pytest.mark.parametrize("name", CASES)
def test_in_lower_precision(name: str) -> None:
    """Under autocast every layer still works, near what it computes in single precision."""
    layer = build(CASES[name][0]).float()
    x, state = example(layer)
    x, state = x.detach().float(), tuple(part.detach().float() for part in state)
    expected, _ = layer(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(x, state)
        outputs.float().square().sum().backward()
    assert (outputs - expected).abs().max() < 0.1
