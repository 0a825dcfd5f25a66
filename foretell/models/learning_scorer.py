"""Scoring by a counted model that learns from each token after it was scored; see `evaluate.scoring.Scorer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell.errors import ConfigError
from foretell.types import IGNORED, Inputs, Scores, State

Logs = NDArray[np.float64]


class Reader(Protocol):
    """A counted model at a place of a text."""

    def follow(self, tokens: NDArray[np.int64]) -> None:
        """Read tokens as context only."""

    def learn(self, tokens: NDArray[np.int64]) -> Logs:
        """Learn from tokens; returns their log-probabilities [N] in nats, each before it was learned."""

    def logp_of(self, token: NDArray[np.int64]) -> Logs:
        """Log-probability [1] of the next token [1]."""

    def distribution(self) -> Logs:
        """Log-probabilities [V] of the next token."""

    def distributions(self, tokens: NDArray[np.int64]) -> Logs:
        """Log-probabilities [T, V] of the token after each of the tokens [T], which are learned."""
        found = []
        for t in range(len(tokens)):
            self.learn(tokens[t : t + 1])
            found.append(self.distribution())
        return np.stack(found)


class LearningScorer:
    """A model that learns from each token it has read. It reads one text at a time, in order; it gives no ranks.

    `begin` returns a copy of the trained model at the start of a text. The state is the number of tokens read, int64
    [1, 1]; None restores the trained model.
    """

    independent = False

    def __init__(self, new_reader: Callable[[], Reader]):
        self.new_reader = new_reader
        self.reader: Reader | None = None
        self.read = 0

    def begin(self, rows: int, tokens: int) -> State:
        """Nothing read."""
        return None

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [1, T], each before it is learned."""
        count = int((targets[0] != IGNORED).sum())
        logp = torch.zeros(targets.shape, dtype=torch.float64)
        if count:
            reader, new = self._begun(inputs.tokens[:, :count], continued(inputs, state))
            known, last = reader.learn(new), targets[0, count - 1 : count].cpu().numpy()
            logp[0, :count] = torch.from_numpy(np.append(known[len(new) + 1 - count :], reader.logp_of(last)))
        return Scores(logp.to(targets.device)), torch.tensor([[self.read]])

    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [1, T, V] of every token in the place of the targets [1, T], each before it is learned;
        zeros where a target is ignored."""
        count = int((targets[0] != IGNORED).sum())
        reader, new = self._begun(inputs.tokens[:, : max(count, 1)], continued(inputs, state))
        first = [] if len(new) == count else [reader.distribution()[None]]
        logp = torch.from_numpy(np.concatenate([*first, reader.distributions(new)]))
        logp = torch.nn.functional.pad(logp, (0, 0, 0, targets.shape[1] - len(logp)))
        return logp[None].to(targets.device), torch.tensor([[self.read]])

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [1, V] of the token after tokens [1, T], which are learned."""
        reader, new = self._begun(tokens, state)
        reader.learn(new)
        logp = torch.from_numpy(reader.distribution()[None])
        return logp.to(tokens.device), torch.tensor([[self.read]])

    def _begun(self, tokens: Tensor, state: State) -> tuple[Reader, NDArray[np.int64]]:
        """The model at the place of a state, and those of the tokens [1, T] that it is to learn."""
        if len(tokens) != 1:
            raise ConfigError("a model that learns as it reads takes one text at a time; set columns to 1")
        row = tokens[0].cpu().numpy()
        if state is None or self.reader is None:
            self.reader, self.read = self.new_reader(), 0
            self.reader.follow(row[:1])  # the boundary before a text does not belong to it
            new = row[1:]
        else:
            assert isinstance(state, Tensor)
            if int(state) != self.read:
                raise ConfigError("a model that learns as it reads cannot go back in a text")
            new = row
        self.read += len(row)
        return self.reader, new


def continued(inputs: Inputs, state: State) -> State:
    """The state after the text before, None for a fresh text."""
    return None if inputs.all_fresh else state
