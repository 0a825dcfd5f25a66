"""Linear recurrences: one operation a step, chunks and the Triton kernel against the plain loop."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels import scan
from foretell.kernels.scan import forget_pool, linear_scan, linear_scan_reference

Scan = Callable[..., Tensor]
LONG = scan.MANY + 3  # a prime, and long enough for chunks
STEPS = [1, 2, 7, LONG]
WAYS = ["steps", "chunks", "triton"]
TILES = 35
"""steps that take the Triton kernel two of its tiles and a part of one; its interpreter is slow"""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way there is of scanning; on a CPU the Triton kernel runs in its interpreter."""
    monkeypatch.setattr(scan, "SMALL", 2**10 if request.param == "chunks" else 0)
    if request.param == "triton":
        interpret(monkeypatch)
    return str(request.param)


def interpret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the Triton kernel wherever tensors are; conftest.py has turned the interpreter on."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed")
    if torch.cuda.is_available():
        pytest.skip("compiled for the GPU there is, see the tests marked gpu")
    from foretell.kernels import scan_triton

    monkeypatch.setattr(scan_triton, "COLUMNS", 4)
    monkeypatch.setattr(scan, "takes_triton", lambda tensor: True)


@pytest.fixture
def long(way: str) -> int:
    """As many steps as it takes to see all of a way."""
    return TILES if way == "triton" else LONG


def example(steps: int, dtype: torch.dtype = torch.float64, rows: int = 2, width: int = 5) -> list[Tensor]:
    """Factors of both signs and around 1, terms and a state that is not zero."""
    torch.manual_seed(0)
    factors = torch.rand(steps, rows, width) * 2 - 0.95
    given = [factors, torch.randn(steps, rows, width), torch.randn(rows, width)]
    return [tensor.to(dtype).requires_grad_() for tensor in given]


def results(function: Scan, given: list[Tensor], **settings: object) -> tuple[Tensor, ...]:
    """States, and the gradients of a random direction of them."""
    states = function(*given, **settings)
    torch.manual_seed(1)
    direction = torch.randn(states.shape, dtype=torch.float64).to(states.dtype)
    return states, *torch.autograd.grad(states, given, direction)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("steps", STEPS)
