"""Whole distributions of a text by any scorer. B rows, T time steps, V vocabulary."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from foretell.evaluate.scoring import CheckedScorer, Scorer
from foretell.types import Inputs, State


@runtime_checkable
class Distributing(Protocol):
    """A scorer that gives all distributions of a window at once."""

    def distributions(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Log-probabilities [B, T, V] of every token in the place of the targets [B, T], and the new state."""


def distributions(scorer: Scorer, inputs: Inputs, targets: Tensor, state: State) -> tuple[Tensor, State]:
    """Log-probabilities [B, T, V] of every token in the place of the targets [B, T], and the new state.

    A scorer that learns does so, as in `score`. Where a scorer cannot do that at once, it is asked for them in
    turn; rows then have to be all fresh or all continued.
    """
    if isinstance(scorer, CheckedScorer):
        return distributions(scorer.scorer, inputs, targets, state)
    if isinstance(scorer, Distributing):
        return scorer.distributions(inputs, targets, state)
    state, found = None if inputs.all_fresh else state, []
    for t in range(inputs.tokens.shape[1]):
        logp, state = scorer.next(inputs.tokens[:, t : t + 1], state)
        found.append(logp)
    return torch.stack(found, 1), state
