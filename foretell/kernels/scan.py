"""First-order linear recurrences over time, h_t = a_t h_{t-1} + b_t, as in QRNN, SRU, HGRN and minGRU.

Time is the first dimension, so that a step is contiguous. On a GPU the scan is a Triton kernel (`scan_triton`). On a
CPU it is one fused operation per step over views of whole tensors: with 62,000 elements per step, as in a QRNN of
40 x 1550, that runs at 17 of the 21 GB/s that copying reaches on two cores, so a compiled loop could hardly be faster.
With few elements per step, calls take longer than arithmetic: at 64 and 512 elements, scanning chunks of time in
parallel took 1/2 to 1/12 of the time (256 to 4096 steps, measured under load); from 2,048 on it was mostly slower, as
it moves more memory.

T time steps, B rows, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TRITON = find_spec("triton") is not None

SMALL = 2**10
"""steps with fewer elements are scanned in chunks, if there are at least MANY"""
MANY = 2**7
"""number of steps from which on chunks are used"""
BLOCK = 2**22
"""number of elements of a block of steps, part of which is still in the cache for the next operation"""


def linear_scan(
    a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False, lengths: Tensor | None = None
) -> Tensor:
    """h_t = a_t h_{t-1} + b_t for a and b [T, B, D] from h0 [B, D] (absent: zeros); returns all h_t [T, B, D].

    `reverse` goes from the last step to the first: h_t = a_t h_{t+1} + b_t. `lengths` [B] is the number of real steps
    of a row; padding, on the right, keeps the state. T may be 0. The state is held in fp32 where a and b are
    narrower, and the result has their dtype (the wider of the two). Differentiable once. ValueError: shapes differ.
    """
    if a.dim() != 3 or a.shape != b.shape or (h0 is not None and h0.shape != a.shape[1:]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (a, b, h0) if tensor is not None)
        raise ValueError(f"linear_scan: a and b have to be [T, B, D] and h0 [B, D], not {shapes}")
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(dtype), b.to(dtype)
    if len(a) == 0:
        return a + b
    if lengths is not None:
        padding = torch.arange(len(a), device=a.device)[:, None] >= lengths  # [T, B]
        a, b = a.masked_fill(padding[..., None], 1), b.masked_fill(padding[..., None], 0)
    if h0 is None:
        h0 = a.new_zeros(a.shape[1:])
    wide = torch.promote_types(dtype, torch.float32)
    if not takes_triton(a):  # lower precision is rare here: converted as a whole
        a, b = a.to(wide), b.to(wide)
    result: Tensor = _Scan.apply(a, b, h0.to(wide), reverse)  # type: ignore[no-untyped-call]
    return result.to(dtype)


def linear_scan_reference(
    a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False, lengths: Tensor | None = None
) -> Tensor:
    """Reference implementation of the equation, step by step."""
    steps = range(len(a))
    h = torch.zeros_like(b[0]) if h0 is None else h0
    states: dict[int, Tensor] = {}
    for t in reversed(steps) if reverse else steps:
        after = a[t] * h + b[t]
        h = after if lengths is None else torch.where((t < lengths)[:, None], after, h)
        states[t] = h
    return torch.stack([states[t] for t in steps])


def forget_pool(f: Tensor, z: Tensor, h0: Tensor | None = None) -> Tensor:
    """The QRNN's f-pooling (arXiv:1611.01576), h_t = f_t h_{t-1} + (1 - f_t) z_t: [T, B, D] from h0 [B, D] or zeros.

    On a CPU a step is one interpolation, without a product of 1 - f and z. Differentiable once.
    """
    if f.device.type != "cpu" or f.dtype != z.dtype or f.dtype not in (torch.float32, torch.float64) or len(f) == 0:
        return linear_scan(f, (1 - f) * z, h0)
    h0 = f.new_zeros(f.shape[1:]) if h0 is None else h0
    result: Tensor = _ForgetPool.apply(f, z, h0)  # type: ignore[no-untyped-call]
    return result


def step_blocks(steps: int, size: int) -> Iterator[slice]:
    """Blocks of at least one step, of `size` elements each, that fit in the cache."""
    length = max(1, BLOCK // max(1, size))
    return (slice(begin, min(begin + length, steps)) for begin in range(0, steps, length))


def takes_triton(tensor: Tensor) -> bool:
    """Whether scans of the tensor use the Triton kernel."""
    return tensor.device.type == "cuda" and _TRITON


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor, reverse: bool) -> Tensor:
        states = recur(a, b, h0, reverse)
        ctx.reverse = reverse
        ctx.save_for_backward(a, h0, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        a, h0, states = ctx.saved_tensors
        grad_b = recur(a, upstream[0], torch.zeros_like(h0), not ctx.reverse, late=True)  # [T, B, D]
        first, rest, before = (-1, slice(-1), slice(1, None)) if ctx.reverse else (0, slice(1, None), slice(-1))
        grad_a = None
        if ctx.needs_input_grad[0]:
            grad_a = torch.empty_like(grad_b)
            torch.mul(grad_b[rest], states[before], out=grad_a[rest])
            grad_a[first] = grad_b[first] * h0
        grad_h0 = (a[first] * grad_b[first]).to(h0.dtype) if ctx.needs_input_grad[2] else None
        return grad_a, grad_b, grad_h0, None


class _ForgetPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Tensor, z: Tensor, h0: Tensor) -> Tensor:
        states, h = torch.empty_like(z, memory_format=torch.contiguous_format), h0
        for forget, update, state in zip(f.unbind(), z.unbind(), states.unbind(), strict=True):
            h = torch.lerp(update, h, forget, out=state)
        ctx.save_for_backward(f, z, h0, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, ...]:
        f, z, h0, states = ctx.saved_tensors
        grad_f, grad_z = torch.empty_like(states), torch.empty_like(states)
        carry = torch.zeros_like(states[0])  # gradient from the next step
        for block in reversed(list(step_blocks(len(f), states[0].numel()))):
            grad_h = grad_z[block]
            carry = backward_steps(f[block], upstream[0][block], grad_h, carry)
            start = block.start
            torch.sub(h0, z[start], out=grad_f[start])
            torch.sub(states[start : block.stop - 1], z[start + 1 : block.stop], out=grad_f[start + 1 : block.stop])
            if start > 0:
                torch.sub(states[start - 1], z[start], out=grad_f[start])
            grad_f[block] *= grad_h
            grad_h.addcmul_(grad_h, f[block], value=-1)
        return grad_f, grad_z, carry


def backward_steps(f: Tensor, upstream: Tensor, grad: Tensor, carry: Tensor) -> Tensor:
    """Fill grad_t = upstream_t + f_{t+1} grad_{t+1} from the last step [B, D] to the first; return f_0 grad_0.

    f, upstream, grad [T, B, D]; carry is f grad of the step after the last. `grad` may be `upstream`.
    """
    steps = list(zip(f.unbind(), upstream.unbind(), grad.unbind(), strict=True))
    factor, term, after = steps[-1]
    torch.add(term, carry, out=after)
    for before, term, out in reversed(steps[:-1]):
        after = torch.addcmul(term, factor, after, out=out)
        factor = before
    return factor * after


def recur(a: Tensor, b: Tensor, h0: Tensor, reverse: bool, late: bool = False) -> Tensor:
    """All h_t [T, B, D] without a graph; `late`: a step uses the `a` of the previous step, the first one 1.

    The gradient of a scan is a late scan in the other direction.
    """
    if takes_triton(a):
        from foretell.kernels import scan_triton

        return scan_triton.recur(a, b, h0, reverse, late)
    states = torch.empty_like(b, memory_format=torch.contiguous_format)
    factors = list(a.unbind())
    if late:
        one = torch.ones_like(factors[0])
        factors = [*factors[1:], one] if reverse else [one, *factors[:-1]]
    if h0.numel() < SMALL and len(b) >= MANY:
        _in_chunks(torch.stack(factors) if late else a, b, h0, reverse, states)
    else:
        _one_by_one(factors, b, h0, reverse, states)
    return states


def _one_by_one(a: Sequence[Tensor], b: Tensor, h: Tensor, reverse: bool, states: Tensor) -> Tensor:
    """Fill states [T, ...] and return the final one."""
    steps = list(zip(a, b.unbind(), states.unbind(), strict=True))
    for factor, term, state in reversed(steps) if reverse else steps:
        h = torch.addcmul(term, factor, h, out=state)
    return h


def _in_chunks(a: Tensor, b: Tensor, h: Tensor, reverse: bool, states: Tensor) -> None:
    """Like `_one_by_one`, in about sqrt(8 T) operations: scan all chunks from zero in parallel, then add their inputs.

    The state before a chunk is multiplied by the product of its factors, so factors above 1 may overflow earlier.
    """
    length = round(math.sqrt(len(b) / 2))
    whole = len(b) // length * length
    if reverse:  # steps that fill no chunk come first
        h = _one_by_one(a[whole:].unbind(), b[whole:], h, reverse, states[whole:])
    factors, terms, out = (part[:whole].unflatten(0, (-1, length)) for part in (a, b, states))  # [chunks, length, ...]
    products = torch.empty_like(factors, memory_format=torch.contiguous_format)
    steps = list(zip(factors.unbind(1), terms.unbind(1), products.unbind(1), out.unbind(1), strict=True))
    steps = steps[::-1] if reverse else steps
    product, state = torch.ones_like(steps[0][0]), torch.zeros_like(steps[0][1])
    for factor, term, so_far, local in steps:
        state = torch.addcmul(term, factor, state, out=local)
        product = torch.mul(factor, product, out=so_far)
    ends = torch.empty_like(state)  # [chunks, ...] final states of the chunks
    last = _one_by_one(product.unbind(), state, h, reverse, ends)
    entering = torch.cat([ends[1:], h[None]] if reverse else [h[None], ends[:-1]])
    out.addcmul_(products, entering[:, None])
    if not reverse:
        _one_by_one(a[whole:].unbind(), b[whole:], last, reverse, states[whole:])
