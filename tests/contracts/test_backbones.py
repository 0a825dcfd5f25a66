"""Every backbone, and every recurrent cell in it, keeps the contract `(tokens, state) -> (hidden, state)`."""

import copy
from pathlib import Path

import pytest
import torch
from builders import arrangements, assert_same, leaves, members, name_of, small_models
from safetensors.torch import load_file, save_file
from torch import Tensor

from foretell.config import Config
from foretell.models.backbone import Backbone
from foretell.models.kinds import BackboneChoice
from foretell.types import Hidden, Inputs, select_rows

VOCABULARY, ROWS, STEPS = 11, 5, 7
MODELS = [*small_models(BackboneChoice), *arrangements()]
every_model = pytest.mark.parametrize("model", MODELS, ids=name_of)


def build(model: Config, seed: int = 0) -> Backbone:
    """In float64, so that what is equal in principle is equal to 1e-12."""
    torch.manual_seed(seed)
    backbone = model.build(VOCABULARY).double().eval()
    with torch.no_grad():
        for parameter in backbone.parameters():  # learned start states begin at zero: not here
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return backbone


def tokens_of(seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (ROWS, STEPS), generator=torch.Generator().manual_seed(seed))


READS = [model.build(VOCABULARY).reads for model in MODELS]


def reading(*wanted: str) -> list[Config]:
    """The models that read all of this."""
    return [model for model, reads in zip(MODELS, READS, strict=True) if reads.issuperset(wanted)]


