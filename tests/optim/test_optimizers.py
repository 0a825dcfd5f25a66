"""Every optimiser takes the steps of torch's class with the same settings, and decays what it should."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from builders import assert_same, members, name_of, small
from safetensors.torch import load_file, save_file
from torch import nn

from foretell.config import Config
from foretell.errors import ConfigError
from foretell.optim.lamb import Variant
from foretell.optim.optimizers import MuonConfig, OptimizerChoice, SGDConfig
from foretell.optim.param_groups import LayerDepths
from foretell.training.state_dict import load_optimizer, optimizer_tensors

Maker = Callable[..., torch.optim.Optimizer]
# settings of ours, torch's class, the same settings in torch's words
TWINS: dict[str, tuple[dict[str, Any], Maker, dict[str, Any]]] = {
    "sgd": (
        {"learning_rate": 0.3, "momentum": 0.8, "nesterov": True},
        torch.optim.SGD,
        {"lr": 0.3, "momentum": 0.8, "nesterov": True},
    ),
    "adam": (
        {"learning_rate": 0.03, "betas": (0.7, 0.9), "epsilon": 1e-4},
        torch.optim.Adam,
        {"lr": 0.03, "betas": (0.7, 0.9), "eps": 1e-4},
    ),
    "adamw": (
        {"learning_rate": 0.03, "betas": (0.7, 0.9), "epsilon": 1e-4},
        torch.optim.AdamW,
        {"lr": 0.03, "betas": (0.7, 0.9), "eps": 1e-4},
    ),
    "adagrad": (
        {"learning_rate": 0.3, "initial": 0.1, "epsilon": 1e-4},
        torch.optim.Adagrad,
        {"lr": 0.3, "initial_accumulator_value": 0.1, "eps": 1e-4},
    ),
    "adadelta": (
        {"learning_rate": 0.8, "rho": 0.7, "epsilon": 1e-4},
        torch.optim.Adadelta,
        {"lr": 0.8, "rho": 0.7, "eps": 1e-4},
    ),
    "rmsprop": (
        {"learning_rate": 0.03, "alpha": 0.8, "momentum": 0.5, "centered": True, "epsilon": 1e-4},
        torch.optim.RMSprop,
        {"lr": 0.03, "alpha": 0.8, "momentum": 0.5, "centered": True, "eps": 1e-4},
    ),
}
MEMBERS = {member.kind_name(): member for member in members(OptimizerChoice)}
every_optimizer = pytest.mark.parametrize("member", members(OptimizerChoice), ids=name_of)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).double()


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 7) -> None:
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(8, 4, dtype=module[0].weight.dtype)).square().sum().backward()
        optimizer.step()


def test_every_optimizer_has_a_twin() -> None:
    """But LAMB and Muon: see test_lamb.py and test_muon.py."""
    assert {*TWINS, "lamb", "muon"} == {member.kind_name() for member in members(OptimizerChoice)}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_steps_are_torchs(kind: str, decay: float) -> None:
    settings, twin, theirs = TWINS[kind]
    config = small(MEMBERS[kind], **settings, weight_decay=decay, decay_on="all")
    ours, other = network(), network()
    train(ours, config.build(ours.parameters()))
    train(other, twin(other.parameters(), **theirs, weight_decay=decay))
    assert_same(ours.state_dict(), other.state_dict(), 1e-14)
    assert not torch.equal(ours[0].weight, network()[0].weight)


@every_optimizer
def test_matrices_alone_decay(member: type[Config]) -> None:
    """Biases and norms go as without weight decay, matrices as with it (one step: they mix later)."""
    config = {
        decay_on: small(member, weight_decay=decay, decay_on=decay_on)
        for decay_on, decay in {"matrices": 0.1, "all": 0.1}.items()
    }
    plain = small(member, weight_decay=0.0)
    after = {}
    for name, settings in {**config, "none": plain}.items():
        module = network()
        train(module, settings.build(module.parameters()), steps=1)
        after[name] = module.state_dict()
    for name, weight in after["matrices"].items():
        assert_same(weight, after["all" if weight.dim() > 1 else "none"][name])
        assert not torch.equal(after["all"][name], after["none"][name]) or not network().state_dict()[name].any()


# --- groups ---------------------------------------------------------------------------------------


@every_optimizer
def test_rates_by_layer(member: type[Config]) -> None:
    low, high, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    settings = {"learning_rate": 0.8, "layer_decay": 0.5, "weight_decay": 0.1, "decay_on": "matrices"}
    settings |= {"adamw_learning_rate": 0.8} if member is MuonConfig else {}
    built = small(member, **settings).build([low, high, bias], LayerDepths({low: 3, high: 0, bias: 3}))
    found = [(group["params"][0], group["lr"], group["weight_decay"]) for group in built.param_groups]
    assert [(rate, decay) for _, rate, decay in found] == [(0.8, 0.1), (0.1, 0.1), (0.1, 0.0)]
    assert [parameter is wanted for (parameter, *_), wanted in zip(found, [high, low, bias], strict=True)] == [True] * 3
    assert built.defaults["lr"] == 0.8
    with pytest.raises(ValueError, match="needs the depth"):
        small(member, **settings).build([low])


# --- the update rules, written out ----------------------------------------------------------------

Rule = Callable[[Callable[[float], float], float], Iterator[float]]
RULES: dict[str, tuple[dict[str, Any], Rule]] = {}


def rule(kind: str, **settings: Any) -> Callable[[Rule], Rule]:
    """Files a generator that yields a weight after each step, given its gradient and its start."""

    def file(function: Rule) -> Rule:
        RULES[f"{kind} {function.__name__}"] = ({"kind": kind, **settings}, function)
        return function

    return file


@rule("sgd", learning_rate=0.1, momentum=0.9)
def heavy_ball(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    velocity = 0.0
    while True:
        velocity = 0.9 * velocity + gradient(x)
        x -= 0.1 * velocity
        yield x


@rule("sgd", learning_rate=0.1, momentum=0.9, nesterov=True)
def nesterov(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    velocity = 0.0
    while True:
        g = gradient(x)
        velocity = 0.9 * velocity + g
        x -= 0.1 * (g + 0.9 * velocity)
        yield x


@rule("adam", learning_rate=0.1, betas=(0.8, 0.9), epsilon=1e-3, amsgrad=True, weight_decay=0.2)
def amsgrad(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    """Bias-corrected; the largest second moment before its correction, as torch has it."""
    first = second = largest = 0.0
    for t in itertools.count(1):
        g = gradient(x) + 0.2 * x
        first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g * g
        largest = max(largest, second)
        x -= 0.1 * (first / (1 - 0.8**t)) / (math.sqrt(largest / (1 - 0.9**t)) + 1e-3)
        yield x


@rule("adamw", learning_rate=0.1, betas=(0.8, 0.9), epsilon=1e-3, amsgrad=True, weight_decay=0.2, decay_on="all")
def amsgrad_decoupled(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    first = second = largest = 0.0
    for t in itertools.count(1):
        g = gradient(x)
        x *= 1 - 0.1 * 0.2
        first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g * g
        largest = max(largest, second)
        x -= 0.1 * (first / (1 - 0.8**t)) / (math.sqrt(largest / (1 - 0.9**t)) + 1e-3)
        yield x


BERT = {"learning_rate": 0.1, "betas": (0.8, 0.9), "epsilon": 1e-3, "weight_decay": 0.2, "decay_on": "all"}


@rule("adamw", bias_correction=False, **BERT)
def bert(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    """Google's AdamWeightDecayOptimizer: no correction, and the decay of the weight before the step."""
    first = second = 0.0
    while True:
        g = gradient(x)
        first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g * g
        x -= 0.1 * (first / (math.sqrt(second) + 1e-3) + 0.2 * x)
        yield x


