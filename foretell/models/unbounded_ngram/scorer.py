"""An n-gram model of unbounded order as a scorer; see `evaluate.scoring.Scorer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from foretell.types import Inputs, Scores, State

if TYPE_CHECKING:
    from foretell.models.unbounded_ngram.model import Place, UnboundedNGram


class UnboundedScorer:
    """A model that does not learn from what it scores; it gives no ranks.

    The state is where the text read stands among the contexts of the training text: its path, int64 [B, 3 LEVELS + 1].
    """

    independent = True

    def __init__(self, model: UnboundedNGram):
        self.model = model

    def begin(self, rows: int, tokens: int) -> State:
        """No context."""
        return None

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        """Log-probabilities of targets [B, T]."""
        logp = torch.zeros(targets.shape, dtype=torch.float64)
        places = self._places(len(targets), inputs.fresh, state)
        for row, place in enumerate(places):
            logp[row] = torch.from_numpy(place.score(inputs.tokens[row].cpu().numpy(), targets[row].cpu().numpy()))
        return Scores(logp.to(targets.device)), self._kept(places)

    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, T, V] of every token in the place of the targets [B, T]."""
        places = self._places(len(targets), inputs.fresh, state)
        rows = inputs.tokens.cpu().numpy()
        logp = [torch.from_numpy(place.distributions(row)) for place, row in zip(places, rows, strict=True)]
        return torch.stack(logp).to(targets.device), self._kept(places)

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, V] of the token after tokens [B, T]."""
        places = self._places(len(tokens), None, state)
        for row, place in enumerate(places):
            place.follow(tokens[row].cpu().numpy())
        logp = torch.stack([torch.from_numpy(place.distribution()) for place in places])
        return logp.to(tokens.device), self._kept(places)

    def _places(self, rows: int, fresh: Tensor | None, state: State) -> list[Place]:
        """Where each row stands."""
        if state is None:
            return [self.model.start() for _ in range(rows)]
        assert isinstance(state, Tensor)
        begun = [False] * rows if fresh is None else fresh.tolist()
        return [self.model.start() if new else self.model.at(row) for new, row in zip(begun, state, strict=True)]

    def _kept(self, places: list[Place]) -> Tensor:
        return torch.stack([place.state() for place in places])
