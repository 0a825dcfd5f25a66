"""Training that is lost: losses and gradients that are not finite, or hopeless."""

from __future__ import annotations

import math

from torch import Tensor, isfinite

from foretell.objectives.objective import Objective


class Diverged(RuntimeError):
    """The loss or a gradient is not finite, or the loss is far above that of a uniform guess."""


def is_lost(objective: Objective, loss: Tensor, norm: Tensor, first: float = 0.0) -> bool:
    """Whether a step must not be taken; `first` is the loss of the first step. Waits for the device."""
    return not (bool(isfinite(loss)) and bool(isfinite(norm)) and float(loss) < largest_loss(objective, first))


def largest_loss(objective: Objective, first: float = 0.0) -> float:
    """A loss that no working model has: three times that of a uniform guess or of the first step, and more."""
    return 3 * max(objective.uniform_loss(), first) + 10


def diverged(objective: Objective, step: int, loss: Tensor, norm: Tensor, first: float = 0.0) -> Diverged:
    """The error for a step that is lost, with its likely cause."""
    name, size = largest_gradient(objective)
    limit = largest_loss(objective, first)
    bound = f" (limit {limit:.4g}, from Objective.uniform_loss and the first step)" if float(loss) >= limit else ""
    return Diverged(
        f"training diverged at step {step}: loss {float(loss):.4g}{bound}, gradient norm {float(norm):.4g}, "
        f"largest gradient {size:.3g} in {name}; lower optimizer.learning_rate or training.gradient_clip"
    )


def largest_gradient(objective: Objective) -> tuple[str, float]:
    """The parameter with the largest gradient; one that is not finite is larger than any."""
    sizes = {
        name: float(p.grad.abs().max().nan_to_num(math.inf))
        for name, p in objective.named_parameters()
        if p.grad is not None
    }
    return max(sizes.items(), key=lambda item: item[1])
