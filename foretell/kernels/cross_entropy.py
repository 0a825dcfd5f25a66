"""Softmax cross-entropy of a linear layer, without ever holding all N x V scores.

The scores of a vocabulary are the largest tensor of a language model by far. Here they exist for one chunk of rows at
a time: the forward pass keeps the log-normaliser of each row (N numbers), the backward pass makes a chunk's scores
again and turns them into the gradient in place. When all rows fit in one chunk its scores are kept instead of made
twice.
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
        lse, picked, scores = [], [], None
        for h, y in zip(hidden.split(rows), targets.split(rows), strict=True):
            scores = _scores(h, weight, bias)  # [n, V]
            picked.append(scores.gather(1, y[:, None])[:, 0])
            lse.append(torch.logsumexp(scores, dim=1))
        normaliser = torch.cat(lse) if lse else hidden.new_zeros(0)
        kept = scores if len(lse) == 1 and any(ctx.needs_input_grad) else None
        ctx.rows, ctx.kept = rows, kept
        ctx.save_for_backward(hidden, weight, bias, targets, normaliser)
        return normaliser - torch.cat(picked) if picked else normaliser

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normaliser = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for start in range(0, len(hidden), ctx.rows):
            part = slice(start, start + ctx.rows)
            scores = ctx.kept if ctx.kept is not None else _scores(hidden[part], weight, bias)
            ctx.kept = None  # used up below: the gradient overwrites it
            grad = scores.sub_(normaliser[part, None]).exp_()  # softmax
            rows = torch.arange(len(grad), device=grad.device)
            grad[rows, targets[part]] -= 1
            grad = grad.mul_(upstream[0][part, None]).to(hidden.dtype)  # [n, V]
            if grad_hidden is not None:
                torch.mm(grad, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight.addmm_(grad.t(), hidden[part])
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        return grad_hidden, grad_weight, grad_bias, None, None
