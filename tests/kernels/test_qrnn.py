"""A window of a QRNN layer: in place and in blocks, and out of torch's operations, against the plain loop."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels import scan
from foretell.kernels.qrnn import qrnn, qrnn_reference

Layer = Callable[..., tuple[Tensor, Tensor]]
SHAPES = [(5, 3, 4, 6), (1, 1, 1, 1), (7, 1, 3, 2)]  # steps, rows, read, hidden
POOLINGS = {"f": 2, "fo": 3, "ifo": 4}
every_pooling = pytest.mark.parametrize("pooling", POOLINGS)
every_zone = pytest.mark.parametrize("zone", ["none", "drawn", "mean"])


@pytest.fixture(params=["fused", "plain"])
def layer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Layer:
    """Both ways of `qrnn`: what a CPU takes, and what all else takes."""
    if request.param == "plain":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    return qrnn


def example(pooling: str, shape: tuple[int, ...] = SHAPES[0], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Inputs, a state that is not zero, weight and bias."""
    torch.manual_seed(0)
    steps, rows, read, hidden = shape
    gates = POOLINGS[pooling] * hidden
    sizes = [(steps, rows, read), (rows, hidden), (gates, read), (gates,)]
    return [torch.randn(size).to(dtype).requires_grad_() for size in sizes]


def zone_of(kind: str, given: list[Tensor]) -> Tensor | float | None:
    """No zoneout, as in training, as in evaluation."""
    if kind == "drawn":
        return (torch.rand(len(given[0]), *given[1].shape) < 0.4).to(given[1].dtype)
    return 0.3 if kind == "mean" else None


def gradients(function: Layer, given: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a random direction of both results."""
    torch.manual_seed(1)
    outputs = function(*given)
    directions = [torch.randn(result.shape, dtype=torch.float64).to(result.dtype) for result in outputs]
    return torch.autograd.grad(outputs, given, directions)


@every_pooling
@every_zone
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tanh", [False, True], ids=["", "tanh"])
def test_equal_to_the_plain_loop(layer: Layer, pooling: str, zone: str, shape: tuple[int, ...], tanh: bool) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        given = example(pooling, shape, dtype)
        settings = {"zone": zone_of(zone, given), "tanh": tanh}
        mine, plain = partial(layer, **settings), partial(qrnn_reference, **settings)
        assert_same(mine(*given), plain(*given), tolerance)
        assert_same(gradients(mine, given), gradients(plain, given), tolerance)


@every_pooling
def test_blocks_of_any_length(pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = example(pooling, (13, 3, 4, 6))
    zone = zone_of("drawn", given)
    expected = gradients(partial(qrnn_reference, zone=zone), given)
    for block in (1, 5 * 3 * 6 * POOLINGS[pooling], 2**20):
        monkeypatch.setattr(scan, "BLOCK", block)
        assert_same(gradients(partial(qrnn, zone=zone), given), expected, 1e-10)


@every_pooling
@every_zone
def test_gradcheck(layer: Layer, pooling: str, zone: str) -> None:
    given = example(pooling, (3, 2, 2, 2))
    stays = zone_of(zone, given)
    mine = partial(layer, zone=stays, tanh=pooling != "f")
    assert torch.autograd.gradcheck(mine, given, fast_mode=True)  # in a random direction; each by itself above


@pytest.mark.parametrize("wanted", range(4), ids=["inputs", "c", "weight", "bias"])
def test_only_the_gradient_asked_for(wanted: int) -> None:
    given = example("fo")
    expected = torch.autograd.grad(sum(part.sum() for part in qrnn_reference(*given)), given[wanted])
    for i, tensor in enumerate(given):
        tensor.requires_grad_(i == wanted)
    sum(part.sum() for part in qrnn(*given)).backward()
    assert_same(given[wanted].grad, expected[0], 1e-10)
    assert all(tensor.grad is None for i, tensor in enumerate(given) if i != wanted)


@pytest.mark.parametrize("used", range(2), ids=["outputs", "c"])
def test_a_loss_of_one_result_only_and_going_backward_twice(used: int) -> None:
    given = example("ifo")
    expected = torch.autograd.grad(qrnn_reference(*given)[used].square().sum(), given)
    total = qrnn(*given)[used].square().sum()
    for _ in range(2):
        assert_same(torch.autograd.grad(total, given, retain_graph=True), expected, 1e-10)


def test_exact_at_a_size_it_is_made_for() -> None:
    """fp32 over many steps and several blocks, against the plain loop in float64."""
    given = example("fo", (101, 8, 30, 400), torch.float32)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    assert_same(tuple(result.double() for result in qrnn(*given)), qrnn_reference(*exact), 1e-5)
    for mine, theirs in zip(gradients(qrnn, given), gradients(qrnn_reference, exact), strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm()


def test_narrow_numbers_are_pooled_in_fp32() -> None:
    """Forget gates of nearly 1 in bf16: a state of bf16 would not move from where it is."""
    inputs, weight = torch.ones(600, 1, 1), torch.zeros(2, 1)
    bias = torch.tensor([10.0, 6.0])  # z = 1, and a forget gate of 0.9975
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = qrnn(inputs, torch.zeros(1, 1), weight, bias)
    f = torch.tensor(6.0).sigmoid().bfloat16().double()
    assert outputs.dtype == torch.bfloat16
    assert_same(outputs[-1, 0, 0].double(), 1 - f**600, 0.01)
