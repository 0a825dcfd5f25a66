"""Products with one weight many times over: laid out once by MKL, a few rows cost half as much and less on a CPU.

What a product of few rows costs is reading its weight, and MKL reads a weight in an order of its own, which it makes
anew in each call unless it is kept. R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

PACKED_FROM = 4
"""How many products make laying a weight out worth its while."""
FEW = 64
"""How many rows are few; one row gains nothing, as it reads each number once."""


def repeated_product(weight: Tensor, rows: int, times: int) -> Callable[[Tensor], Tensor]:
    """x [rows, K] -> x @ weight.T for weight [N, K], laid out for so many calls where that can be done."""
    weight = weight.contiguous()
    if times < PACKED_FROM or not can_pack(weight):
        return lambda x: F.linear(x, weight)
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
    multiply = torch.ops.mkl._mkl_linear.default
    return lambda x: multiply(x, packed, weight, None, rows)


def can_pack(weight: Tensor) -> bool:
    """Whether MKL can lay it out: fp32 on a CPU."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkl.is_available()


@dataclass
class _Known:
    """What is known of a weight that is multiplied with again and again."""

    version: int
    """how often it had been changed"""
    rows: int
    calls: int = 1
    packed: Tensor | None = None


_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K] -> x @ weight.T + bias [..., N]; the layout is kept as long as the weight is used unchanged.

    Only without gradients, and for few rows: generation reads the same weights at every token. It doubles the memory
    that the weight takes.
    """
    rows = x.numel() // x.shape[-1]
    if torch.is_grad_enabled() or not 1 < rows <= FEW or not can_pack(weight) or torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    known: _Known | None = _known.get(weight)
    if known is None or (known.version, known.rows) != (weight._version, rows):
        _known[weight] = _Known(weight._version, rows)
        return F.linear(x, weight, bias)
    known.calls += 1
    if known.packed is None:
        if known.calls < PACKED_FROM:
            return F.linear(x, weight, bias)
        known.packed = torch.ops.mkl._mkl_reorder_linear_weight(weight.detach().contiguous(), rows)
    flat = x.reshape(rows, -1)
    product: Tensor = torch.ops.mkl._mkl_linear.default(flat, known.packed, weight, bias, rows)
    return product.view(*x.shape[:-1], -1)
