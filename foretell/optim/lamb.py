"""LAMB: Adam with each tensor's step scaled to the tensor's norm (You et al. 2019, arXiv:1904.00962).

With g the gradient of a tensor w, and m and v the running means of g and g^2:

    u = m / (sqrt(v) + epsilon) + decay * w            the update of Adam with decoupled decay
    w = w - rate * |w| / |u| * u                       scaled to the norm of w; unscaled if either norm is zero

Four optimisers of this name differ in five places:

    variant   gradients                          means       epsilon           unscaled
    paper     unchanged                          corrected   after the root    nothing
    google    unchanged                          as is       after the root    parameters exempt from decay
    apex      scaled down to a global norm of 1  corrected   after the root    parameters with zero decay
    nvlamb    divided by their global norm       corrected   inside the root   nothing

These are algorithm 2 of the paper; Google's code for ALBERT; FusedLAMB of NVIDIA's apex; NVIDIA's talks on BERT.
"Corrected" is Adam's correction of the bias towards zero. The global norm is that of all gradients together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Tensors = tuple[Tensor, ...] | list[Tensor]
Variant = Literal["paper", "google", "apex", "nvlamb"]


@dataclass(frozen=True)
class Rule:
    """Rule of a variant; what it leaves unscaled is in the parameter groups, as `scaled`."""

    gradients: Literal["plain", "clipped", "normalised"]
    corrected: bool
    inside: bool
    """epsilon is inside the root"""


RULES: dict[Variant, Rule] = {
    "paper": Rule("plain", corrected=True, inside=False),
    "google": Rule("plain", corrected=False, inside=False),
    "apex": Rule("clipped", corrected=True, inside=False),
    "nvlamb": Rule("normalised", corrected=True, inside=True),
}


class LAMB(torch.optim.Optimizer):
    """LAMB over parameters of any floating type, including sharded ones (`DTensor`).

    All arithmetic and both means are in fp32 at least, whatever the parameters' dtype. State: `step`, `exp_avg` and
    `exp_avg_sq`, named as in torch's Adam. A group with `scaled = False` takes Adam's step unscaled.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        variant: Variant = "paper",
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "scaled": True}
        super().__init__(params, defaults)
        self.rule = RULES[variant]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step on every parameter with a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        divisor = self._divisor()
        for group in self.param_groups:
            for parameters in batched(p for p in group["params"] if p.grad is not None):
                self._update(parameters, group, divisor)
        return loss

    def _divisor(self) -> Tensor | None:
        """Divisor [] of the gradients, if any."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if self.rule.gradients == "plain" or not gradients:
            return None
        norm = norms(gradients).norm()
        return norm.clamp(min=1.0) if self.rule.gradients == "clipped" else torch.where(norm > 0, norm, 1.0)

    def _update(self, parameters: list[nn.Parameter], group: dict[str, Any], divisor: Tensor | None) -> None:
        """One step on parameters of one dtype and device, all at once."""
        weights = [widened(p) for p in parameters]
        updates = self._adam([self._state(p) for p in parameters], gradients_of(parameters, divisor), group)
        torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
        if group["scaled"]:
            torch._foreach_addcmul_(weights, updates, ratios(weights, updates), value=-group["lr"])
        else:
            torch._foreach_add_(weights, updates, alpha=-group["lr"])
        for parameter, weight in zip(parameters, weights, strict=True):
            if weight is not parameter:
                parameter.copy_(weight)

    def _adam(self, states: list[dict[str, Tensor]], gradients: Tensors, group: dict[str, Any]) -> Tensors:
        """Update both means and return m / (sqrt(v) + epsilon) of each parameter, as new tensors."""
        (beta1, beta2), epsilon = group["betas"], group["eps"]
        firsts, seconds = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(firsts, gradients, 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, gradients, gradients, 1 - beta2)
        steps = [float(state["step"].add_(1)) for state in states]  # on the host: no synchronisation
        divisors = torch._foreach_div(seconds, [1 - beta2**step for step in steps] if self.rule.corrected else 1.0)
        if self.rule.inside:
            torch._foreach_add_(divisors, epsilon)
        torch._foreach_sqrt_(divisors)
        if not self.rule.inside:
            torch._foreach_add_(divisors, epsilon)
        if self.rule.corrected:
            torch._foreach_mul_(divisors, [1 - beta1**step for step in steps])
        return torch._foreach_div(firsts, divisors)

    def _state(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """State of a parameter, created at its first step."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device="cpu")
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(widened(parameter)) for _ in range(2))
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Like torch's, but the means keep their dtype, which torch would change to the parameters'."""
        super().load_state_dict(state_dict)
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for parameter, number in zip(group["params"], saved["params"], strict=True):
                for name in ("exp_avg", "exp_avg_sq") if number in state_dict["state"] else ():
                    self.state[parameter][name] = widened(state_dict["state"][number][name].to(parameter.device))


def batched(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Groups to update at once: all of a dtype on an accelerator; single parameters on a CPU, to save memory."""
    alike: dict[Any, list[nn.Parameter]] = {}
    for number, parameter in enumerate(parameters):
        key = number if parameter.device.type == "cpu" else (parameter.device, parameter.dtype)
        alike.setdefault(key, []).append(parameter)
    yield from alike.values()


def gradients_of(parameters: list[nn.Parameter], divisor: Tensor | None) -> Tensors:
    """The gradients in fp32 at least, divided; the parameters' own are unchanged."""
    gradients = tuple(widened(p.grad) for p in parameters if p.grad is not None)
    return gradients if divisor is None else torch._foreach_div(gradients, divisor.to(gradients[0]))


def ratios(weights: Tensors, updates: Tensors) -> Tensors:
    """|w| / |u| [] of each tensor, 1 where either is zero."""
    of_weights, of_updates = norms(weights), norms(updates)
    return torch.where((of_weights > 0) & (of_updates > 0), of_weights / of_updates, 1.0).unbind()


def norms(tensors: Tensors) -> Tensor:
    """[n] norm of each tensor, in fp32 at least."""
    scalars = torch._foreach_norm(tensors, 2, dtype=torch.promote_types(tensors[0].dtype, torch.float32))
    return torch.stack([full_scalar(scalar) for scalar in scalars])


def widened(tensor: Tensor) -> Tensor:
    """The tensor in fp32 at least, without a copy if possible."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_scalar(scalar: Tensor) -> Tensor:
    """A scalar [] as a plain tensor; that of a sharded tensor (`DTensor`) is combined from all shards."""
    if type(scalar) is Tensor:
        return scalar
    from torch.distributed.tensor import DTensor  # a second of imports, for sharded parameters only

    return scalar.full_tensor() if isinstance(scalar, DTensor) else scalar
