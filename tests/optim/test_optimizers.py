"""Every optimiser takes the steps of torch's class with the same settings, and decays what it should."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from builders import assert_same, members, name_of, small
from torch import nn

from foretell.config import Config
from foretell.optim.optimizers import OptimizerChoice, groups

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
}
every_optimizer = pytest.mark.parametrize("member", members(OptimizerChoice), ids=name_of)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).double()


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 7) -> None:
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(8, 4, dtype=torch.float64)).square().sum().backward()
        optimizer.step()


def test_every_optimizer_has_a_twin() -> None:
    assert set(TWINS) == {member.kind_name() for member in members(OptimizerChoice)}


@every_optimizer
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_steps_are_torchs(member: type[Config], decay: float) -> None:
    settings, twin, theirs = TWINS[member.kind_name()]
    config = small(member, **settings, weight_decay=decay, decayed="all")
    ours, other = network(), network()
    train(ours, config.build(ours.parameters()))
    train(other, twin(other.parameters(), **theirs, weight_decay=decay))
    assert_same(ours.state_dict(), other.state_dict(), 1e-14)
    assert not torch.equal(ours[0].weight, network()[0].weight)


@every_optimizer
def test_matrices_alone_decay(member: type[Config]) -> None:
    """Biases and norms go as without weight decay, matrices as with it (one step: they mix later)."""
    config = {
        decayed: small(member, weight_decay=decay, decayed=decayed)
        for decayed, decay in {"matrices": 0.1, "all": 0.1}.items()
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


def test_groups() -> None:
    matrix, bias, norm = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    given = [bias, matrix, norm]
    assert groups(given, 0.1, "all") == [{"params": given, "weight_decay": 0.1}]
    apart = groups(iter(given), 0.1, "matrices")
    assert [(len(group["params"]), group["weight_decay"]) for group in apart] == [(1, 0.1), (2, 0.0)]
    assert apart[0]["params"][0] is matrix
    assert groups([bias], 0.1, "matrices") == [{"params": [bias], "weight_decay": 0.0}]
