"""Predictions of other models, bit by bit, as inputs of the mixers. N tokens, E experts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from foretell.models.context_mixing.model import ContextMixing
from foretell.models.context_mixing.tables import with_experts
from foretell.models.learning_scorer import Reader

Nodes = NDArray[np.float32]
LIMIT = 12.0
"""largest log-odds"""
TINY = 1e-30
FIRST_BYTE = 1
"""byte b is token b + 1"""


def node_log_odds(logp: NDArray[np.floating]) -> Nodes:
    """Log-probabilities of tokens [..., 257] -> log-odds of a 1 after each node of the next byte [..., 256].

    Node n is a 1 and the bits of the byte so far; node 0 is none.
    """
    p = np.zeros((*logp.shape[:-1], 512))
    p[..., 256:] = np.exp(logp[..., FIRST_BYTE:])
    for depth in range(7, -1, -1):
        first = 1 << depth
        p[..., first : 2 * first] = p[..., 2 * first : 4 * first : 2] + p[..., 2 * first + 1 : 4 * first : 2]
    odds = np.zeros((*logp.shape[:-1], 256), np.float32)
    zeros, ones = p[..., 2:512:2], p[..., 3:512:2]
    odds[..., 1:] = np.clip(np.log((ones + TINY) / (zeros + TINY)), -LIMIT, LIMIT)
    return odds


def along(nodes: Nodes, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
    """Log-odds of all nodes [N, ..., 256] -> those of the bits of each token [N, ..., 8]; of a boundary any."""
    byte = np.maximum(tokens.astype(np.int64) - FIRST_BYTE, 0) | 256
    path = byte[:, None] >> (8 - np.arange(8))  # [N, 8]
    path = path.reshape(len(tokens), *(1,) * (nodes.ndim - 2), 8)
    return np.take_along_axis(nodes, np.broadcast_to(path, (*nodes.shape[:-1], 8)), -1)


def advised(model: ContextMixing, experts: int) -> ContextMixing:
    """A model with further inputs for experts; it shares all other tables."""
    return ContextMixing(with_experts(model.tables, experts))


class AdvisedReader(Reader):
    """A context-mixing model at a place of a text, which hears what experts predict before each token."""

    def __init__(self, model: ContextMixing):
        self.model = model
        self.nodes: Nodes = np.zeros((0, len(model.tables.advice), 256), np.float32)
        """[N, E, 256] of the next N tokens"""

    def hear(self, nodes: Sequence[Nodes]) -> None:
        """Take predictions of further tokens, [N, 256] by each expert."""
        self.nodes = np.concatenate([self.nodes, np.stack(nodes, 1)])

    @override
    def follow(self, tokens: NDArray[np.int64]) -> None:
        """Read tokens as context only, which nothing was predicted about."""
        self.model.follow(tokens)

    @override
    def learn(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Learn from tokens; returns their log-probabilities [N] in nats, each before it was learned."""
        nodes, self.nodes = self.nodes[: len(tokens)], self.nodes[len(tokens) :]
        return self.model.learn(tokens, along(nodes, tokens))

    @override
    def logp_of(self, token: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probability [1] of the next token [1]."""
        self.model.tables.advice[:] = self.nodes[0]
        return self.model.logp_of(token)

    @override
    def distribution(self) -> NDArray[np.float64]:
        """Log-probabilities [257] of the next token."""
        self.model.tables.advice[:] = self.nodes[0]
        return self.model.distribution()