def every_model_reading(*wanted: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", reading(*wanted), ids=name_of)


def carried(backbone: Backbone) -> tuple[object, ...]:
    """The state after some other text."""
    return backbone(Inputs(tokens=tokens_of(seed=7)), None).state


def test_every_kind_of_model_is_here() -> None:
    assert {type(model) for model in MODELS} == set(members(BackboneChoice))


def test_what_models_read() -> None:
    """Text that goes on if they read forward, whole windows if not; rows of different lengths in any case."""
    for model, reads in zip(MODELS, READS, strict=True):
        goes_on = {"causal", "state"} if model.direction == "forward" else set()
        assert reads & {"causal", "state", "lengths"} == {"lengths"} | goes_on


@every_model
def test_shapes(model: Config) -> None:
    backbone = build(model)
    hidden = backbone(Inputs(tokens=tokens_of()), None)
    assert hidden.last.shape == hidden.dropped.shape == (ROWS, STEPS, backbone.dim)
    assert len(hidden.layers) == getattr(model, "layers", len(backbone.blocks))
    assert all(layer.shape[:2] == (ROWS, STEPS) for layer in hidden.layers)
    assert_same(hidden.layers[-1], hidden.last)
    assert all(len(part) == ROWS for part in leaves(hidden.state))


@every_model
def test_memory_cells_are_one_a_layer_and_of_their_own_row(model: Config) -> None:
    backbone = build(model)
    hidden = backbone(Inputs(tokens=tokens_of()), None)
    cells = backbone.cells(hidden.state)
    cell_kinds = {getattr(getattr(model, name, None), "kind", None) for name in ("cell", "first_cell")} - {None}
    remembers = "state" in backbone.reads and cell_kinds and cell_kinds <= {"lstm", "mlstm", "qrnn"}
    assert len(cells) == (len(hidden.layers) if remembers else 0)
    alone = backbone.cells(backbone(Inputs(tokens=tokens_of()[2:3]), None).state)
    for together, own in zip(cells, alone, strict=True):
        assert_same(together[2:3], own, 1e-12)


@every_model_reading("causal")
@pytest.mark.parametrize("changed", [0, 3, STEPS - 1])
def test_a_token_changes_nothing_before_it(model: Config, changed: int) -> None:
    backbone = build(model)
    tokens = tokens_of()
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % VOCABULARY
    before = backbone(Inputs(tokens=tokens), None).last
    after = backbone(Inputs(tokens=other), None).last
    assert_same(before[:, :changed], after[:, :changed], 1e-12)
    assert (before[:, changed] != after[:, changed]).any(dim=-1).all()


@every_model_reading("state")
@pytest.mark.parametrize("cut", [1, 4, STEPS - 1])
def test_two_windows_with_carried_state_are_one(model: Config, cut: int) -> None:
    backbone = build(model)
    tokens = tokens_of()
    whole = backbone(Inputs(tokens=tokens), None)
    first = backbone(Inputs(tokens=tokens[:, :cut]), None)
    second = backbone(Inputs(tokens=tokens[:, cut:]), first.state)
    assert_same(torch.cat([first.last, second.last], 1), whole.last, 1e-12)
    assert_same(second.state, whole.state, 1e-12)


@every_model
def test_no_state_is_the_initial_state(model: Config) -> None:
    backbone = build(model)
    given = backbone(Inputs(tokens=tokens_of()), backbone.initial_state(ROWS))
    assert_same(given.last, backbone(Inputs(tokens=tokens_of()), None).last)


@every_model_reading("state")
def test_fresh_rows_start_anew(model: Config) -> None:
    backbone = build(model)
    state, tokens = carried(backbone), tokens_of()
    fresh = torch.tensor([True, False, False, True, False])
    mixed = backbone(Inputs(tokens=tokens, fresh=fresh), state)
    anew, on = backbone(Inputs(tokens=tokens), None), backbone(Inputs(tokens=tokens), state)
    assert_same(mixed.last[fresh], anew.last[fresh], 1e-12)
    assert_same(mixed.last[~fresh], on.last[~fresh], 1e-12)
    assert_same(select_rows(mixed.state, fresh), select_rows(anew.state, fresh), 1e-12)
    assert (anew.last != on.last).any()


@pytest.mark.parametrize("lengths", [(4, 0, 7, 2, 2), (1, 1, 1, 1, 1), (0, 0, 0, 0, 0)], ids=str)
@pytest.mark.parametrize(
    ("model", "goes_on"),
    [(model, False) for model in reading("lengths")] + [(model, True) for model in reading("lengths", "state")],
    ids=lambda value: ("goes-on" if value else "anew") if isinstance(value, bool) else name_of(value),
)
def test_a_padded_row_is_as_if_alone(model: Config, lengths: tuple[int, ...], goes_on: bool) -> None:
    backbone = build(model)
    state = carried(backbone) if goes_on else backbone.initial_state(ROWS)
    tokens = tokens_of()
    together = backbone(Inputs(tokens=tokens, lengths=torch.tensor(lengths)), state)
    for i, length in enumerate(lengths):
        row = slice(i, i + 1)
        after = select_rows(state, row)
        if length > 0:
            alone = backbone(Inputs(tokens=tokens[row, :length]), after)
            assert_same(together.last[row, :length], alone.last, 1e-12)
            after = alone.state
        assert_same(select_rows(together.state, row), after, 1e-12)


@every_model
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_every_parameter_gets_a_gradient(model: Config, padded: bool) -> None:
    backbone = build(model).train()
    lengths = None
    if padded:
        lengths = torch.tensor([7, 3, 0, 5, 1])
    hidden = backbone(Inputs(tokens=tokens_of(), lengths=lengths), None)
    (hidden.dropped * torch.randn_like(hidden.dropped)).sum().backward()
    without = [
        name for name, parameter in backbone.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


@every_model
def test_the_seed_determines_the_weights(model: Config) -> None:
    assert_same(build(model, seed=4).state_dict(), build(model, seed=4).state_dict())
    one, other = build(model, seed=4).state_dict(), build(model, seed=5).state_dict()
    assert [name for name in one if torch.equal(one[name], other[name])] == []


def dropping(model: Config) -> Config:
    """Everything dropped that can be."""
    rates = {name: 0.3 for name, value in model.dropout if type(value) is float}
    return model.model_copy(update={"dropout": model.dropout.model_copy(update=rates)})


DROPPING = list(map(dropping, MODELS))


@pytest.mark.parametrize("model", DROPPING, ids=name_of)
def test_round_trips(model: Config, tmp_path: Path) -> None:
    """Training, evaluating, copying, moving and saving in any order leave the model what it is.

    The list is that of what broke weight dropping elsewhere: a weight registered anew in evaluation,
    copies that share leaves, weights that are gone after loading.
    """
    backbone = build(model).float()
    names = {name: id(parameter) for name, parameter in backbone.named_parameters()}
    expected = output(backbone)
    for _ in range(2):
        trained = output(backbone.train())
        assert not torch.equal(trained, expected)
        assert_same(output(backbone.eval()), expected)
    assert {name: id(parameter) for name, parameter in backbone.named_parameters()} == names

    copied = copy.deepcopy(backbone.train()).eval()
    assert_same(output(copied), expected)
    output(copied.train()).sum().backward()
    assert all(parameter.grad is None for parameter in backbone.parameters())

    save_file(backbone.state_dict(), tmp_path / "weights.safetensors")
    loaded = build(model, seed=9).float().train()
    output(loaded)
    loaded.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert_same(output(loaded.eval()), expected)

    assert_same(output(backbone.to(torch.float64).to(torch.float32).to("cpu").eval()), expected)


def output(backbone: Backbone) -> Tensor:
    """The dropped output; the same draws each time."""
    torch.manual_seed(0)
    hidden: Hidden = backbone(Inputs(tokens=tokens_of()), None)
    return hidden.dropped


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own making, both
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@every_model
def test_compiled_is_the_same(model: Config) -> None:
    backbone = build(model).float()
    expected = output(backbone)
    backbone.compile()
    torch.testing.assert_close(output(backbone), expected, rtol=1e-5, atol=1e-5)
    output(backbone.train()).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
