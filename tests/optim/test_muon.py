"""Muon against singular values in double precision, torch's class and the equations of its module."""

from typing import Any

import pytest
import torch
from builders import assert_same, small
from electra import compose
from torch import Tensor, nn

from foretell.optim.muon import MARGIN, POLYNOMIALS, SMALLEST, Muon, orthogonal
from foretell.optim.optimizers import MuonConfig
from foretell.optim.param_groups import LayerDepths

SHAPES = [(7, 7), (64, 64), (64, 100), (64, 192), (192, 64), (100, 300), (1, 5), (5, 1)]


def polynomials(values: Tensor) -> Tensor:
    for a, b, c in POLYNOMIALS:
        values = a * values + b * values**3 + c * values**5
    return values


def spread(shape: tuple[int, int], seed: int = 0) -> Tensor:
    """A matrix with singular values over four powers of ten."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u * torch.logspace(0, -4, len(s), dtype=torch.float64) @ v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_values_go_through_the_polynomials(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = spread(shape)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    wanted = u * polynomials(s / (MARGIN * s.norm())) @ v
    found = orthogonal(matrix.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=5e-5 if dtype == torch.float32 else 1e-11)


def test_the_polynomials_lead_to_one() -> None:
    values = torch.logspace(-4, 0, 100_000, dtype=torch.float64) / MARGIN
    ended = polynomials(values)
    assert ended[values > SMALLEST].min() > 0.8 and ended.max() < 1.2
    assert (ended > values)[values < SMALLEST].all()


@pytest.mark.parametrize("matrix", [torch.zeros(3, 4), torch.full((4, 3), 1e-30), torch.full((3, 3), 1e20)])
def test_extreme_gradients_give_finite_steps(matrix: Tensor) -> None:
    assert orthogonal(matrix).isfinite().all() and orthogonal(matrix).abs().max() < 1.2


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    parts = [nn.Embedding(6, 5), nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 4, bias=False), nn.Linear(4, 6)]
    return nn.Sequential(*parts).to(dtype)


def depths(module: nn.Sequential) -> LayerDepths:
    found = {p: 3 - i for i, part in enumerate([module[0], module[1], module[3]]) for p in part.parameters()}
    inside = [*module[1].parameters(), *module[3].parameters()]
    return LayerDepths(found | dict.fromkeys(module[4].parameters(), 0), inside)


def train(module: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    torch.manual_seed(1)
    for _ in range(5):
        loss = module(torch.randint(6, (8,))).square().sum()
        module.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_steps_are_those_of_torchs_classes(decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's polynomials are others, and in bf16."""
    settings: dict[str, Any] = {"betas": (0.8, 0.9), "epsilon": 1e-4, "momentum": 0.7, "weight_decay": decay}
    ours = network()
    config = small(MuonConfig, **settings, learning_rate=0.1, adamw_learning_rate=0.03)
    train(ours, config.build(ours.parameters(), depths(ours)))
    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", lambda matrix, *_: orthogonal(matrix))
    theirs = network()
    inside = [theirs[1].weight, theirs[3].weight]
    others = [p for p in theirs.parameters() if not any(p is matrix for matrix in inside)]
    by_decay = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in others if p.dim() == 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(by_decay, lr=0.03, betas=(0.8, 0.9), eps=1e-4)
    train(theirs, torch.optim.Muon(inside, lr=0.1, momentum=0.7, weight_decay=decay), adamw)
    assert_same(ours.state_dict(), theirs.state_dict(), 1e-13)


def test_cautious_decay_takes_only_from_weights_that_the_step_makes_smaller() -> None:
    weight = nn.Parameter(torch.tensor([[2.0, -2.0], [1.0, 3.0]], dtype=torch.float64))
    gradient = torch.tensor([[1.0, 1.0], [-1.0, 0.5]], dtype=torch.float64)
    step, start = orthogonal(gradient), weight.detach().clone()
    weight.grad = gradient
    small(MuonConfig, learning_rate=0.1, weight_decay=0.5, cautious=True).build([weight]).step()
    factors = torch.where((step > 0) == (start > 0), 1 - 0.05, 1.0)
    assert 0 < (factors < 1).sum() < 4
    torch.testing.assert_close(weight.detach(), start * factors - 0.1 * step)


def test_filters_are_matrices_of_their_outputs() -> None:
    flat, filters = (nn.Parameter(torch.ones(shape)) for shape in ((6, 4), (6, 2, 2)))
    flat.grad = spread((6, 4)).float()
    filters.grad = flat.grad.view(6, 2, 2)
    for parameter in (flat, filters):
        small(MuonConfig).build([parameter]).step()
    torch.testing.assert_close(flat.detach(), filters.detach().flatten(1))


def test_groups_keep_their_rates_in_a_schedule() -> None:
    module = network()
    optimizer = small(MuonConfig, learning_rate=0.1, adamw_learning_rate=0.03).build(
        module.parameters(), depths(module)
    )
    assert isinstance(optimizer, Muon) and optimizer.defaults["lr"] == 0.1
    found = {group["orthogonal"]: group["lr"] for group in optimizer.param_groups}
    assert found == {True: 0.1, False: 0.03}
    before = [p.detach().clone() for p in module.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(module, optimizer)
    assert_same(dict(enumerate(module.parameters())), dict(enumerate(before)))


def test_the_blocks_of_all_models_of_an_objective_take_orthogonal_steps() -> None:
    """Of ELECTRA's generator too; embeddings, output layers and the discriminator do not."""
    built = compose(generator={"kind": "smaller", "hidden_share": 0.5})
    made = small(MuonConfig).build(built.parameters(), built.layer_depths())
    taken = {p for group in made.param_groups if group["orthogonal"] for p in group["params"]}
    names = {name for name, parameter in built.named_parameters() if parameter in taken}
    matrices = ["attention.qkv.weight", "attention.out.weight", "feed_forward.inner.weight", "feed_forward.out.weight"]
    models = ("backbone", "generator.backbone")
    assert names == {f"{model}.blocks.{block}.{name}" for model in models for block in (0, 1) for name in matrices}
