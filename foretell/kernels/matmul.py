"""Products with weights on a CPU through oneDNN, which generates code for the processor it runs on.

torch uses MKL, which is made for the processors of one vendor: on others a product of few rows, or with very many
outputs, takes 1.5 to 2 times as long (`docs/results.md`). The cost of a product of few rows is reading its weight in an
order that suits the processor; weights that are used repeatedly are reordered once. R rows, K inputs, N outputs.
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
"""number of products from which on reordering a weight pays off"""
FEW = 64
"""largest number of rows that gains from a reordered weight; a single row does not, as it reads each weight once"""
PLAIN = (Tensor, nn.Parameter)
"""supported types; not subclasses that have only part of a tensor's data, or none"""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K] -> x @ weight.T + bias [..., N]; by oneDNN where possible, but not with gradients enabled."""
    by_onednn = suits(x, weight) and not torch.is_grad_enabled()
    return _by_onednn(x, weight, bias) if by_onednn else F.linear(x, weight, bias)


def repeated_product(weight: Tensor, times: int) -> Callable[[Tensor], Tensor]:
    """Return a function x [R, K] -> x @ weight.T for `times` calls; the weight [N, K] is reordered if that pays off."""
    if times < PACKED_FROM or torch.is_grad_enabled() or not suits(weight, weight):
        weight = weight.contiguous()
        return lambda x: product(x, weight)
    packed = _reordered(weight)
    return lambda x: _by_onednn(x, packed, None)


@dataclass
class _Packed:
    """A reordered weight."""

    version: int
    """version counter of the original"""
    data: Tensor


_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`product`, differentiable once.

    For x [..., 1, K] of few rows, as in generation step by step, the weight is reordered and kept in that form until it
    changes, which doubles its memory. Whether it is reordered depends on x alone, not on previous calls, so that
    repeated measurements agree.
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
        known = _packed[weight] = _Packed(weight._version, _reordered(weight.detach()))
    return _by_onednn(x, known.data, bias)


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
        # note: for sums over columns MKL was mostly faster
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]) if wanted[1] else None
        return (
            product(upstream[0], weight.t()) if wanted[0] else None,
            grad_weight,
            rows.sum(0) if wanted[2] else None,
        )


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN supports the operands: fp32 on a CPU, not sharded."""
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


def _reordered(weight: Tensor) -> Tensor:
    """The weight in the order that is fastest for products of few rows."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), FEW)
    return packed


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`product` by oneDNN, with a reordered or plain weight."""
    bias = None if bias is None else bias.contiguous()  # note: oneDNN ignores the strides of a bias
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return result
