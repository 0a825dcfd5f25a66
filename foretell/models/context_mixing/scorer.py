"""Context mixing as a scorer; see `evaluate.scoring.Scorer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell.errors import ConfigError
from foretell.types import IGNORED, Inputs, Scores, State

if TYPE_CHECKING:
    from foretell.models.context_mixing.model import ContextMixing

RECENT = 4096
"""bytes of context that are kept from window to window"""
VOCABULARY = 257
"""tokens: byte b is b + 1, after the boundary 0"""


class ContextMixingScorer:
    """A model that does not learn from what it scores. The state is the last tokens read, int64 [B, up to 4096]."""

    independent = True

    def __init__(self, model: ContextMixing):
        self.model = model

    def begin(self, rows: int, tokens: int) -> State:
        """No context."""
        return None

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [B, T]; the boundary has none."""
        before, tokens = self._context(inputs.tokens, inputs.fresh, state), inputs.tokens.cpu().numpy()
        wanted = np.where(targets.cpu().numpy() == IGNORED, -1, targets.cpu().numpy() - 1)
        logp = np.zeros(wanted.shape)
        for row, context in enumerate(before):
            logp[row] = self.model.scores_after(context, tokens[row] - 1, wanted[row])
        return Scores(torch.from_numpy(logp).to(targets.device)), self._kept(before, tokens)

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, 257] of the token after tokens [B, T]."""
        before, read = self._context(tokens, None, state), tokens.cpu().numpy()
        logp = np.full((len(read), VOCABULARY), -np.inf)
        for row, context in enumerate(before):
            logp[row, 1:] = self.model.distribution_after(np.concatenate([context, read[row] - 1]))
        return torch.from_numpy(logp).to(tokens.device), self._kept(before, read)

    def _context(self, tokens: Tensor, fresh: Tensor | None, state: State) -> list[NDArray[np.int64]]:
        """The bytes before each row; -1 where there is none."""
        if state is None:
            return [np.zeros(0, dtype=np.int64)] * len(tokens)
        assert isinstance(state, Tensor)
        empty = np.zeros(len(tokens), dtype=bool) if fresh is None else fresh.cpu().numpy()
        return [row[: 0 if new else None] - 1 for row, new in zip(state.cpu().numpy(), empty, strict=True)]

    def _kept(self, before: list[NDArray[np.int64]], tokens: NDArray[np.int64]) -> Tensor:
        """The new state: rows are filled with boundaries on the left."""
        kept = np.zeros((len(tokens), RECENT), dtype=np.int64)
        for row, context in enumerate(before):
            text = np.concatenate([context + 1, tokens[row]])[-RECENT:]
            kept[row, RECENT - len(text) :] = text
        return torch.from_numpy(kept)


class LearningScorer:
    """A copy of a model that learns from each byte after it was scored. It reads one text once, in order.

    The state is the number of bytes scored, int64 [1, 1].
    """

    independent = False

    def __init__(self, model: ContextMixing):
        self.model = model.copy().beside(0)
        self.scored = 0

    def begin(self, rows: int, tokens: int) -> State:
        """Nothing read."""
        return None

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [1, T]."""
        if len(targets) != 1 or (state is None) != (self.scored == 0):
            raise ConfigError("a model that learns as it reads scores one text from start to end; set columns = 1")
        row = targets[0].cpu().numpy()
        valid = row > 0
        logp = np.zeros(row.shape)
        logp[valid] = self.model.learn((row[valid] - 1).astype(np.uint8))
        self.scored += int(valid.sum())
        return Scores(torch.from_numpy(logp[None]).to(targets.device)), torch.tensor([[self.scored]])

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [1, 257] of the token after tokens [1, T], which are learned."""
        read = tokens[0].cpu().numpy()
        self.model.learn((read[read > 0] - 1).astype(np.uint8))
        self.scored += int((read > 0).sum())
        logp = np.full((1, VOCABULARY), -np.inf)
        logp[0, 1:] = self.model.distribution()
        return torch.from_numpy(logp).to(tokens.device), torch.tensor([[self.scored]])
