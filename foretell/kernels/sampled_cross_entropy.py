"""Softmax cross-entropy of a linear layer, estimated from a sample of its outputs.

Jean et al. 2015 (arXiv:1412.2007): the softmax's denominator is estimated by importance sampling, from tokens shared by
all rows. With S draws from a proposal q, a token drawn m times stands for m / (S q) tokens; the logarithm of that is
added to its score. A row's own target is exact, and left out of the samples. The estimate of the denominator is
unbiased, and the loss tends to the full one as S grows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from foretell.kernels.cross_entropy import CHUNK
from foretell.kernels.matmul import product


def sampled_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    sampled: Tensor,
    log_stands_for: Tensor,
    chunk: int = CHUNK,
) -> Tensor:
    """Negative log-probability of each target, with an estimated denominator.

    hidden [N, D], weight [V, D], bias [V] or None, targets [N] int64; sampled [S] int64, distinct tokens in rising
    order; log_stands_for [S], the logarithm of how many tokens each stands for. Returns [N] in nats, in fp32 at least.
    Only the rows of the weight's gradient for targets and sampled tokens are written.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    result: Tensor = _SampledCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, sampled, log_stands_for, chunk
    )
    return result


def sampled_cross_entropy_reference(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, sampled: Tensor, log_stands_for: Tensor
) -> Tensor:
    """Reference implementation, with N x V scores."""
    scores = F.linear(hidden, weight, bias)
    others = scores[:, sampled] + log_stands_for
    others = others.masked_fill(sampled == targets[:, None], -torch.inf)  # [N, S]
    own = scores.gather(1, targets[:, None])
    return torch.cat([own, others], 1).logsumexp(1) - own[:, 0]


def _zeros_like(tensor: Tensor) -> Tensor:
    """Zeros; on a CPU from memory that the system zeroes lazily, which is free until it is read."""
    if tensor.device.type != "cpu":
        return torch.zeros_like(tensor)
    blank = np.zeros(tensor.numel() * tensor.element_size(), np.uint8)
    return torch.from_numpy(blank).view(tensor.dtype).view(tensor.shape)


def _parts(rows: int, at_once: int) -> list[slice]:
    """0..rows-1 in parts"""
    return [slice(start, start + at_once) for start in range(0, rows, at_once)]


def _others(hidden: Tensor, of_samples: Tensor, offset: Tensor, at: Tensor, hit: Tensor) -> Tensor:
    """[n, S] scores standing for the other tokens, in fp32 at least; minus infinity for a row's own target."""
    scores = product(hidden, of_samples).to(offset.dtype).add_(offset)
    own = torch.where(hit, -torch.inf, 0.0).to(scores.dtype)
    others: Tensor = scores.scatter_add_(1, at[:, None], own[:, None])
    return others


class _SampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        sampled: Tensor,
        log_stands_for: Tensor,
        chunk: int,
    ) -> Tensor:
        ctx.rows = max(1, chunk // max(1, len(sampled)))
        ctx.shapes = weight, bias
        of_samples, of_targets = (weight[tokens].to(hidden.dtype) for tokens in (sampled, targets))
        offset = log_stands_for if bias is None else log_stands_for + bias[sampled]
        offset = offset if hidden.dtype == torch.float64 else offset.float()
        own = (hidden * of_targets).sum(1, dtype=offset.dtype)  # [N]
        own = own if bias is None else own + bias[targets]
        at = torch.searchsorted(sampled, targets.contiguous()).clamp(max=len(sampled) - 1)  # [N] index if it was drawn
        hit = sampled[at] == targets
        total = [own[:0]]  # [N] logarithm of the denominator, part by part
        for part in _parts(len(hidden), ctx.rows):
            others = _others(hidden[part], of_samples, offset, at[part], hit[part])
            total.append(torch.logaddexp(own[part], others.logsumexp(1)))
        log_total = torch.cat(total)
        ctx.save_for_backward(hidden, of_samples, of_targets, offset, own, log_total, targets, sampled, at, hit)
        return log_total - own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, of_samples, of_targets, offset, own, log_total, targets, sampled, at, hit = ctx.saved_tensors
        weight, bias = ctx.shapes
        scale = upstream[0]  # [N]
        through = (own - log_total).exp() - 1  # [N] gradient of the own score
        grad_hidden = through[:, None].to(hidden.dtype) * of_targets
        scaled = (hidden * scale[:, None]).to(hidden.dtype)  # [N, D]
        grad_samples = torch.zeros_like(of_samples, dtype=offset.dtype)
        grad_offset = torch.zeros_like(offset)
        for part in _parts(len(hidden), ctx.rows):
            others = _others(hidden[part], of_samples, offset, at[part], hit[part])
            grad = others.sub_(log_total[part, None]).exp_()  # [n, S]
            grad_offset.addmv_(grad.t(), scale[part])
            grad = grad.to(hidden.dtype)
            grad_hidden[part] += product(grad, of_samples.t())
            grad_samples += grad.t() @ scaled[part]
        grad_hidden *= scale[:, None]
        grad_weight = grad_bias = None
        if ctx.needs_input_grad[1]:
            grad_weight = _zeros_like(weight)
            grad_weight.index_copy_(0, sampled, grad_samples.to(weight.dtype))
            grad_weight.index_add_(0, targets, (through[:, None] * scaled).to(weight.dtype))
        if bias is not None and ctx.needs_input_grad[2]:
            grad_bias = torch.zeros_like(bias).index_copy_(0, sampled, grad_offset.to(bias.dtype))
            grad_bias.index_add_(0, targets, (through * scale).to(bias.dtype))
        return grad_hidden, grad_weight, grad_bias, None, None, None, None
