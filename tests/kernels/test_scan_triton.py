"""The Triton kernel of linear recurrences by itself, in its interpreter; `test_scan` has its gradients."""

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels.scan import linear_scan

pytest.importorskip("triton")
from foretell.kernels import scan_triton

interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="compiled for the GPU there is")


def loop(a: Tensor, b: Tensor, h: Tensor, reverse: bool, late: bool) -> Tensor:
    """h_t = a_t h_t-1 + b_t in processing order; late: with the factor of the step before, the first 1."""
    states, factor = torch.empty_like(b), torch.ones_like(h)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        h = (factor if late else a[t]) * h + b[t]
        states[t], factor = h, a[t]
    return states


@interpreted
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("steps", "columns"), [(1, 1), (3, 4), (4, 5), (5, 8), (8, 3), (13, 7)])
def test_tiles_that_are_full_and_in_part(
    steps: int, columns: int, reverse: bool, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_triton, "STEPS", 4)
    monkeypatch.setattr(scan_triton, "COLUMNS", 4)
    torch.manual_seed(0)
    a, b, h0 = torch.randn(steps, 1, columns), torch.randn(steps, 1, columns), torch.randn(1, columns)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        given = [part.to(dtype) for part in (a, b, h0)]
        assert_same(scan_triton.recur(*given, reverse, late), loop(*given, reverse, late), tolerance)


@interpreted
def test_narrow_numbers_are_summed_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_triton, "COLUMNS", 4)
    b = torch.full((33, 1, 3), 2.0**-9, dtype=torch.bfloat16)
    states = scan_triton.recur(torch.ones_like(b), b, torch.ones(1, 3), False, False)
    assert states.dtype == torch.bfloat16
    assert_same(states[-1].float(), torch.full((1, 3), 1 + 33 / 512), 2**-8)


def test_nothing_is_scanned_without_steps_or_columns() -> None:
    for shape in ((0, 2, 3), (4, 0, 3), (4, 2, 0)):
        b = torch.randn(shape)
        assert scan_triton.recur(b, b, torch.zeros(shape[1:]), False, False).shape == shape


@pytest.mark.gpu
def test_more_numbers_than_an_int32_can_count() -> None:
    """2.2 billion: an offset of 32 bits would come out negative."""
    b = torch.ones(2**10 + 64, 1, 2**21, dtype=torch.float16, device="cuda")
    states = linear_scan(torch.full_like(b, 0.5), b)
    assert bool((states[-1] == 2).all())
