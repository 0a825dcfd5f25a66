"""Softmax cross-entropy of a linear layer, without materialising all N x V scores.

The scores are by far the largest tensor of a language model. Here they exist for one chunk of rows at a time: the
forward pass keeps N losses, the backward pass recomputes a chunk's scores and turns them into the gradient in place. Up
to `KEPT` chunks of scores are kept instead of recomputed; on a CPU, gradients of more chunks are computed in the
forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from foretell.kernels.matmul import product

CHUNK = 2**25
"""number of scores (rows x vocabulary) computed at once; 128 MiB in fp32"""
KEPT = 2
"""number of chunks that may be kept between the passes"""
BLOCK = 2**22
"""number of elements of a product in lower precision computed at once; 8 MiB"""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int = CHUNK
) -> Tensor:
    """Negative log-probability of each target under softmax(hidden @ weight.T + bias).

    hidden [N, D], weight [V, D], bias [V] or None, targets [N] int64 in 0..V-1; returns [N] in nats, in fp32 at least.
    Scores are computed in hidden's dtype, or autocast's, sums over the vocabulary in fp32 (float64 stays float64).
    Gradients of weight and bias are summed over the chunks in the dtype of weight and bias.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    result: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, chunk, torch.is_grad_enabled()
    )
    return result


def linear_cross_entropy_reference(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Reference implementation, with N x V scores."""
    return F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="none")


def _log_probs(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[n, V], in fp32 at least, for accurate exponentials and sums."""
    scores = product(hidden, weight, bias)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return torch.log_softmax(scores, 1, out=scores)


class _Gradients:
    """Gradients of a weighted sum of losses over rows, accumulated part by part, as far as needed."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, wanted: Any):
        self.hidden = torch.empty_like(hidden) if wanted[0] else None  # [N, D] of each row's own loss
        self.weight = torch.zeros_like(weight, dtype=dtype) if wanted[1] else None  # [V, D]
        wide = torch.promote_types(hidden.dtype, torch.float32)
        self.bias = hidden.new_zeros(len(weight), dtype=wide) if bias is not None and wanted[2] else None  # [V]

    def add(
        self, part: Any, hidden: Tensor, targets: Tensor, weight: Tensor, log_probs: Tensor, factor: Tensor
    ) -> None:
        """Add the rows `part` with their `factor` [n]; log_probs [n, V] are overwritten."""
        grad = log_probs.exp_()
        grad[torch.arange(len(grad), device=grad.device), targets] -= 1
        if self.bias is not None:
            self.bias.addmv_(grad.t(), factor)
        grad = grad.to(hidden.dtype)  # [n, V] gradient of each row's own loss
        # note: scaling rows of width D instead of V saves a pass over the largest tensor
        if self.hidden is not None:
            self.hidden[part] = product(grad, weight.t())
        if self.weight is not None:
            _add_product(self.weight, grad.t(), (hidden * factor[:, None]).to(hidden.dtype))

    def multiply(self, factor: Tensor) -> None:
        """Multiply the sums by a factor common to all rows."""
        for total in (self.weight, self.bias):
            if total is not None:
                total *= factor


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int, training: bool
    ) -> Tensor:
        ctx.rows = max(1, chunk // weight.shape[0])
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        weight, bias = weight.to(hidden.dtype), None if bias is None else bias.to(hidden.dtype)
        training = training and any(ctx.needs_input_grad)
        keep = training and len(hidden) <= KEPT * ctx.rows
        # note: on a CPU recomputing scores is expensive; losses are summed with one factor for nearly all rows, so
        # gradients are computed here, and the backward pass corrects rows with another factor
        at_once = training and not keep and hidden.device.type == "cpu"
        ctx.kept, ctx.gradients = [], None
        if at_once:
            ctx.gradients = _Gradients(hidden, weight, bias, ctx.dtypes[0], ctx.needs_input_grad)
        nll: list[Tensor] = []
        for start in range(0, max(1, len(hidden)), ctx.rows):
            part = slice(start, start + ctx.rows)
            log_probs = _log_probs(hidden[part], weight, bias)  # [n, V]
            nll.append(-log_probs.gather(1, targets[part, None])[:, 0])
            if keep:
                ctx.kept.append(log_probs)
            if at_once:
                ctx.gradients.add(part, hidden[part], targets[part], weight, log_probs, torch.ones_like(nll[-1]))
            del log_probs  # before the next is computed
        ctx.save_for_backward(hidden, weight, bias, targets)
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        scale = upstream[0]  # [N] not rounded to hidden's dtype, as it scales all gradients
        gradients, ctx.gradients = ctx.gradients, None  # used once, like `kept`
        parts: Any = [slice(start, start + ctx.rows) for start in range(0, len(hidden), ctx.rows)]
        factor = scale
        if gradients is None:
            gradients = _Gradients(hidden, weight, bias, ctx.dtypes[0], ctx.needs_input_grad)
        else:
            common = scale.median()
            gradients.multiply(common)
            factor = scale - common
            others = factor.nonzero()[:, 0]
            parts = others.split(ctx.rows) if len(others) else ()
        for part in parts:
            log_probs = ctx.kept.pop(0) if ctx.kept else _log_probs(hidden[part], weight, bias)
            gradients.add(part, hidden[part], targets[part], weight, log_probs, factor[part])
            del log_probs
        if gradients.hidden is not None:
            gradients.hidden *= scale[:, None]
        if gradients.bias is not None:
            gradients.bias = gradients.bias.to(ctx.dtypes[1])
        return gradients.hidden, gradients.weight, gradients.bias, None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total [V, D] += left [V, n] @ right [n, D], accumulated in the dtype of `total`.

    Summing many chunks in bf16 would lose everything below a 256th of the sum. No second [V, D] is allocated.
    """
    if total.dtype == left.dtype:
        total.addmm_(left, right)
        return
    height = max(1, BLOCK // total.shape[1])
    for rows, part in zip(total.split(height), left.split(height), strict=True):
        rows += part @ right
