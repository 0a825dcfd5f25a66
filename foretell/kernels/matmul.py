"""Products with weights on a CPU, through oneDNN, which writes code for the very processor it runs on.

torch's own go through MKL, made for the processors of one maker: on others a product of few rows, or with very many
outputs, takes one and a half to twice as long there (`docs/results.md`). What a product of few rows costs is reading
its weight, in an order that suits the processor; where a weight is used again and again, it is laid out so once. R
rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

PACKED_FROM = 4
"""How many products make laying a weight out worth its while."""
FEW = 64
"""How many rows are few; one row gains nothing, as it reads each number once."""
PLAIN = (Tensor, nn.Parameter)
"""Not the subclasses that hold parts of a tensor or none of its numbers."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K] -> x @ weight.T + bias [..., N]; without gradients by oneDNN where it can be, which knows none."""
    by_onednn = suits(x, weight) and not torch.is_grad_enabled()
    return _by_onednn(x, weight, bias) if by_onednn else F.linear(x, weight, bias)


def repeated_product(weight: Tensor, times: int) -> Callable[[Tensor], Tensor]:
    """x [R, K] -> x @ weight.T for weight [N, K], laid out for so many calls where that can be done."""
    if times < PACKED_FROM or torch.is_grad_enabled() or not suits(weight, weight):
        weight = weight.contiguous()
        return lambda x: product(x, weight)
    packed = _laid_out(weight)
    return lambda x: _by_onednn(x, packed, None)


@dataclass
class _Packed:
    """A weight that is laid out."""

    version: int
    """how often it had been changed"""
    numbers: Tensor


_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`product`, differentiable once; for x [..., 1, K] of few rows, single steps of texts that are written, the weight
    is laid out, and kept so as long as it is unchanged, which doubles the memory it takes.

    Whether it is depends on x alone, not on how often it was read before: what is measured twice is the same twice.
    """
    if not suits(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        result: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return result
    if x.ndim < 3 or x.shape[-2] > 1 or not 1 < x.numel() // x.shape[-1] <= FEW:
        return product(x, weight, bias)
    known: _Packed | None = _packed.get(weight)
    if known is None or known.version != weight._version:
        known = _packed[weight] = _Packed(weight._version, _laid_out(weight.detach()))
    return _by_onednn(x, known.numbers, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _by_onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted, rows = ctx.needs_input_grad, upstream[0].reshape(-1, len(weight))
        # note: where what is summed over lies in columns, MKL was mostly the faster one
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]) if wanted[1] else None
        return (
            product(upstream[0], weight.t()) if wanted[0] else None,
            grad_weight,
            rows.sum(0) if wanted[2] else None,
        )


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can multiply them as they are: in fp32 on a CPU, no parts of what is sharded."""
    return (
        type(x) in PLAIN
        and type(weight) in PLAIN
        and weight.device.type == "cpu"
        and weight.dtype == x.dtype == torch.float32
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _laid_out(weight: Tensor) -> Tensor:
    """As it is read fastest by products of few rows."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), FEW)
    return packed


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`product` with a weight that is laid out or not."""
    bias = None if bias is None else bias.contiguous()  # note: strides of a bias are ignored there
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return result
