"""Softmax cross-entropy of a linear layer, without ever holding all N x V scores.

The scores of a vocabulary are the largest tensor of a language model by far. Here they exist for one chunk of rows at
a time: the forward pass keeps N losses, the backward pass makes a chunk's scores again and turns them into the gradient
in place. When all rows fit in one chunk its scores are kept instead of made twice.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 2**24
"""How many scores (rows x vocabulary) may exist at once; 64 MiB in fp32."""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int = CHUNK
) -> Tensor:
    """Negative log-probability of each target under softmax(hidden @ weight.T + bias).

    hidden [N, D], weight [V, D], bias [V] or None, targets [N] int64 in 0..V-1; returns [N] in nats, in fp32 at least.
    Scores are computed in hidden's dtype, sums over the vocabulary in fp32 (float64 stays float64).
    """
    if torch.is_autocast_enabled(hidden.device.type):
        lower = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(lower), weight.to(lower)
        bias = None if bias is None else bias.to(lower)
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
        nll, log_probs = [], None
        for h, y in zip(hidden.split(rows), targets.split(rows), strict=True):
            log_probs = _scores(h, weight, bias).log_softmax(1)  # [n, V]
            nll.append(-log_probs.gather(1, y[:, None])[:, 0])
        ctx.rows = rows
        ctx.kept = log_probs if len(nll) == 1 and any(ctx.needs_input_grad) else None
        ctx.save_for_backward(hidden, weight, bias, targets)
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        scale = upstream[0].to(hidden.dtype)  # [N]
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(hidden), ctx.rows):
            part = slice(start, start + ctx.rows)
            if ctx.kept is not None:
                grad, ctx.kept = ctx.kept.exp_(), None  # used up: the gradient overwrites it
            else:
                grad = _scores(hidden[part], weight, bias).log_softmax(1).exp_()
            rows = torch.arange(len(grad), device=grad.device)
            grad[rows, targets[part]] -= 1
            grad = grad.to(hidden.dtype)  # [n, V] gradient of each row's own loss
            # note: scaling rows of width D instead of V saves a pass over the largest tensor
            if grad_hidden is not None:
                torch.mm(grad, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight.addmm_(grad.t(), hidden[part] * scale[part, None])
            if grad_bias is not None:
                grad_bias.addmv_(grad.t(), scale[part])
        if grad_hidden is not None:
            grad_hidden *= scale[:, None]
        return grad_hidden, grad_weight, grad_bias, None, None
