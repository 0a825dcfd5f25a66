"""Dynamic evaluation: a model keeps learning from the text that it has scored.

Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models" (arXiv:1709.07432). A text is
read in segments of n tokens. Each is scored; then the weights take a step along its gradient g, and decay towards the
trained weights theta_0:

    sgd    theta += decay (theta_0 - theta) - learning_rate g
    rms    theta += decay r (theta_0 - theta) - learning_rate g / (MS + epsilon),   r = min(MS / mean(MS), 1 / decay)

MS is the root mean square of each weight's gradient over batches of the training text, in evaluation mode. B rows,
T time steps, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from foretell.config import Config, NonNegative, Positive, Share, Size
from foretell.evaluate.hill_climb import climb
from foretell.evaluate.scoring import NeuralScorer
from foretell.models.backbone import Backbone
from foretell.nn.heads import Head
from foretell.types import IGNORED, Batch, Inputs, Opening, Scores, State, detach

LEARNING_RATES = {"rms": (3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 1e-4), "sgd": (0.025, 0.05, 0.1, 0.2)}
"""learning rates to try first, for a segment of 5; for `rms` the paper's, for `sgd` ours"""
DECAYS = {"rms": (1e-3, 2e-3, 3e-3, 5e-3), "sgd": (0.0, 1e-3, 2e-3)}
"""decays to try first"""
FIRST_DECAY = {"rms": 2e-3, "sgd": 0.0}
STATISTICS_ROWS = 100
"""rows whose gradients are averaged before squaring, as in the published code"""


class DynamicConfig(Config):
    """Dynamic evaluation; settings left unset are tuned on the validation split."""

    rule: Literal["rms", "sgd"] = "rms"
    """how a gradient changes the weights: rms scales the step of each weight by its gradients on the training split"""
    learning_rate: NonNegative | None = None
    decay: Share | None = None
    """fraction of the way back to the trained weights in each step"""
    epsilon: Positive = 2e-5
    """added to the root mean squares (rms)"""
    segment: Size = 5
    """tokens scored between two steps; larger is faster, and adapts later"""
    mean: Literal["tensors", "elements"] = "tensors"
    """mean(MS) in the decay (rms): over the means of all tensors, as in the paper's code, or over all elements; a decay
    for one does not fit the other"""
    statistics: Size = 200_000
    """tokens of the training split for the root mean squares (rms)"""
    tuning: Size = 5_000
    """tokens of the validation split to tune on"""


def weights_of(backbone: Backbone, head: Head) -> list[Tensor]:
    """All weights of a model, shared ones once."""
    return list(nn.ModuleList([backbone, head]).parameters())


def adaptable(backbone: Backbone, head: Head) -> tuple[Backbone, Head]:
    """A trainable copy in evaluation mode; tied weights stay tied."""
    copied = copy.deepcopy(nn.ModuleList([backbone, head])).eval().requires_grad_(True)
    return copied[0], copied[1]  # type: ignore[return-value]


def part_of(inputs: Inputs, begin: int, end: int) -> Inputs:
    """The time steps from `begin` to `end` of a window."""
    lengths = None if inputs.lengths is None else (inputs.lengths - begin).clamp(0, end - begin)
    cut = {
        name: value[:, begin:end]
        for name in ("tokens", "positions", "documents", "segments")
        if (value := getattr(inputs, name)) is not None
    }
    return replace(inputs, **cut, lengths=lengths, fresh=inputs.fresh if begin == 0 else None)


def gradients(
    backbone: Backbone, head: Head, weights: list[Tensor], inputs: Inputs, targets: Tensor, state: State, count: int
) -> tuple[Tensor, Tensor, State, list[Tensor]]:
    """A segment [B, n] -> logp [B, n], vectors [B, n, D], the new state, gradients of (sum of losses / `count`)."""
    with torch.enable_grad():
        hidden = backbone(inputs, state)
        flat = targets.flatten()
        where = (flat != IGNORED).nonzero()[:, 0]
        nll = head.nll(hidden.last.flatten(0, 1)[where], flat[where])
        gradient: list[Tensor] = []
        if len(where):
            gradient = list(torch.autograd.grad(nll.sum() / count, weights, materialize_grads=True))
    logp = torch.zeros(flat.shape, dtype=torch.float64, device=flat.device)
    logp[where] = -nll.detach().double()
    return logp.view(targets.shape), hidden.last.detach(), detach(hidden.state), gradient


def root_mean_squares(
    backbone: Backbone, head: Head, batches: Iterable[Batch], device: torch.device
) -> tuple[list[Tensor], int]:
    """sqrt(mean over batches of g^2) for each weight, g the gradient of a batch's mean loss; and the token count."""
    backbone, head = adaptable(backbone, head)
    weights = weights_of(backbone, head)
    squares = [torch.zeros_like(weight) for weight in weights]
    state: State = None
    seen, tokens = 0, 0
    for batch in batches:
        count = int((batch.targets != IGNORED).sum())
        batch = batch.to(device)
        _, _, state, gradient = gradients(backbone, head, weights, batch.inputs, batch.targets, state, count)
        torch._foreach_addcmul_(squares, gradient, gradient)
        seen, tokens = seen + 1, tokens + count
    torch._foreach_div_(squares, seen)
    torch._foreach_sqrt_(squares)
    return squares, tokens