def test_equal_to_the_plain_loop(way: str, long: int, steps: int, reverse: bool) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        given = example(min(steps, long), dtype)
        expected = results(linear_scan_reference, given, reverse=reverse)
        assert_same(results(linear_scan, given, reverse=reverse), expected, tolerance)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_padding_keeps_the_state(long: int, reverse: bool) -> None:
    given = example(long, rows=4)
    lengths = torch.tensor([long, 0, 1, long // 3])
    found = results(linear_scan, given, reverse=reverse, lengths=lengths)
    assert_same(found, results(linear_scan_reference, given, reverse=reverse, lengths=lengths), 1e-10)
    a, b, h0 = given
    for row, length in enumerate(lengths.tolist()):
        alone = linear_scan(a[:length, row : row + 1], b[:length, row : row + 1], h0[row : row + 1], reverse=reverse)
        assert_same(found[0][:length, row], alone[:, 0], 1e-12)
        ended = h0[row] if reverse or length == 0 else alone[-1, 0]
        assert_same(found[0][length:, row], ended.expand(long - length, -1), 1e-12)


def test_one_scan_is_two_with_the_state_carried(long: int) -> None:
    a, b, h0 = example(long)
    cut = long // 2
    whole = linear_scan(a, b, h0)
    first = linear_scan(a[:cut], b[:cut], h0)
    second = linear_scan(a[cut:], b[cut:], first[-1])
    assert_same(torch.cat([first, second]), whole, 1e-12)
    joined = torch.cat([first, second]).square().sum()
    expected = torch.autograd.grad(whole.square().sum(), (a, b, h0))
    assert_same(torch.autograd.grad(joined, (a, b, h0)), expected, 1e-10)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_gradcheck(steps: int, reverse: bool) -> None:
    lengths = torch.tensor([steps, 1])
    given = example(steps, width=3)
    assert torch.autograd.gradcheck(lambda *tensors: linear_scan(*tensors, reverse=reverse), given)
    assert torch.autograd.gradcheck(lambda *tensors: linear_scan(*tensors, reverse=reverse, lengths=lengths), given)
    assert torch.autograd.gradcheck(forget_pool, given)


def test_gradcheck_in_chunks() -> None:
    assert torch.autograd.gradcheck(linear_scan, example(scan.MANY, rows=1, width=1), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_in_fp32_where_numbers_are_narrow(way: str, dtype: torch.dtype) -> None:
    """1 + 1/1024 + 1/1024 + …: in bf16 or fp16 nothing would be added any more long before the end."""
    b = torch.full((400, 1, 3), 2.0**-10, dtype=dtype)
    a = torch.ones_like(b).requires_grad_()
    b.requires_grad_()
    states = linear_scan(a, b, torch.ones(1, 3))
    assert states.dtype == dtype
    assert_same(states[-1].float(), torch.full((1, 3), 1 + 400 / 1024), 2**-8)
    states.backward(torch.full_like(states, 2.0**-10))
    assert a.grad.dtype == b.grad.dtype == dtype
    assert_same(b.grad[0].float(), torch.full((1, 3), 400 / 1024), 2**-8)


def test_no_steps_and_no_rows() -> None:
    for shape in ((0, 2, 3), (4, 0, 3), (4, 2, 0)):
        a, b = (torch.randn(shape, requires_grad=True) for _ in range(2))
        for function in (linear_scan, forget_pool):
            states = function(a, b, torch.randn(shape[1:]))
            assert states.shape == shape
            states.sum().backward()
            assert a.grad.shape == shape


def test_any_layout_will_do(way: str) -> None:
    """Batch-first tensors seen from the side, one state for all rows, a gradient that is one number seen often."""
    a, b, h0 = example(7)
    sideways = [part.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for part in (a, b)]
    odd = [*sideways, h0.detach()[:1].expand_as(h0).requires_grad_()]
    even = [part.detach().contiguous().requires_grad_() for part in odd]
    expected = torch.autograd.grad(linear_scan_reference(*even).sum(), even)
    assert_same(torch.autograd.grad(linear_scan(*odd).sum(), odd), expected, 1e-10)


@pytest.mark.parametrize("wanted", range(3), ids=["a", "b", "h0"])
def test_only_the_gradient_asked_for(way: str, wanted: int) -> None:
    given = example(7)
    expected = torch.autograd.grad(linear_scan_reference(*given).square().sum(), given[wanted])
    for i, tensor in enumerate(given):
        tensor.requires_grad_(i == wanted)
    linear_scan(*given).square().sum().backward()
    assert_same(given[wanted].grad, expected[0], 1e-10)


def test_shapes_that_do_not_fit_are_refused() -> None:
    a = torch.zeros(4, 2, 3)
    for wrong in ((a, a[:, :, :1]), (a[0], a[0]), (a, a, torch.zeros(3))):
        with pytest.raises(ValueError, match=r"\[T, B, D\]"):
            linear_scan(*wrong)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("block", [1, 2**20], ids=["by step", "whole"])
def test_forget_pooling(
    steps: int, dtype: torch.dtype, tolerance: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK", block)
    given = example(steps, dtype)

    def plain(f: Tensor, z: Tensor, h0: Tensor) -> Tensor:
        return linear_scan_reference(f, (1 - f) * z, h0)

    assert_same(results(forget_pool, given), results(plain, given), tolerance)
    from_zero = forget_pool(*given[:2])
    assert_same(from_zero, forget_pool(*given[:2], torch.zeros_like(given[2])))


@pytest.mark.gpu
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("steps", [*STEPS, 1009])
def test_on_an_accelerator(steps: int, reverse: bool) -> None:
    given = example(steps, torch.float32, rows=3, width=301)
    there = [tensor.detach().cuda().requires_grad_() for tensor in given]
    for tensor in (*given, *there):
        tensor.data.clamp_(-1, 1)
    expected = results(linear_scan_reference, given, reverse=reverse)
    states = linear_scan(*there, reverse=reverse)
    torch.manual_seed(1)
    direction = torch.randn(states.shape, dtype=torch.float64).float().cuda()
    found = (states, *torch.autograd.grad(states, there, direction))
    assert_same(tuple(part.cpu() for part in found), expected, 1e-3)
