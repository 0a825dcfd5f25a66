"""A window of a multiplicative LSTM layer (Krause et al. 2016, arXiv:1609.07959).

    m_t = (W_mx x_t) * (W_mh h_t-1)        i, f, g, o = W_x x_t + W_m m_t + b
    c_t = s(f) c_t-1 + s(i) tanh(g)        h_t = s(o) tanh(c_t)

A step is two dependent products. Only these are in the loop: as in `kernels.lstm`, the products with the inputs come
before it, all gradients of weights after it, and oneDNN reorders the weights once per window on a CPU. On other devices
nothing in the loop waits for the host, so that a graph can capture it.

T time steps, B rows, I inputs, H hidden; gates in torch's order (in the code of arXiv:1704.01444 it is i, f, o, g).
Weights are stacked: W_x on W_mx, and W_m on W_mh.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from foretell.kernels.lstm import advance, retreat, slopes
from foretell.kernels.matmul import product, repeated_product


def mlstm(
    inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps of a layer: inputs [T, B, I], T > 0, state h and c [B, H] -> outputs [T, B, H] and the final state.

    weight_ih [5H, I], weight_hh [5H, H], bias [4H]. Differentiable once. c may have higher precision than the rest.
    """
    outputs, h, c = _MLSTM.apply(inputs, h, c, weight_ih, weight_hh, bias)  # type: ignore[no-untyped-call]
    return outputs, h, c


def mlstm_reference(
    inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Reference implementation of the equations, step by step."""
    width = h.shape[1]
    (w_x, w_mx), (w_m, w_mh) = weight_ih.split([4 * width, width]), weight_hh.split([4 * width, width])
    outputs = []
    for x in inputs:
        m = F.linear(x, w_mx) * F.linear(h, w_mh)
        i, f, g, o = (F.linear(x, w_x) + F.linear(m, w_m) + bias).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs), h, c


class _MLSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (steps, rows), width = inputs.shape[:2], weight_hh.shape[1]
        (w_x, w_mx), (w_m, w_mh) = (weight.split([4 * width, width]) for weight in (weight_ih, weight_hh))
        flat = inputs.reshape(steps * rows, -1)
        gates = product(flat, w_x, bias).view(steps, rows, 4, width)
        of_inputs = product(flat, w_mx).view(steps, rows, width)  # the first factor of m
        outputs, cells = h.new_empty(steps, rows, width), c.new_empty(steps, rows, width)
        to_factor, to_gates = repeated_product(w_mh, steps), repeated_product(w_m, steps)
        before, cell = h.contiguous(), c
        factors = []
        parts = [part.unbind() for part in (gates, of_inputs, outputs, cells)]
        for gate, of_input, output, after in zip(*parts, strict=True):
            factors.append(to_factor(before))  # [B, H] the second factor
            gate += to_gates(of_input * factors[-1]).view_as(gate)  # [B, 4, H]
            before, cell = advance(gate, cell, after, output)
        if any(ctx.needs_input_grad):
            saved = gates, of_inputs, torch.stack(factors), cells, outputs
            ctx.save_for_backward(inputs, h, c, weight_ih, weight_hh, *saved)
        return outputs, before.clone(), cell.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs, h, c, weight_ih, weight_hh, gates, of_inputs, of_states, cells, outputs = ctx.saved_tensors
        (steps, rows), width = inputs.shape[:2], weight_hh.shape[1]
        w_m, w_mh = weight_hh.split([4 * width, width])
        grad_gates, to_cell = slopes(gates, c, cells)
        grad_m, grad_of_states = torch.empty_like(of_inputs), torch.empty_like(of_states)
        from_factor, from_gates = (repeated_product(weight.t(), steps) for weight in (w_mh, w_m))
        grad_h, grad_c = upstream[1].clone(), upstream[2].clone()
        parts = (grad_gates, upstream[0], to_cell, gates[:, :, 1], of_inputs, grad_m, grad_of_states)
        for step in reversed(list(zip(*(part.unbind() for part in parts), strict=True))):
            gate, grad_output, slope, forget, of_input, at_m, at_factor = step
            grad_h += grad_output
            retreat(gate, slope, forget, grad_h, grad_c)
            at_m.copy_(from_gates(gate.view(rows, 4 * width)))
            grad_h = from_factor(torch.mul(at_m, of_input, out=at_factor))
        at_gates, at_states = grad_gates.view(steps * rows, -1), grad_of_states.view(steps * rows, -1)
        at_inputs = grad_m.mul_(of_states).view(steps * rows, -1)  # gradient of the first factor
        wanted = ctx.needs_input_grad
        grad_inputs = grad_ih = grad_hh = None
        if wanted[0]:
            w_x, w_mx = weight_ih.split([4 * width, width])
            grad_inputs = product(at_gates, w_x.t()).add_(product(at_inputs, w_mx.t())).view_as(inputs)
        if wanted[3]:
            grad_ih = torch.empty_like(weight_ih)
            flat = inputs.reshape(steps * rows, -1)
            torch.mm(at_gates.t(), flat, out=grad_ih[: 4 * width])
            torch.mm(at_inputs.t(), flat, out=grad_ih[4 * width :])
        if wanted[4]:
            grad_hh = torch.empty_like(weight_hh)
            torch.mm(at_gates.t(), (of_inputs * of_states).view(steps * rows, -1), out=grad_hh[: 4 * width])
            torch.mm(at_states[:rows].t(), h, out=grad_hh[4 * width :])
            grad_hh[4 * width :].addmm_(at_states[rows:].t(), outputs[:-1].view(-1, width))
        return grad_inputs, grad_h, grad_c, grad_ih, grad_hh, at_gates.sum(0) if wanted[5] else None