@rule("adamw", bias_correction=False, amsgrad=True, **BERT)
def bert_amsgrad(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    first = second = largest = 0.0
    while True:
        g = gradient(x)
        first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g * g
        largest = max(largest, second)
        x -= 0.1 * (first / (math.sqrt(largest) + 1e-3) + 0.2 * x)
        yield x


@rule("adagrad", learning_rate=0.1, initial=0.5, epsilon=1e-3)
def duchi(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    squares = 0.5
    while True:
        g = gradient(x)
        squares += g * g
        x -= 0.1 * g / (math.sqrt(squares) + 1e-3)
        yield x


@rule("adadelta", learning_rate=0.5, rho=0.7, epsilon=1e-3)
def zeiler(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    squares = changes = 0.0
    while True:
        g = gradient(x)
        squares = 0.7 * squares + 0.3 * g * g
        change = math.sqrt(changes + 1e-3) / math.sqrt(squares + 1e-3) * g
        changes = 0.7 * changes + 0.3 * change * change
        x -= 0.5 * change
        yield x


@rule("rmsprop", learning_rate=0.1, alpha=0.8, momentum=0.5, epsilon=1e-3)
def hinton(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    squares = velocity = 0.0
    while True:
        g = gradient(x)
        squares = 0.8 * squares + 0.2 * g * g
        velocity = 0.5 * velocity + g / (math.sqrt(squares) + 1e-3)
        x -= 0.1 * velocity
        yield x


@rule("rmsprop", learning_rate=0.1, alpha=0.8, centered=True, epsilon=1e-3)
def graves(gradient: Callable[[float], float], x: float) -> Iterator[float]:
    squares = mean = 0.0
    while True:
        g = gradient(x)
        squares, mean = 0.8 * squares + 0.2 * g * g, 0.8 * mean + 0.2 * g
        x -= 0.1 * g / (math.sqrt(squares - mean * mean) + 1e-3)
        yield x


def slope(x: float) -> float:
    """The derivative of a bumpy bowl."""
    return 2 * x + math.cos(3 * x)


@pytest.mark.parametrize("name", RULES)
def test_traces_of_plain_loops(name: str) -> None:
    settings, function = RULES[name]
    member = MEMBERS[settings["kind"]]
    weight = nn.Parameter(torch.tensor([1.5], dtype=torch.float64))
    optimizer = small(member, **settings).build([weight])
    trace = []
    for _ in range(12):
        weight.grad = torch.tensor([slope(weight.item())], dtype=torch.float64)
        optimizer.step()
        trace.append(weight.item())
    assert trace == pytest.approx(list(itertools.islice(function(slope, 1.5), 12)), rel=1e-12)
    assert abs(trace[-1] - 1.5) > 0.1


# --- state ----------------------------------------------------------------------------------------

LAMBS = [{"kind": "lamb", "variant": variant, "learning_rate": 0.1} for variant in get_args(Variant)]
MUONS = [{"kind": "muon", "weight_decay": 0.1, "cautious": cautious} for cautious in (False, True)]
VARIANTS = (
    LAMBS
    + MUONS
    + [settings for settings, _ in RULES.values()]
    + [{"kind": kind} | ours for kind, (ours, *_) in TWINS.items()]
)


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda settings: settings["kind"])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_state_goes_on_to_the_last_bit(settings: dict[str, Any], before: int, tmp_path: Path) -> None:
    """As in a checkpoint: tensors in a file, settings from the recipe; also before the first step."""
    member = MEMBERS[settings["kind"]]
    config = small(member, **settings)
    whole = network().float()
    optimizer = config.build(whole.parameters())
    train(whole, optimizer, before)
    part = network().float()
    part.load_state_dict(whole.state_dict())
    tensors = {name: tensor.contiguous() for name, tensor in optimizer_tensors(optimizer).items()}
    save_file(tensors, tmp_path / "optimizer.safetensors")
    other = config.build(part.parameters())
    load_optimizer(other, load_file(tmp_path / "optimizer.safetensors"))
    train(whole, optimizer, 3)
    train(part, other, 3)
    assert_same(part.state_dict(), whole.state_dict())
    assert_same(optimizer_tensors(other), optimizer_tensors(optimizer))


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ConfigError, match="momentum above 0"):
        small(SGDConfig, nesterov=True)
