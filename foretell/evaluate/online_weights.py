"""Weights of a mixture that are learned token by token, from how well each member predicted it.

A rule keeps everything it has learned in its state [B, S]: rows on dimension 0, like any state. It gives weights before
a token is known, and learns afterwards. M members, B rows, N tokens of a text.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from foretell.evaluate.mixture import fit_weights, mixed_logp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TINY = 1e-300
"""of a weight, so that it has a logarithm"""
FLOOR = 1e-3
"""part of the weights that is equal at the start"""
SHARE = 1e-6
"""part of the weights that is made equal at each token, so that none falls below a millionth of an equal one"""


class Rule(ABC):
    """How weights are learned; abstract."""

    name: str
    members: int
    first: Floats
    """[S] the state before a text"""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Settings and learned values, apart from the weights that a compressed file names."""

    @abstractmethod
    def start(self, rows: int) -> Floats:
        """The state before a text [B, S]."""

    @abstractmethod
    def log_weights(self, state: Floats) -> Floats:
        """The logarithms of the weights for the next token [B, M]; their exponentials sum to 1."""

    @abstractmethod
    def learned(self, state: Floats, tokens: Ints, logp: Floats) -> Floats:
        """The state after tokens [B], to which the members gave these log-probabilities [B, M]."""

    def read(self, tokens: Ints, logp: Floats, starts: Sequence[int] = (0,)) -> tuple[Floats, Floats]:
        """Log-probabilities [N] of a text [N] from those of the members [M, N], and the weights used [M, N].

        The rule starts again at each of `starts`.
        """
        return self.stepwise(tokens, logp, starts)

    def stepwise(self, tokens: Ints, logp: Floats, starts: Sequence[int] = (0,)) -> tuple[Floats, Floats]:
        """Like `read`, but token by token: it gives the weights, then is shown the token."""
        mixed, used = np.zeros(len(tokens)), np.zeros_like(logp)
        state, fresh = self.start(1), set(starts)
        for n in range(len(tokens)):
            state = self.start(1) if n in fresh else state
            weights = self.log_weights(state)
            used[:, n] = np.exp(weights[0])
            mixed[n] = np.logaddexp.reduce(weights[0] + logp[:, n])
            state = self.learned(state, tokens[n : n + 1], logp[None, :, n])
        return mixed, used


class ExponentiatedGradient(Rule):
    """Each weight is multiplied by 1 + rate (p_m / p - 1): exponentiated gradient to first order, which keeps their sum
    (Helmbold et al. 1997, Machine Learning 27, EM with a rate; Prod of Cesa-Bianchi, Mansour and Stoltz 2007). Then
    each gives the part `share` of itself to all alike (fixed share; Herbster and Warmuth 1998), so none is lost.
    """

    name = "exponentiated gradient"

    def __init__(self, weights: Sequence[float], rate: float = 0.005, share: float = SHARE):
        first = np.asarray(weights, dtype=np.float64)
        self.members, self.rate, self.share = len(first), rate, share
        self.first = (1 - FLOOR) * first + FLOOR / self.members

    @property
    @override
    def identity(self) -> str:
        return f"{self.rate} {self.share}"

    @override
    def start(self, rows: int) -> Floats:
        return np.tile(self.first, (rows, 1))

    @override
    def log_weights(self, state: Floats) -> Floats:
        return np.log(state)

    @override
    def learned(self, state: Floats, tokens: Ints, logp: Floats) -> Floats:
        after = state * (1 - self.rate + self.rate * gains(state, logp))
        shared: Floats = (1 - self.share) * after / after.sum(1, keepdims=True) + self.share / self.members
        return shared

    def regret(self, logp: Floats) -> Regret:
        """The regret on a text [M, N] against the best fixed weights u in hindsight, and its bound.

        With the gains g_m = p_m / p the regret is at most the sum of u . (g - 1), as log x <= x - 1. And
        log(1 + x) >= x - x^2 for x >= -1/2, so that with a rate of 1/2 or less

            rate regret <= KL(u | w_1) + N log(1 / (1 - share)) + rate^2 sum over tokens of u . (g - 1)^2

        The share costs the middle term, at most 0.0002 nats a token with the defaults.
        """
        mixed, used = self.read(np.zeros(logp.shape[1], dtype=np.int64), logp)
        fit = fit_weights(logp)
        best = np.asarray(fit.weights)
        apart = float(np.sum(best * (np.log(np.maximum(best, TINY)) - np.log(self.first))))
        squares = float(((gains(used.T, logp.T) - 1) ** 2 @ best).sum())
        bound = (apart - len(mixed) * math.log1p(-self.share)) / self.rate + self.rate * squares
        return Regret(float(mixed_logp(logp, best).sum() - mixed.sum()), bound, tuple(best.tolist()))


@dataclass(frozen=True)
class Regret:
    """Regret on a text, in nats."""

    nats: float
    """loss beyond that of the best fixed weights"""
    bound: float
    """at most this; it grows with the text by the share and by how unlike the best weights' gains are to 1"""
    best: tuple[float, ...]
    """the best fixed weights in hindsight"""


def gains(weights: Floats, logp: Floats) -> Floats:
    """How many times as probable as the mixture each member made a token: p_m / p, [B, M] from weights and logp."""
    joint = np.log(np.maximum(weights, TINY)) + logp
    found: Floats = np.exp(logp - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    return found
