"""Softmax cross-entropy of a linear layer, without ever holding all N x V scores.

The scores of a vocabulary are the largest tensor of a language model by far. Here they exist for one chunk of rows at
a time: the forward pass keeps N losses, the backward pass makes a chunk's scores again and turns them into the gradient
in place. When there are no more than `KEPT` chunks their scores are kept instead of made twice.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 2**24
"""How many scores (rows x vocabulary) are worked on at once; 64 MiB in fp32."""
KEPT = 4
"""How many chunks may be kept between the passes."""
BLOCK = 2**22
"""How many numbers of a product in lower precision may exist at once; 8 MiB."""


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
    result: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, chunk)  # type: ignore[no-untyped-call]
    return result


def linear_cross_entropy_reference(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """The same in one line, holding N x V."""
    return F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="none")


def _scores(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[n, V] in fp32 or wider, so that exponentials and sums are exact enough."""
    scores = F.linear(hidden, weight, bias)
    return scores if scores.dtype == torch.float64 else scores.float()


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int) -> Tensor:
        rows = max(1, chunk // weight.shape[0])
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        weight, bias = weight.to(hidden.dtype), None if bias is None else bias.to(hidden.dtype)
        nll: list[Tensor] = []
        ctx.rows, ctx.kept = rows, []
        keep = any(ctx.needs_input_grad) and len(hidden) <= KEPT * rows
        for h, y in zip(hidden.split(rows), targets.split(rows), strict=True):
            log_probs = _scores(h, weight, bias).log_softmax(1)  # [n, V]
            nll.append(-log_probs.gather(1, y[:, None])[:, 0])
            if keep:
                ctx.kept.append(log_probs)
        ctx.save_for_backward(hidden, weight, bias, targets)
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        scale = upstream[0]  # [N] not rounded to hidden's dtype: it is a factor on all gradients
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=ctx.dtypes[0]) if ctx.needs_input_grad[1] else None
        grad_bias = scale.new_zeros(len(bias)) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(hidden), ctx.rows):
            part = slice(start, start + ctx.rows)
            # note: what was kept is used up, as the gradient overwrites it
            log_probs = ctx.kept.pop(0) if ctx.kept else _scores(hidden[part], weight, bias).log_softmax(1)
            grad = log_probs.exp_()
            rows = torch.arange(len(grad), device=grad.device)
            grad[rows, targets[part]] -= 1
            if grad_bias is not None:
                grad_bias.addmv_(grad.t(), scale[part])
            grad = grad.to(hidden.dtype)  # [n, V] gradient of each row's own loss
            # note: scaling rows of width D instead of V saves a pass over the largest tensor
            if grad_hidden is not None:
                torch.mm(grad, weight, out=grad_hidden[part])
            if grad_weight is not None:
                _add_product(grad_weight, grad.t(), (hidden[part] * scale[part, None]).to(hidden.dtype))
        if grad_hidden is not None:
            grad_hidden *= scale[:, None]
        if grad_bias is not None:
            grad_bias = grad_bias.to(ctx.dtypes[1])
        return grad_hidden, grad_weight, grad_bias, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total [V, D] += left [V, n] @ right [n, D], in the precision of `total` where that of the product is lower.

    Many chunks summed up in bf16 would lose all that is below a 256th of the sum. No second [V, D] is made.
    """
    if total.dtype == left.dtype:
        total.addmm_(left, right)
        return
    height = max(1, BLOCK // total.shape[1])
    for rows, part in zip(total.split(height), left.split(height), strict=True):
        rows += part @ right
