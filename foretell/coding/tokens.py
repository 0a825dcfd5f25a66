"""Tokens coded by the predictions of a model. V vocabulary, N tokens of a text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell.coding.range_coder import TOTAL, Decoder, Encoder
from foretell.errors import ConfigError
from foretell.types import OnProgress, State

Ids = NDArray[np.unsignedinteger[Any]]


class TokenCoder(Protocol):
    """Codes the tokens of a text in order. Decoding sees, and learns, exactly what encoding did."""

    def encode(self, tokens: Ids, on_progress: OnProgress) -> bytes:
        """Tokens [N] to a message."""

    def decode(self, message: bytes, count: int, on_progress: OnProgress) -> Ids:
        """The `count` tokens of a message."""


class Predictor(Protocol):
    """The part of a scorer (`evaluate.scoring.Scorer`) that coding needs."""

    def begin(self, rows: int, tokens: int) -> State:
        """A fresh state."""

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, V] of the token after tokens [B, T], and the new state."""


@dataclass(frozen=True)
class StepwiseCoder:
    """Codes each token by the distribution that a model gives after the tokens before it.

    The model reads token by token in both directions, on one thread, so that its sums are made in one order and its
    probabilities are equal to the last bit.
    """

    predictor: Predictor
    boundary: int
    """the token that a text begins after"""
    device: torch.device
    ends: NDArray[np.bool_] | None = None
    """[V] tokens after which the model starts afresh; absent: none"""

    def encode(self, tokens: Ids, on_progress: OnProgress) -> bytes:
        """Tokens [N] to a message."""
        encoder, steps = Encoder(), self._steps(len(tokens))
        with one_thread():
            for i, token in enumerate(tokens.tolist()):
                frequencies = steps.frequencies()
                encoder.encode(int(frequencies[:token].sum()), int(frequencies[token]))
                steps.read(token)
                on_progress((i + 1) / len(tokens))
        return encoder.finish()

    def decode(self, message: bytes, count: int, on_progress: OnProgress) -> Ids:
        """The `count` tokens of a message."""
        decoder, steps, tokens = Decoder(message), self._steps(count), []
        with one_thread():
            for i in range(count):
                upper = np.cumsum(steps.frequencies())
                token = min(int(np.searchsorted(upper, decoder.peek(), side="right")), len(upper) - 1)
                start = int(upper[token - 1]) if token else 0
                decoder.take(start, int(upper[token]) - start)
                steps.read(token)
                tokens.append(token)
                on_progress((i + 1) / count)
        return np.array(tokens, dtype=np.uint32)

    def _steps(self, count: int) -> _Steps:
        return _Steps(self.predictor, self.boundary, self.device, self.ends, self.predictor.begin(1, count + 1))


@dataclass
class _Steps:
    """A model that reads a text token by token."""

    predictor: Predictor
    boundary: int
    device: torch.device
    ends: NDArray[np.bool_] | None
    state: State

    def __post_init__(self) -> None:
        self.token = self.boundary

    def frequencies(self) -> NDArray[np.int64]:
        """[V] those of the next token."""
        tokens = torch.tensor([[self.token]], device=self.device)
        logp, self.state = self.predictor.next(tokens, self.state)
        return quantised(logp[0])

    def read(self, token: int) -> None:
        """Append a token to the text."""
        self.token = token
        if self.ends is not None and self.ends[token]:
            self.token, self.state = self.boundary, None


def quantised(logp: Tensor) -> NDArray[np.int64]:
    """Log-probabilities [V] as integer frequencies [V], each at least 1, with a sum of `TOTAL` at most.

    Every token can be coded, even one of probability 0. The loss against the probabilities is below V / 2^32 / ln 2
    bits a token on average: 2e-5 for 50,000 tokens.
    """
    p = logp.double().exp().cpu().numpy()
    total = float(p.sum())
    if not 0 < total < np.inf:
        raise ConfigError("the model gives probabilities that are not numbers; check it with foretell doctor")
    return np.floor(p * ((TOTAL - len(p)) / total)).astype(np.int64) + 1


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread while the block runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
