"""LAMB in all its variants against the equations of each, written out in double precision."""

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from builders import assert_same, small
from numpy.typing import NDArray
from torch import nn

from foretell.optim.lamb import LAMB, Variant
from foretell.optim.optimizers import LAMBConfig
from foretell.training.state_dict import load_optimizer, optimizer_tensors

Array = NDArray[np.float64]
RATE, BETA1, BETA2, DECAY = 0.1, 0.8, 0.9, 0.02
EPSILON = {"paper": 1e-3, "google": 1e-3, "apex": 1e-3, "nvlamb": 1e-3}
VARIANTS = get_args(Variant)
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def norm(*arrays: Array) -> float:
    return float(np.sqrt(sum((a * a).sum() for a in arrays)))


def ratio(w: Array, u: Array) -> float:
    return norm(w) / norm(u) if norm(w) > 0 and norm(u) > 0 else 1.0


# --- each variant, one tensor in one step: (w, g, m, v, t, all gradients, has decay) -> (w, m, v) ---


def paper(w: Array, g: Array, m: Array, v: Array, t: int, every: list[Array], decays: bool) -> tuple[Array, ...]:
    """Algorithm 2 of arXiv:1904.00962, phi the identity."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g**2
    r = (m / (1 - BETA1**t)) / (np.sqrt(v / (1 - BETA2**t)) + EPSILON["paper"])
    u = r + DECAY * decays * w
    return w - RATE * ratio(w, u) * u, m, v


def google(w: Array, g: Array, m: Array, v: Array, t: int, every: list[Array], decays: bool) -> tuple[Array, ...]:
    """No correction; what is exempt from decay takes Adam's step."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g**2
    u = m / (np.sqrt(v) + EPSILON["google"])
    if not decays:
        return w - RATE * u, m, v
    u = u + DECAY * w
    return w - RATE * ratio(w, u) * u, m, v


def apex(w: Array, g: Array, m: Array, v: Array, t: int, every: list[Array], decays: bool) -> tuple[Array, ...]:
    """Gradients longer than 1 in all are shortened to 1; what has no decay takes Adam's step."""
    g = g / norm(*every) if norm(*every) > 1 else g
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g**2
    u = (m / (1 - BETA1**t)) / (np.sqrt(v / (1 - BETA2**t)) + EPSILON["apex"]) + DECAY * decays * w
    return w - RATE * (ratio(w, u) if decays else 1.0) * u, m, v


def nvlamb(w: Array, g: Array, m: Array, v: Array, t: int, every: list[Array], decays: bool) -> tuple[Array, ...]:
    """The seven steps of the slides; steps with no gradient at all, of which they say nothing, divide by one."""
    g = g / (norm(*every) or 1.0)
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g**2
    u = (m / (1 - BETA1**t)) / np.sqrt(v / (1 - BETA2**t) + EPSILON["nvlamb"]) + DECAY * decays * w
    return w - RATE * ratio(w, u) * u, m, v


RULES = {"paper": paper, "google": google, "apex": apex, "nvlamb": nvlamb}
SHAPES = {"matrix": (4, 3), "still": (2, 2), "zero": (3, 2), "norm": (3,), "bias": (2,)}


def start() -> dict[str, Array]:
    """Weights; those of `zero` and `bias` are zero."""
    draw = np.random.default_rng(0)
    return {n: draw.normal(size=shape) * (n not in ("zero", "bias")) for n, shape in SHAPES.items()}


def gradients(scale: float) -> Iterator[dict[str, Array]]:
    """Of each step; those of `still` are zero."""
    draw = np.random.default_rng(1)
    while True:
        yield {n: scale * draw.normal(size=shape) * (n != "still") for n, shape in SHAPES.items()}


def expected(variant: str, scale: float, steps: int) -> dict[str, Array]:
    weights = start()
    means = {name: (np.zeros(shape), np.zeros(shape)) for name, shape in SHAPES.items()}
    for t, given in zip(range(1, steps + 1), gradients(scale), strict=False):
        for name, g in given.items():
            w, m, v = RULES[variant](
                weights[name], g, *means[name], t, list(given.values()), decays=len(SHAPES[name]) > 1
            )
            weights[name], means[name] = w, (m, v)
    return weights


