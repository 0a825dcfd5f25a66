"""Mixtures of models: linear interpolation of their probabilities.

p(w) = sum of weight_m p_m(w) is a scorer like its members. Expectation maximisation finds the weights that give a
held-out text the highest probability (Jelinek and Mercer 1980), from the members' log-probabilities of each token; the
models run once. M members, N tokens of a text, B rows, T time steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.errors import ConfigError
from foretell.evaluate.scoring import Scorer
from foretell.types import IGNORED, Inputs, Scores, State


class Mixture(Scorer):
    """A weighted sum of scorers over one vocabulary. Its state is the tuple of theirs; it gives no ranks."""

    def __init__(self, scorers: Sequence[Scorer], weights: Sequence[float]):
        self.scorers, self.weights = tuple(scorers), checked_weights(weights, len(scorers))
        self.log_weights = torch.tensor(self.weights, dtype=torch.float64).log()  # [M]

    @property
    @override
    def independent(self) -> bool:
        return all(scorer.independent for scorer in self.scorers)

    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        parts = [s.score(inputs, targets, part) for s, part in zip(self.scorers, self._states(state), strict=True)]
        logp = self._mixed([scores.logp for scores, _ in parts])  # [B, T]
        return Scores(logp.masked_fill(targets == IGNORED, 0)), tuple(after for _, after in parts)

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return tuple(scorer.begin(rows, tokens) for scorer in self.scorers)

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        parts = [s.next(tokens, part) for s, part in zip(self.scorers, self._states(state), strict=True)]
        return self._mixed([log_probs for log_probs, _ in parts]), tuple(after for _, after in parts)

    def _states(self, state: State) -> Sequence[State]:
        return (None,) * len(self.scorers) if state is None else state

    def _mixed(self, logs: list[Tensor]) -> Tensor:
        joint = torch.stack([log.double() for log in logs], -1)  # [..., M]
        return torch.logsumexp(joint + self.log_weights.to(joint.device), -1)


def checked_weights(weights: Sequence[float], members: int) -> tuple[float, ...]:
    """The weights; a `ConfigError` unless there is one per member, none is negative, and they sum to 1."""
    valid = len(weights) == members and min(weights) >= 0 and math.isclose(sum(weights), 1, abs_tol=1e-6)
    if not valid:
        raise ConfigError(
            f"weights {', '.join(f'{weight:g}' for weight in weights)}: give {members} numbers of 0 or more that sum "
            "to 1, in the order of the runs"
        )
    return tuple(float(weight) for weight in weights)


def mixed_logp(logp: NDArray[np.float64], weights: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities of the members [M, N] -> those of the mixture [N]."""
    with np.errstate(divide="ignore"):
        joint: NDArray[np.float64] = logp + np.log(np.asarray(weights))[:, None]  # [M, N]
    mixed: NDArray[np.float64] = np.logaddexp.reduce(joint, axis=0)
    return mixed


@dataclass(frozen=True)
class Fit:
    """Fitted weights of a mixture."""

    weights: tuple[float, ...]
    loss: float
    """nats per token"""
    gap: float
    """upper bound on how far the loss is above the optimum, in nats per token"""
    steps: int
    history: tuple[float, ...]
    """the loss before each step; never increases"""


def fit_weights(logp: NDArray[np.float64], *, tolerance: float = 1e-7, steps: int = 2000) -> Fit:
    """The weights with the lowest loss, from the members' log-probabilities [M, N].

    Expectation maximisation from equal weights. The loss is convex in the weights, and each step bounds the distance to
    the optimum: a weight is multiplied by g_m, the mean of p_m / p, and the loss is within log(max g_m) of the best
    (Cover 1984, IEEE Trans. Inf. Theory 30(2)). Raises `ConfigError` where a token is impossible for every member.
    """
    weights = np.full(len(logp), 1 / len(logp))
    history = []
    for step in range(steps + 1):
        mixed = mixed_logp(logp, weights)
        if np.isnan(mixed).any():
            raise ConfigError("weights: some probability is not a number (NaN); leave out the model that gives it")
        if not np.isfinite(mixed).all():
            raise ConfigError("weights: some token has probability 0 in every model; mix in one that knows all tokens")
        history.append(-float(mixed.mean()))
        growth = np.exp(logp - mixed).mean(1)  # [M]
        gap = math.log(growth.max())
        if gap < tolerance or step == steps:
            break
        weights = weights * growth
        weights /= weights.sum()  # 1 already, up to rounding
    return Fit(tuple(weights.tolist()), history[-1], max(gap, 0.0), step, tuple(history))
