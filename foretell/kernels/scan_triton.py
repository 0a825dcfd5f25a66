"""The linear recurrence of `scan` on a GPU.

A program owns a range of the B x D columns and processes time in tiles of several steps. A tile is loaded at once, so
that memory never waits for arithmetic, and scanned in registers; only its last state is passed to the next. Sums are in
fp32 (fp64 for fp64). Offsets are int64: T x B x D may exceed 2**31.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

STEPS, COLUMNS = 16, 128


@triton.jit
def _compose(a_one, b_one, a_two, b_two):  # type: ignore[no-untyped-def]
    """Two steps as one: h -> a_two (a_one h + b_one) + b_two."""
    return a_one * a_two, a_two * b_one + b_two


@triton.jit  # type: ignore[untyped-decorator]
def _scan(  # type: ignore[no-untyped-def]
    a,
    b,
    h0,
    states,
    count,
    width,
    REVERSE: tl.constexpr,
    LATE: tl.constexpr,
    WIDE: tl.constexpr,
    STEPS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    column = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    row = tl.arange(0, STEPS)
    h = tl.load(h0 + column, inside, other=0.0).to(WIDE)
    for begin in range(0, count, STEPS):
        step = begin + row  # in the order of processing
        time = count - 1 - step if REVERSE else step
        offset = time.to(tl.int64)[:, None] * width + column[None, :]
        real = (step < count)[:, None] & inside[None, :]
        if LATE:
            earlier = offset + width if REVERSE else offset - width
            factor = tl.load(a + earlier, real & (step > 0)[:, None], other=1.0).to(WIDE)
        else:
            factor = tl.load(a + offset, real, other=1.0).to(WIDE)
        term = tl.load(b + offset, real, other=0.0).to(WIDE)
        product, local = tl.associative_scan((factor, term), 0, _compose)
        state = product * h[None, :] + local
        tl.store(states + offset, state, real)
        h = tl.sum(tl.where((row == STEPS - 1)[:, None], state, 0.0), 0)  # padding keeps the state


def recur(a: Tensor, b: Tensor, h0: Tensor, reverse: bool, late: bool) -> Tensor:
    """`scan.recur` on a GPU."""
    a, b, h0 = a.contiguous(), b.contiguous(), h0.contiguous()
    states = torch.empty_like(b)
    count, width = len(b), h0.numel()
    if states.numel() == 0:
        return states
    wide = tl.float64 if b.dtype == torch.float64 else tl.float32
    programs = (triton.cdiv(width, COLUMNS),)
    with torch.cuda.device_of(b):
        _scan[programs](
            a, b, h0, states, count, width, REVERSE=reverse, LATE=late, WIDE=wide, STEPS=STEPS, COLUMNS=COLUMNS
        )
    return states
