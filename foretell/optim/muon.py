"""Muon: the steps of matrices are orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

With g the gradient of a matrix W [r, c], and m its running mean:

    m = momentum * m + (1 - momentum) * g
    u = momentum * m + (1 - momentum) * g              Nesterov's look ahead
    O = u (u^T u)^(-1/2)                               all singular values are set to one, nearly
    W = W - rate * decay * W                           "cautious": only where O and W have the same sign
    W = W - rate * sqrt(max(1, r / c)) * O

The singular values s of u, divided by its norm, go through four polynomials a s + b s^3 + c s^5, each the best
approximation of one where the one before left them (Polar Express, Amsel et al. 2025, arXiv:2505.16932; coefficients
computed by linear programming from 0.003 on). From there on they end within 0.8 and 1.2.

Products are in bf16 on GPUs and in fp32 on CPUs, as bf16 was 20 to 70 times slower on one without instructions for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

POLYNOMIALS = (
    (8.3837, -24.7659, 18.3571),
    (4.0434, -3.0114, 0.5695),
    (3.5056, -2.6267, 0.5257),
    (2.4901, -1.8343, 0.4368),
)
SMALLEST = 0.003
"""singular value, of a matrix of norm 1, from which on the polynomials lead to one"""
MARGIN = 1.01
"""keeps rounding from taking singular values beyond one"""
LONG = 2
"""columns for each row from which on polynomials of the product of a matrix with itself are cheaper"""


class Muon(torch.optim.AdamW):
    """Muon for the groups with `orthogonal = True`, AdamW for the others.

    State of a matrix: `momentum_buffer`, as in `torch.optim.Muon`, and a `step`. A tensor of more dimensions is taken
    as a matrix [r, c], where c are all dimensions but the first.
    """

    def __init__(self, params: Any, lr: float = 0.02, *, momentum: float = 0.95, cautious: bool = False, **adamw: Any):
        super().__init__(params, lr, **adamw)
        for group in self.param_groups:
            group.setdefault("orthogonal", False)
        self.momentum, self.cautious = momentum, cautious

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step on every parameter with a gradient."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                for parameter in group["params"]:
                    if (gradient := parameter.grad) is not None:
                        self._orthogonal_step(parameter, gradient, group["lr"], group["weight_decay"])
        return loss

    def _orthogonal_step(self, parameter: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device="cpu")  # unused; `AdamW.load_state_dict` looks for it
            state["momentum_buffer"] = torch.zeros_like(gradient, memory_format=torch.preserve_format)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - self.momentum)
        update = orthogonal(gradient.lerp(mean, self.momentum).flatten(1)).to(parameter.dtype).view_as(parameter)
        if decay and self.cautious:
            parameter.addcmul_(parameter, update * parameter > 0, value=-rate * decay)
        elif decay:
            parameter.mul_(1 - rate * decay)
        rows, columns = parameter.shape[0], parameter[0].numel()
        parameter.add_(update, alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix [r, c] with its singular values set to one, nearly; those below `SMALLEST` times its norm to less."""
    x = matrix.bfloat16() if matrix.is_cuda else matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    if x.shape[0] > x.shape[1]:
        return orthogonal_wide(x.T).T
    return orthogonal_wide(x)


def orthogonal_wide(x: Tensor) -> Tensor:
    """`orthogonal` for r <= c."""
    x = x / (MARGIN * x.norm()).clamp(min=1e-20)
    if x.shape[1] < LONG * x.shape[0] or x.dtype is torch.bfloat16:
        for a, b, c in POLYNOMIALS:
            square = x @ x.T
            x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
        return x
    # all polynomials are of the product alone: multiply them with each other, and with the matrix once
    square = x @ x.T
    factor: Tensor | None = None
    for number, (a, b, c) in enumerate(POLYNOMIALS):
        polynomial = torch.addmm(square, square, square, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        factor = polynomial if factor is None else polynomial @ factor
        if number + 1 < len(POLYNOMIALS):
            square = polynomial @ square @ polynomial
    assert factor is not None
    return factor @ x
