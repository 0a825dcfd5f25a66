"""Training that is lost: losses and gradients that are not finite, or hopeless."""

from __future__ import annotations

import math

from torch import Tensor, isfinite

from foretell.objectives.objective import Objective


class Diverged(RuntimeError):
    """The loss or a gradient is not finite, or the loss is far above that of a uniform guess."""


def is_lost(objective: Objective, loss: Tensor, norm: Tensor) -> bool:
    """Whether a step must not be taken. Waits for the device."""
    return not (bool(isfinite(loss)) and bool(isfinite(norm)) and float(loss) < largest_loss(objective))


def largest_loss(objective: Objective) -> float:
    """A loss that no working model has: three times that of a uniform guess, and more."""
    return 3 * objective.uniform_loss() + 10


def diverged(objective: Objective, step: int, loss: Tensor, norm: Tensor) -> Diverged:
    """The error for a step that is lost, with its likely cause."""
    name, size = largest_gradient(objective)
    return Diverged(
        f"training diverged at step {step}: loss {float(loss):.4g}, gradient norm {float(norm):.4g}, "
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
