"""A gate for mixtures: a small network that gives weights, trained online by the loss of the mixture.

Its inputs are how each member did on the tokens before, at three speeds and in its last prediction, how many tokens in
a row it has predicted with more than probability 1/2, the place in the word, and the token before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from foretell.evaluate.online_weights import Floats, Ints, Rule
from foretell.kernels import gate

LEAST = 1e-4
"""of a weight at the start"""


class Gate(Rule):
    """Weights by a network with one hidden layer, whose outputs start at those of a fixed mixture. A step of gradient
    descent follows each token."""

    name = "gate"

    def __init__(self, weights: Sequence[float], begins_word: NDArray[np.bool_], rate: float = 0.02, seed: int = 0):
        self.members, self.begins_word, self.rate = len(weights), begins_word, rate
        self.first = np.zeros(gate.size_of(self.members))
        network = gate.network_of(self.first, self.members)
        random, scale = np.random.default_rng(seed), 1 / np.sqrt(len(network.hidden))
        network.hidden[:] = random.normal(0, scale, network.hidden.shape)
        network.bias[:] = np.log(np.maximum(np.asarray(weights, dtype=np.float64), LEAST))

    @property
    @override
    def identity(self) -> str:
        return self.first.tobytes().hex()

    @override
    def start(self, rows: int) -> Floats:
        return np.tile(self.first, (rows, 1))

    @override
    def log_weights(self, state: Floats) -> Floats:
        found = np.zeros((len(state), self.members))
        for row, weights in zip(state, found, strict=True):
            self._forward(row, weights)
        return np.log(found)

    def _forward(self, row: Floats, weights: Floats) -> tuple[gate.Network, Floats, Floats]:
        network = gate.network_of(row, self.members)
        inputs, hidden = np.zeros(len(network.hidden)), np.zeros(gate.HIDDEN)
        gate.forward(network, inputs, hidden, weights)
        return network, inputs, hidden

    @override
    def learned(self, state: Floats, tokens: Ints, logp: Floats) -> Floats:
        after = state.copy()
        for row, token, members in zip(after, tokens, np.ascontiguousarray(logp), strict=True):
            weights = np.zeros(self.members)
            gate.learn(*self._forward(row, weights), weights, int(token), members, self.begins_word, self.rate)
        return after

    @override
    def read(self, tokens: Ints, logp: Floats, starts: Sequence[int] = (0,)) -> tuple[Floats, Floats]:
        mixed, used, logs = np.zeros(len(tokens)), np.zeros(logp.T.shape), np.ascontiguousarray(logp.T)
        for begin, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
            part = slice(begin, end)
            row = self.first.copy()
            gate.read(row, tokens[part], logs[part], self.begins_word, self.rate, mixed[part], used[part])
        return mixed, used.T

    def trained(self, tokens: Ints, logp: Floats) -> Gate:
        """The gate after a text [N] to which the members gave these log-probabilities [M, N]: the start of others."""
        other, logs = Gate([1.0] * self.members, self.begins_word, self.rate), np.ascontiguousarray(logp.T)
        other.first = self.first.copy()
        mixed, used = np.zeros(len(tokens)), np.zeros(logs.shape)
        gate.read(other.first, tokens, logs, self.begins_word, self.rate, mixed, used)
        other.forget()
        return other

    def forget(self) -> None:
        """Start texts with what was learned, and without memory of the one that it was learned from."""
        network = gate.network_of(self.first, self.members)
        for part in (network.averages, network.last, network.streak, network.place):
            part[:] = 0
