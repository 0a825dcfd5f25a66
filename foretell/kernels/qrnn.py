"""A window of a QRNN layer (Bradbury, Merity, Xiong and Socher 2017, arXiv:1611.01576).

One product with the inputs has all learned weights; the rest is elementwise. On a CPU its cost is memory traffic, so
gates are activated in place, pooled and back-propagated in blocks of time that fit in the cache, and the gradients of
all gates share a buffer, so that the gradient of the weight is one product.

T time steps, B rows, K inputs per step, H hidden; G gates in the order z, f, o, i: two for f-pooling, three for
fo-pooling, four for ifo-pooling.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from foretell.kernels.matmul import product
from foretell.kernels.scan import backward_steps, linear_scan, step_blocks

_through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
_through_tanh = torch.ops.aten.tanh_backward.grad_input

Zone = Tensor | float | None


def qrnn(
    inputs: Tensor, c: Tensor, weight: Tensor, bias: Tensor, *, zone: Zone = None, tanh: bool = False
) -> tuple[Tensor, Tensor]:
    """All steps of a layer: inputs [T, B, K], T > 0, state c [B, H] -> outputs [T, B, H] and the final state.

    The sizes of weight [G H, K] and bias [G H] determine the pooling. `zone` is the share of the previous state that is
    kept regardless of the gates (zoneout): 0 or 1, [T, B, H], in training, the mean in evaluation. `tanh`: outputs are
    o * tanh(c) instead of o * c. Differentiable once.
    """
    fused = inputs.device.type == "cpu" and not torch.compiler.is_compiling()
    narrow = torch.is_autocast_enabled(inputs.device.type) or inputs.dtype not in (torch.float32, torch.float64)
    if fused and not narrow and inputs.dtype == c.dtype == weight.dtype:
        outputs, last = _QRNN.apply(inputs, c, weight, bias, zone, tanh)  # type: ignore[no-untyped-call]
        return outputs, last
    z, f, *rest = F.linear(inputs, weight, bias).unflatten(-1, (-1, c.shape[1])).unbind(2)  # each [T, B, H]
    f = f.sigmoid()
    write = rest[1].sigmoid() if len(rest) == 2 else 1 - f
    if zone is not None:
        f, write = f + zone * (1 - f), write - zone * write
    cells = linear_scan(f, write * z.tanh(), c)
    outputs = rest[0].sigmoid() * (cells.tanh() if tanh else cells) if rest else cells
    return outputs, cells[-1]


def qrnn_reference(
    inputs: Tensor, c: Tensor, weight: Tensor, bias: Tensor, *, zone: Zone = None, tanh: bool = False
) -> tuple[Tensor, Tensor]:
    """Reference implementation of the equations, step by step."""
    outputs = []
    for t, x in enumerate(inputs):
        z, f, *rest = F.linear(x, weight, bias).chunk(len(weight) // c.shape[1], dim=1)
        i = rest[1].sigmoid() if len(rest) == 2 else 1 - f.sigmoid()
        after = f.sigmoid() * c + i * z.tanh()
        if zone is not None:
            stays = zone[t] if isinstance(zone, Tensor) else zone
            after = stays * c + (1 - stays) * after
        c = after
        outputs.append(rest[0].sigmoid() * (c.tanh() if tanh else c) if rest else c)
    return torch.stack(outputs), c


class _QRNN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, c: Tensor, weight: Tensor, bias: Tensor, zone: Zone, tanh: bool
    ) -> tuple[Tensor, Tensor]:
        (steps, rows), width = inputs.shape[:2], c.shape[1]
        gates = product(inputs.reshape(steps * rows, -1), weight, bias).view(steps, rows, -1, width)
        z, f, *rest = gates.unbind(2)  # each [T, B, H]; `gates` is activated in place
        cells = c.new_empty(steps + 1, rows, width)
        cells[0] = cell = c
        outputs = torch.empty_like(cells[1:]) if rest else cells[1:]
        for block in step_blocks(steps, gates[0].numel()):
            z[block].tanh_()
            gates[block, :, 1:].sigmoid_()
            states = cells[1:][block]
            if len(rest) == 2:
                torch.mul(rest[1][block], z[block], out=states)
            for t in range(block.start, block.stop):
                before, cell = cell, cells[t + 1]
                if len(rest) == 2:
                    cell.addcmul_(f[t], before)
                else:
                    torch.lerp(z[t], before, f[t], out=cell)
                if zone is not None:
                    cell.lerp_(before, zone[t] if isinstance(zone, Tensor) else zone)
            if rest:
                torch.mul(rest[0][block], states.tanh() if tanh else states, out=outputs[block])
        ctx.zone, ctx.tanh = zone, tanh
        ctx.save_for_backward(inputs, weight, gates, cells)
        return outputs, cell.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, gates, cells = ctx.saved_tensors
        steps, rows = gates.shape[:2]
        grad_gates = torch.empty_like(gates)  # [T, B, G, H]
        carry = upstream[1]  # [B, H] gradient of the state from the next step
        for block in reversed(list(step_blocks(steps, gates[0].numel()))):
            zone = ctx.zone[block] if isinstance(ctx.zone, Tensor) else ctx.zone
            before, after = cells[:-1][block], cells[1:][block]
            z, f, *rest = gates[block].unbind(2)
            grad_z, grad_f, *grad_rest = grad_gates[block].unbind(2)
            grad = upstream[0][block]
            if rest:
                squashed = after.tanh() if ctx.tanh else after
                _through_sigmoid(grad * squashed, rest[0], grad_input=grad_rest[0])
                grad = grad * rest[0]
                grad = torch.ops.aten.tanh_backward(grad, squashed) if ctx.tanh else grad
            stays = f if zone is None else f + zone * (1 - f)
            grad = torch.empty_like(after).copy_(grad) if not rest else grad  # [t, B, H] of the state after each step
            carry = backward_steps(stays, grad, grad, carry)
            written = grad if zone is None else grad - zone * grad  # of the update by the gates
            if len(rest) == 2:
                _through_tanh(written * rest[1], z, grad_input=grad_z)
                _through_sigmoid(written * before, f, grad_input=grad_f)
                _through_sigmoid(written * z, rest[1], grad_input=grad_rest[1])
            else:
                _through_tanh(written - written * f, z, grad_input=grad_z)
                _through_sigmoid((before - z).mul_(written), f, grad_input=grad_f)
        flat = grad_gates.view(steps * rows, -1)
        wanted = ctx.needs_input_grad
        grad_inputs = product(flat, weight.t()).view_as(inputs) if wanted[0] else None
        grad_weight = flat.t() @ inputs.reshape(steps * rows, -1) if wanted[2] else None
        return grad_inputs, carry, grad_weight, flat.sum(0) if wanted[3] else None, None, None
