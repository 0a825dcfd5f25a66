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
"""tokens of context that are kept from window to window"""
VOCABULARY = 257
"""the boundary 0, and byte b as b + 1"""


class ContextMixingScorer:
    """A model that does not learn from what it scores. The state is the last tokens read, int64 [B, up to 4096]."""

    independent = True

    def __init__(self, model: ContextMixing):
        self.model = model

    def begin(self, rows: int, tokens: int) -> State:
        """No context."""
        return None

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [B, T]."""
        before, tokens = self._context(inputs.tokens, inputs.fresh, state), inputs.tokens.cpu().numpy()
        wanted = targets.cpu().numpy()
        logp = np.zeros(wanted.shape)
        for row, context in enumerate(before):
            logp[row] = self.model.scores_after(context, tokens[row], wanted[row])
        return Scores(torch.from_numpy(logp).to(targets.device)), self._kept(before, tokens)

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, 257] of the token after tokens [B, T]."""
        before, read = self._context(tokens, None, state), tokens.cpu().numpy()
        logp = np.zeros((len(read), VOCABULARY))
        for row, context in enumerate(before):
            logp[row] = self.model.distribution_after(np.concatenate([context, read[row]]))
        return torch.from_numpy(logp).to(tokens.device), self._kept(before, read)

    def _context(self, tokens: Tensor, fresh: Tensor | None, state: State) -> list[NDArray[np.int64]]:
        """The tokens before each row; -1 where there is none."""
        if state is None:
            return [np.zeros(0, dtype=np.int64)] * len(tokens)
        assert isinstance(state, Tensor)
        empty = np.zeros(len(tokens), dtype=bool) if fresh is None else fresh.cpu().numpy()
        return [row[: 0 if new else None] for row, new in zip(state.cpu().numpy(), empty, strict=True)]

    def _kept(self, before: list[NDArray[np.int64]], tokens: NDArray[np.int64]) -> Tensor:
        """The new state: rows are filled with -1 on the left."""
        kept = np.full((len(tokens), RECENT), -1, dtype=np.int64)
        for row, context in enumerate(before):
            text = np.concatenate([context, tokens[row]])[-RECENT:]
            kept[row, RECENT - len(text) :] = text
        return torch.from_numpy(kept)


class LearningScorer:
    """A copy of a model that learns from each token it has read. It reads one text at a time, in order; it gives no
    ranks.

    The state is the number of tokens read, int64 [1, 1]; None restores the trained model.
    """

    independent = False

    def __init__(self, model: ContextMixing):
        self.trained = model
        self.model: ContextMixing | None = None
        self.read = 0

    def begin(self, rows: int, tokens: int) -> State:
        """Nothing read."""
        return None

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [1, T], each before it is learned."""
        count = int((targets[0] != IGNORED).sum())
        logp = torch.zeros(targets.shape, dtype=torch.float64)
        if count:
            fresh = inputs.fresh is not None and bool(inputs.fresh.all())
            model, known = self._learned(inputs.tokens[:, :count], None if fresh else state)
            last = targets[0, count - 1 : count].cpu().numpy()
            logp[0, :count] = torch.from_numpy(np.append(known[1:], model.logp_of(last)))
        return Scores(logp.to(targets.device)), torch.tensor([[self.read]])

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [1, 257] of the token after tokens [1, T], which are learned."""
        model, _ = self._learned(tokens, state)
        logp = torch.from_numpy(model.distribution()[None])
        return logp.to(tokens.device), torch.tensor([[self.read]])

    def _learned(self, tokens: Tensor, state: State) -> tuple[ContextMixing, NDArray[np.float64]]:
        """The model after it has learned from tokens [1, T], and their log-probabilities [T]."""
        if len(tokens) != 1:
            raise ConfigError("a model that learns as it reads takes one text at a time; set columns to 1")
        row = tokens[0].cpu().numpy()
        if state is None or self.model is None:
            self.model, self.read = self.trained.copy().beside(len(row)), 0
            self.model.follow(row[:1])  # what comes before a text is only its context
            logp = np.append(0.0, self.model.learn(row[1:].astype(np.uint16)))
        else:
            assert isinstance(state, Tensor)
            if int(state) != self.read:
                raise ConfigError("a model that learns as it reads cannot go back in a text")
            logp = self.model.learn(row.astype(np.uint16))
        self.read += len(row)
        return self.model, logp
