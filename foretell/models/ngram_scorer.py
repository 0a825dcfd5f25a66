"""n-gram models as scorers; see `evaluate.scoring.Scorer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell.types import IGNORED, Inputs, Scores, State

if TYPE_CHECKING:
    from foretell.models.ngram import NGram


class NGramScorer:
    """An n-gram model as a scorer. The state is the last tokens, int64 [B, order - 1]; ranks are exact below 5."""

    independent = True

    def __init__(self, model: NGram, *, ranks: bool = True):
        self.model, self.ranks = model, ranks

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [B, T], 0 where there is none, and their ranks."""
        text, after = self._text(inputs.tokens, inputs.fresh, state)
        ignored = (targets == IGNORED).cpu().numpy()
        words = np.where(ignored, 0, targets.cpu().numpy())
        logp, _ = self.model.logp(text, words)
        logp[ignored] = 0.0
        rank = torch.from_numpy(self.model.ranks(text, words)).to(targets.device) if self.ranks else None
        return Scores(torch.from_numpy(logp).to(targets.device), rank), after

    def begin(self, rows: int, tokens: int) -> State:
        """No context."""
        return None

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, V] of the word after tokens [B, T]."""
        text, after = self._text(tokens, None, state)
        return torch.from_numpy(self.model.distribution(text)).to(tokens.device), after

    def _text(self, tokens: Tensor, fresh: Tensor | None, state: State) -> tuple[NDArray[np.int64], Tensor]:
        """Tokens [B, T] after those of the state [B, order - 1 + T], and the new state."""
        length = self.model.order - 1
        empty = torch.full((len(tokens), length), self.model.boundary)  # no context reaches beyond a boundary
        before = empty if state is None else state.cpu()
        if fresh is not None:
            before = torch.where(fresh.cpu()[:, None], empty, before)
        text = torch.cat([before, tokens.cpu()], dim=1)
        return text.numpy(), text[:, text.shape[1] - length :]
