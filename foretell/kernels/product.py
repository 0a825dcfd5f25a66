"""Products with weights on a CPU, through oneDNN, which writes code for the very processor it runs on.

torch's own go through MKL, which knows the processors of one maker: on others a product of few rows takes twice as long
there, and so does one with very many outputs. What a product of few rows costs is reading its weight, in an order that
suits the processor; where a weight is used again and again, it is laid out so once. R rows, K inputs, N outputs.
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


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K] -> x @ weight.T + bias [..., N], by oneDNN where it can be, which knows no gradients."""
    return _by_onednn(x, weight, bias) if suits(x, weight) else F.linear(x, weight, bias)


def repeated_product(weight: Tensor, times: int) -> Callable[[Tensor], Tensor]:
    """x [R, K] -> x @ weight.T for weight [N, K], laid out for so many calls where that can be done."""
    if times < PACKED_FROM or not suits(weight, weight):
        weight = weight.contiguous()
        return lambda x: product(x, weight)
    packed = _laid_out(weight)
    return lambda x: _by_onednn(x, packed, None)


@dataclass
class _Known:
    """What is known of a weight that is multiplied with again and again."""

    version: int
    """how often it had been changed"""
    calls: int = 1
    packed: Tensor | None = None


_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`product`, or with gradients torch's; the layout is kept as long as the weight is used unchanged.

    Only without gradients, and for few rows: generation reads the same weights at every token. It doubles the memory
    that the weight takes.
    """
    rows = x.numel() // x.shape[-1]
    if not 1 < rows <= FEW or not suits(x, weight):
        return product(x, weight, bias)
    known: _Known | None = _known.get(weight)
    if known is None or known.version != weight._version:
        _known[weight] = _Known(weight._version)
        return product(x, weight, bias)
    known.calls += 1
    if known.packed is None and known.calls >= PACKED_FROM:
        known.packed = _laid_out(weight.detach())
    return _by_onednn(x, weight if known.packed is None else known.packed, bias)


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can multiply them as they are: in fp32 on a CPU, without gradients."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == x.dtype == torch.float32
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.is_grad_enabled()
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
