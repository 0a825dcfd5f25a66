"""Context mixing as a scorer; see `evaluate.scoring.Scorer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell.types import Inputs, Scores, State

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
