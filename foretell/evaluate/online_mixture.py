"""Mixtures whose weights are learned token by token, as a scorer. M members, B rows, T time steps, V vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from foretell.evaluate.online_weights import Floats, Rule
from foretell.evaluate.scoring import Scorer
from foretell.types import IGNORED, Inputs, Scores, State, where_rows

ANY, NONE = -1, -2
"""pending tokens: all have a log-probability; none has"""


class OnlineMixture(Scorer):
    """A sum of scorers over one vocabulary, weighted by a rule that learns from each token after it was scored.

    The state: those of the members, that of the rule [B, S], and the last prediction, from which the rule learns once
    the token is read: the token [B, 1], and the members' log-probabilities of it, or of all tokens, [B, M, 1 or V]. It
    gives no ranks.
    """

    def __init__(self, scorers: Sequence[Scorer], rule: Rule):
        self.scorers, self.rule = tuple(scorers), rule

    @property
    @override
    def independent(self) -> bool:
        return all(scorer.independent for scorer in self.scorers)

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return tuple(scorer.begin(rows, tokens) for scorer in self.scorers), *self._first(rows)

    def _first(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """The rule and the pending prediction before a text."""
        rule = torch.from_numpy(self.rule.start(rows))
        return rule, torch.full((rows, 1), NONE), torch.zeros(rows, len(self.scorers), 1, dtype=torch.float64)

    def _opened(self, rows: int, fresh: Tensor | None, state: State) -> tuple[Sequence[State], tuple[Tensor, ...]]:
        """The members' states, and the rest of the state, with fresh rows from the start."""
        first = self._first(rows)
        if state is None:
            return (None,) * len(self.scorers), first
        members, *rest = state
        if fresh is None or not fresh.any():
            return members, tuple(rest)
        rule, token, _ = (where_rows(fresh.cpu(), new, old) for new, old in zip(first, rest, strict=True))
        return members, (rule, token, rest[2])

    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        states, rest = self._opened(len(targets), inputs.fresh, state)
        parts = [s.score(inputs, targets, part) for s, part in zip(self.scorers, states, strict=True)]
        logp = np.stack([scores.logp.double().cpu().numpy() for scores, _ in parts], 1)  # [B, M, T]
        wanted = targets.cpu().numpy()
        rule = self._caught_up(rest, inputs.tokens[:, 0])
        mixed = np.zeros(wanted.shape)
        for t in range(wanted.shape[1]):
            if t > 0:
                rule = self._learned(rule, wanted[:, t - 1], logp[:, :, t - 1])
            mixed[:, t] = np.logaddexp.reduce(self.rule.log_weights(rule) + logp[:, :, t], axis=1)
        mixed[wanted == IGNORED] = 0
        pending = torch.from_numpy(np.where(wanted[:, -1:] == IGNORED, NONE, wanted[:, -1:]))
        after = tuple(member for _, member in parts)
        scores = Scores(torch.from_numpy(mixed).to(targets.device))
        return scores, (after, torch.from_numpy(rule), pending, torch.from_numpy(logp[:, :, -1:].copy()))

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        if tokens.shape[1] > 1:
            _, state = self.score(Inputs(tokens=tokens[:, :-1]), tokens[:, 1:], state)
            tokens = tokens[:, -1:]
        states, rest = self._opened(len(tokens), None, state)
        rule = self._caught_up(rest, tokens[:, 0])
        parts = [s.next(tokens, part) for s, part in zip(self.scorers, states, strict=True)]
        logs = torch.stack([log_probs.double().cpu() for log_probs, _ in parts], 1)  # [B, M, V]
        mixed = torch.logsumexp(torch.from_numpy(self.rule.log_weights(rule))[:, :, None] + logs, 1)
        after = tuple(member for _, member in parts)
        return mixed.to(tokens.device), (after, torch.from_numpy(rule), torch.full((len(tokens), 1), ANY), logs)

    def _caught_up(self, rest: tuple[Tensor, ...], tokens: Tensor) -> Floats:
        """The rule after it has learned from the tokens [B] that are read now, where they were predicted."""
        rule, pending, logs = rest
        read, known = tokens.cpu().numpy(), pending[:, 0].numpy()
        place = np.where(known == ANY, np.minimum(read, logs.shape[2] - 1), 0)
        logp = logs.numpy()[np.arange(len(read)), :, place]
        return self._learned(rule.numpy(), np.where((known == ANY) | (known == read), read, IGNORED), logp)

    def _learned(self, rule: Floats, tokens: np.ndarray, logp: Floats) -> Floats:
        """The rule after tokens [B]; it learns nothing from those that are ignored."""
        rows = tokens != IGNORED
        if not rows.any():
            return rule
        after = rule.copy()
        after[rows] = self.rule.learned(rule[rows], tokens[rows], logp[rows])
        return after
