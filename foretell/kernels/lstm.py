"""A window of an LSTM layer on a CPU, faster than the library for large recurrent weights.

A batch has few rows, so the cost of a step's recurrent product is reading its weight. oneDNN reorders the weight once
per window for the forward pass and once for the backward pass. Everything that does not depend on the previous step,
the products with the inputs and all gradients of weights, is one product over the window.

T time steps, B rows, I inputs, H hidden; gates i, f, g, o in torch's order (Hochreiter and Schmidhuber 1997; Gers et
al. 2000).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from foretell.kernels.matmul import product, repeated_product

LARGE = 2**22
"""number of recurrent weights (4 H H, so H = 1024) from which on this kernel is reliably faster"""

# note: the backward kernels of torch.sigmoid and torch.tanh: a gradient times s (1 - s), or times 1 - t^2
_through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
_through_tanh = torch.ops.aten.tanh_backward.grad_input


def lstm(
    inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps of a layer: inputs [T, B, I], T > 0, state h and c [B, H] -> outputs [T, B, H] and the final state.

    weight_ih [4H, I], weight_hh [4H, H], bias [4H], which is the sum of torch's two. Differentiable once.
    """
    outputs, h, c = _LSTM.apply(inputs, h, c, weight_ih, weight_hh, bias)  # type: ignore[no-untyped-call]
    return outputs, h, c


def lstm_reference(
    inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Reference implementation of the equations, step by step."""
    outputs = []
    for x in inputs:
        i, f, g, o = (F.linear(x, weight_ih, bias) + F.linear(h, weight_hh)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs), h, c


def is_faster(inputs: Tensor, weight_hh: Tensor) -> bool:
    """Whether `lstm` beats torch.lstm for inputs [T, B, I]: several rows, a large layer, fp32 on a CPU with oneDNN."""
    return (
        inputs.device.type == "cpu"
        and inputs.dtype == torch.float32
        and inputs.shape[1] > 1
        and weight_hh.numel() >= LARGE
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()
    )


def advance(gate: Tensor, cell: Tensor, after: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Write a step to `output` and `after` and return them; activates `gate` [B, 4, H] in place."""
    i, f, g, o = gate.unbind(1)
    gate[:, :2].sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, cell, out=after).addcmul_(i, g)
    return torch.tanh(after, out=output).mul_(o), after


def slopes(gates: Tensor, c: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Local derivatives for the backward pass, from activated gates [T, B, 4, H], cells and the initial cell.

    Returns the factors from the gradients of cell and output to those of the gates [T, B, 4, H], and from an output's
    to the cell's [T, B, H].
    """
    i, f, g, o = gates.unbind(2)
    tanh = cells.tanh()
    to_cell = _through_tanh(o, tanh, grad_input=torch.empty_like(tanh))
    to_gates = torch.empty_like(gates)
    to_i, to_f, to_g, to_o = to_gates.unbind(2)
    _through_sigmoid(g, i, grad_input=to_i)
    _through_sigmoid(c, f[0], grad_input=to_f[0])
    _through_sigmoid(cells[:-1], f[1:], grad_input=to_f[1:])
    _through_tanh(i, g, grad_input=to_g)
    _through_sigmoid(tanh, o, grad_input=to_o)
    return to_gates, to_cell


def retreat(gate: Tensor, slope: Tensor, forget: Tensor, grad_h: Tensor, grad_c: Tensor) -> None:
    """A backward step: turn `gate` [B, 4, H] from derivatives into gradients, `grad_c` into the previous cell's."""
    grad_c.addcmul_(grad_h, slope)
    gate[:, 3] *= grad_h
    gate[:, :3] *= grad_c[:, None]
    grad_c *= forget


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (steps, rows), width = inputs.shape[:2], weight_hh.shape[1]
        gates = product(inputs.reshape(steps * rows, -1), weight_ih, bias).view(steps, rows, 4, width)
        outputs, cells = h.new_empty(steps, rows, width), h.new_empty(steps, rows, width)
        recurrent = repeated_product(weight_hh, steps)
        before, cell = h.contiguous(), c
        for gate, output, after in zip(gates.unbind(), outputs.unbind(), cells.unbind(), strict=True):
            gate += recurrent(before).view_as(gate)  # [B, 4, H]
            before, cell = advance(gate, cell, after, output)
        ctx.save_for_backward(inputs, h, c, weight_ih, weight_hh, gates, cells, outputs)
        return outputs, before.clone(), cell.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs, h, c, weight_ih, weight_hh, gates, cells, outputs = ctx.saved_tensors
        (steps, rows), width = inputs.shape[:2], weight_hh.shape[1]
        grad_gates, to_cell = slopes(gates, c, cells)
        recurrent = repeated_product(weight_hh.t(), steps)
        grad_h, grad_c = upstream[1].clone(), upstream[2].clone()
        parts = [part.unbind() for part in (grad_gates, upstream[0], to_cell, gates[:, :, 1])]
        for gate, grad_output, slope, forget in reversed(list(zip(*parts, strict=True))):
            grad_h += grad_output
            retreat(gate, slope, forget, grad_h, grad_c)
            grad_h = recurrent(gate.view(rows, 4 * width))
        flat = grad_gates.view(steps * rows, 4 * width)
        wanted = ctx.needs_input_grad
        grad_inputs = product(flat, weight_ih.t()).view_as(inputs) if wanted[0] else None
        grad_ih = flat.t() @ inputs.reshape(steps * rows, -1) if wanted[3] else None
        grad_hh = None
        if wanted[4]:
            grad_hh = flat[:rows].t() @ h
            grad_hh.addmm_(flat[rows:].t(), outputs[:-1].view(-1, width))
        return grad_inputs, grad_h, grad_c, grad_ih, grad_hh, flat.sum(0) if wanted[5] else None