def optimizer_of(variant: str, parameters: dict[str, nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    plain = {"learning_rate": RATE, "betas": (BETA1, BETA2), "weight_decay": DECAY, "epsilon": EPSILON[variant]}
    return small(LAMBConfig, variant=variant, **plain | settings).build(parameters.values())


def trained(variant: str, scale: float, steps: int, dtype: torch.dtype, **settings: Any) -> dict[str, nn.Parameter]:
    parameters = {name: nn.Parameter(torch.tensor(w, dtype=dtype)) for name, w in start().items()}
    optimizer = optimizer_of(variant, parameters, **settings)
    for _, given in zip(range(steps), gradients(scale), strict=False):
        for name, g in given.items():
            parameters[name].grad = torch.tensor(g, dtype=dtype)
        optimizer.step()
    return parameters


@every_variant
@pytest.mark.parametrize("scale", [0.01, 10.0])  # norms below 1 in all, and above
def test_steps_are_those_of_the_equations(variant: str, scale: float) -> None:
    found = trained(variant, scale, 3, torch.float64)
    for name, w in expected(variant, scale, 3).items():
        assert_same(found[name].detach(), torch.tensor(w), 1e-13)
    for name, w in expected(variant, scale, 3).items():
        assert_same(trained(variant, scale, 3, torch.float32)[name].detach(), torch.tensor(w).float(), 1e-5)


def test_the_variants_differ() -> None:
    ends = [torch.cat([p.detach().flatten() for p in trained(v, 10.0, 3, torch.float64).values()]) for v in VARIANTS]
    for i, one in enumerate(ends):
        for other in ends[:i]:
            assert (one - other).abs().max() > 1e-3


def matrix(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor([values], dtype=torch.float64))


@every_variant
def test_norms_by_hand(variant: str) -> None:
    """One step without decay on gradients of norm 1, of which Adam makes (1, -1)."""
    zero, still, long = parameters = matrix(0, 0), matrix(3, 4), matrix(3, 4)
    for parameter, gradient in zip(parameters, [(0.6, -0.8), (0, 0), (0.06, -0.08)], strict=True):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
    settings = {"weight_decay": 0.0, "epsilon": 1e-30}
    optimizer_of(variant, dict(enumerate(parameters)), **settings).step()
    adam = RATE * (0.2 / 0.1**0.5 if variant == "google" else 1.0)
    assert zero.tolist()[0] == pytest.approx([-adam, adam], rel=1e-9)  # no length to scale to
    assert still.tolist() == [[3, 4]]  # no step to scale
    scaled = RATE if variant == "apex" else RATE * 5 / 2**0.5  # without decay apex scales nothing
    assert long.tolist()[0] == pytest.approx([3 - scaled, 4 + scaled], rel=1e-9)


@every_variant
def test_nothing_moves_without_gradients_and_decay(variant: str) -> None:
    weight, untouched = matrix(3, 4), matrix(1, 2)
    weight.grad = torch.zeros_like(weight)
    optimizer = optimizer_of(variant, {"weight": weight, "untouched": untouched}, weight_decay=0.0)
    optimizer.step()
    assert (weight.tolist(), untouched.tolist()) == ([[3, 4]], [[1, 2]])
    assert list(optimizer.state) == [weight]  # what has no gradient gets no state


@every_variant
def test_gradients_are_left_as_they_are(variant: str) -> None:
    weight = matrix(3, 4)
    weight.grad = torch.tensor([[5.0, 6.0]], dtype=torch.float64)
    optimizer_of(variant, {"weight": weight}).step()
    assert weight.grad.tolist() == [[5, 6]]


def test_epsilon_inside_the_root_is_the_square_of_that_outside() -> None:
    """Where it is not said: at v = 0 both come to 1e-6."""
    found = {variant: small(LAMBConfig, variant=variant).build([matrix(1)]).defaults["eps"] for variant in VARIANTS}
    assert found == {"paper": 1e-6, "google": 1e-6, "apex": 1e-6, "nvlamb": 1e-12}


@pytest.mark.parametrize(
    ("variant", "decay", "decay_on", "scaled"),
    [
        ("paper", 0.01, "matrices", [True, True]),
        ("google", 0.01, "matrices", [True, False]),
        ("google", 0.0, "matrices", [True, False]),  # exempt by name there, whatever the decay
        ("google", 0.01, "all", [True]),
        ("apex", 0.01, "matrices", [True, False]),
        ("apex", 0.0, "matrices", [False, False]),
        ("apex", 0.01, "all", [True]),
        ("nvlamb", 0.0, "matrices", [True, True]),
    ],
)
def test_what_is_scaled(variant: str, decay: float, decay_on: str, scaled: list[bool]) -> None:
    parameters = {"matrix": matrix(1, 2), "bias": nn.Parameter(torch.ones(2))}
    made = optimizer_of(variant, parameters, weight_decay=decay, decay_on=decay_on)
    assert [group["scaled"] for group in made.param_groups] == scaled


@every_variant
def test_half_precision_weights_are_those_of_full_precision_rounded(variant: str) -> None:
    """Arithmetic and means are fp32: one step on weights and gradients that bf16 can hold, then rounded once."""
    ends, optimizers = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(7, 5).bfloat16().to(dtype))
        weight.grad = torch.randn(7, 5).bfloat16().to(dtype)
        optimizers[dtype] = optimizer_of(variant, {"weight": weight})
        optimizers[dtype].step()
        ends[dtype] = weight.detach()
    assert torch.equal(ends[torch.bfloat16], ends[torch.float32].bfloat16())
    kept = optimizer_tensors(optimizers[torch.bfloat16])
    assert_same(kept, optimizer_tensors(optimizers[torch.float32]))
    other = optimizer_of(variant, {"weight": nn.Parameter(ends[torch.bfloat16].clone())})
    load_optimizer(other, kept)
    assert_same(optimizer_tensors(other), kept)  # still fp32: torch alone would round them
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}


def test_a_closure_is_called_with_gradients() -> None:
    weight = matrix(3, 4)

    def closure() -> torch.Tensor:
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert LAMB([weight]).step(closure).item() == 25
    assert weight.tolist() != [[3, 4]]