class DynamicScorer(NeuralScorer):
    """A neural scorer that learns from each segment after scoring it; it gives no ranks.

    It trains a copy; the given model never changes. A state of None, or rows that are all fresh, restore the trained
    weights. Rows of a batch share the weights and learn from the mean gradient, so they are not `independent`. A
    segment ends with its window at the latest; a short one weighs less, in proportion. `next` does not learn.
    """

    independent = False

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        config: DynamicConfig,
        squares: Sequence[Tensor] | None = None,
        *,
        opening: Opening | None = None,
    ) -> None:
        """`config` needs learning rate and decay, the rule rms also `squares` from `root_mean_squares`."""
        assert config.learning_rate is not None and config.decay is not None
        self.trained = weights_of(backbone, head)
        super().__init__(*adaptable(backbone, head), ranks=False, opening=opening)
        self.weights = weights_of(self.backbone, self.head)
        self.segment = config.segment
        if config.rule == "sgd":
            self.pull: float | list[Tensor] = config.decay
            self.push: float | list[Tensor] = config.learning_rate
            return
        if squares is None:
            raise ValueError("the rule rms needs the root mean squares of the gradients")
        mean = mean_of(squares, config.mean)
        decay, learning_rate, epsilon = config.decay, config.learning_rate, config.epsilon
        self.pull = [(decay * square / mean).clamp(max=1) for square in squares]
        self.push = [learning_rate / (square + epsilon) for square in squares]

    @torch.no_grad()
    def restart(self) -> None:
        """Restore the trained weights."""
        torch._foreach_copy_(self.weights, self.trained)

    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        logps, vectors = [], []
        for logp, vector, after in self._segments(inputs, targets, state):
            state = after
            logps.append(logp)
            vectors.append(vector)
        return Scores(torch.cat(logps, 1), vectors=torch.cat(vectors, 1)), state

    @override
    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        found = []
        for _, vector, after in self._segments(inputs, targets, state):
            state = after
            found.append(self.head.log_probs(vector).detach())
        return torch.cat(found, 1), state

    def _segments(self, inputs: Inputs, targets: Tensor, state: State) -> Iterator[tuple[Tensor, Tensor, State]]:
        """logp [B, n], vectors [B, n, D] and the new state of each segment, before it is learned."""
        if state is None or inputs.all_fresh:
            self.restart()
        rows, steps = targets.shape
        for begin in range(0, steps, self.segment):
            end = min(begin + self.segment, steps)
            logp, vectors, state, gradient = gradients(
                self.backbone,
                self.head,
                self.weights,
                part_of(inputs, begin, end).opened(self.opening),
                targets[:, begin:end],
                state,
                rows * self.segment,
            )
            yield logp, vectors, state
            self.learn(gradient)

    @override
    def read(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        if state is None:
            self.restart()
        return super().read(tokens, state)

    @torch.no_grad()
    def learn(self, gradient: list[Tensor]) -> None:
        """Take a step along the gradient of a segment; empty without targets."""
        if not gradient:
            return
        torch._foreach_lerp_(self.weights, self.trained, self.pull)
        if isinstance(self.push, float):
            torch._foreach_add_(self.weights, gradient, alpha=-self.push)
        else:
            torch._foreach_addcmul_(self.weights, gradient, self.push, value=-1)


def mean_of(squares: Sequence[Tensor], over: str) -> float:
    """The mean over all elements, or over the tensors' means as in the paper's code."""
    if over == "tensors":
        return sum(float(square.double().mean()) for square in squares) / len(squares)
    return sum(float(square.double().sum()) for square in squares) / sum(square.numel() for square in squares)


def tune_dynamic(config: DynamicConfig, loss: Callable[[DynamicConfig], float]) -> DynamicConfig:
    """The settings with those left unset filled in by `climb`: first the learning rate, then the decay.

    The search starts from the published grid (arXiv:1709.07432, its code), scaled by segment / 5; other models may need
    very different values.
    """
    scale = config.segment / 5
    decays = tuple(min(decay * scale, 1.0) for decay in DECAYS[config.rule])
    if config.learning_rate is None:
        first = config.decay if config.decay is not None else min(FIRST_DECAY[config.rule] * scale, 1.0)
        trial = config.model_copy(update={"decay": first})
        ladder = [learning_rate * scale for learning_rate in LEARNING_RATES[config.rule]]
        best = climb(lambda value: loss(trial.model_copy(update={"learning_rate": value})), ladder)
        config = config.model_copy(update={"learning_rate": best})
    if config.decay is None:

        def capped(decay: float) -> float:
            return loss(config.model_copy(update={"decay": decay})) if decay <= 1 else float("inf")

        config = config.model_copy(update={"decay": climb(capped, sorted(set(decays)))})
    return config
