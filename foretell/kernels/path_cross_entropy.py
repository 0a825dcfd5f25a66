"""Cross-entropy of binary decisions along a path through a tree: the loss of hierarchical softmax.

A target is reached by L decisions, each at a node n with a vector w_n, taken with probability sigmoid(s w_n h) for
s = +1 or -1 (Morin and Bengio 2005; Mikolov et al. 2013, section 2.1). Pairs of rows and nodes are computed in chunks.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**22
"""number of elements (pairs x width) computed at once; 16 MiB in fp32"""


def path_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, rows: Tensor, nodes: Tensor, signs: Tensor, chunk: int = CHUNK
) -> Tensor:
    """Sum over a row's decisions of -log sigmoid(sign (w_node h + b_node)).

    hidden [N, D], weight [nodes, D], bias [nodes]; rows, nodes [P] int64 and signs [P] (+1 or -1): pair p is a decision
    of row rows[p]. Returns [N] in nats, in fp32 at least.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    result: Tensor = _PathCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, rows, nodes, signs, max(1, chunk // hidden.shape[1])
    )
    return result


def path_cross_entropy_reference(
    hidden: Tensor, weight: Tensor, bias: Tensor, rows: Tensor, nodes: Tensor, signs: Tensor
) -> Tensor:
    """Reference implementation of the equation."""
    losses = F.softplus(-signs * ((hidden[rows] * weight[nodes]).sum(1) + bias[nodes]))
    return losses.new_zeros(len(hidden)).index_add(0, rows, losses)


class _PathCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        nodes: Tensor,
        signs: Tensor,
        at_once: int,
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        scores = []
        for r, n in zip(rows.split(at_once), nodes.split(at_once), strict=True):
            scores.append((hidden[r] * weight[n].to(hidden.dtype)).sum(1, dtype=wide) + bias[n])
        against = (
            torch.cat(scores) * -signs if scores else bias.new_zeros(0)
        )  # [P] the score against each decision taken
        ctx.save_for_backward(hidden, weight, bias, rows, nodes, signs, against)
        ctx.at_once = at_once
        return hidden.new_zeros(len(hidden), dtype=wide).index_add_(0, rows, F.softplus(against.to(wide)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, rows, nodes, signs, against = ctx.saved_tensors
        through = -signs * against.sigmoid() * upstream[0][rows]  # [P] gradient of w_node h + b_node
        grad_hidden = torch.zeros_like(hidden, dtype=through.dtype)
        grad_weight = torch.zeros_like(weight)
        for r, n, g in zip(*(tensor.split(ctx.at_once) for tensor in (rows, nodes, through)), strict=True):
            grad_hidden.index_add_(0, r, (g[:, None] * weight[n]).to(through.dtype))
            grad_weight.index_add_(0, n, (g[:, None] * hidden[r]).to(weight.dtype))
        grad_bias = torch.zeros_like(bias).index_add_(0, nodes, through.to(bias.dtype))
        return grad_hidden.to(hidden.dtype), grad_weight, grad_bias, None, None, None, None
