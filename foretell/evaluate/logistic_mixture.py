"""A context-mixing model whose mixers read what other models predict, as a scorer.

B rows (one), T time steps, E experts, V = 257 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from foretell.evaluate.distributions import distributions
from foretell.evaluate.scoring import Scorer
from foretell.models.context_mixing.advice import AdvisedReader, node_log_odds
from foretell.models.learning_scorer import LearningScorer
from foretell.types import Inputs, Scores, State


class LogisticMixture(Scorer):
    """Experts that advise a context-mixing model, which learns from each token it has read. One text at a time, in
    order; it gives no ranks. The state: those of the experts, and the number of tokens read."""

    independent = False

    def __init__(self, experts: Sequence[Scorer], new_reader: Callable[[], AdvisedReader]):
        self.experts = tuple(experts)
        self.new_reader = new_reader
        self.mixer = LearningScorer(self._fresh)
        self.heard: AdvisedReader | None = None
        """the model in its place of the text"""
        self.predictions: list[Tensor] = []
        """those of the tokens that are read next, [T, V] by each expert"""

    def _fresh(self) -> AdvisedReader:
        """A model at the start of a text, which hears the predictions."""
        self.heard = self.new_reader()
        self._pass_on(self.heard)
        return self.heard

    def _pass_on(self, reader: AdvisedReader) -> None:
        reader.hear([node_log_odds(logp.double().cpu().numpy()) for logp in self.predictions])
        self.predictions = []

    @override
    def begin(self, rows: int, tokens: int) -> State:
        return tuple(expert.begin(rows, tokens) for expert in self.experts), None

    @override
    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        states, read = ((None,) * len(self.experts), None) if state is None else state
        parts = [distributions(e, inputs, targets, s) for e, s in zip(self.experts, states, strict=True)]
        self._hear([logp[0] for logp, _ in parts], None if inputs.all_fresh else read)
        scores, read = self.mixer.score(inputs, targets, read)
        return scores, (tuple(after for _, after in parts), read)

    @override
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        states, read = ((None,) * len(self.experts), None) if state is None else state
        found: list[list[Tensor]] = [[] for _ in self.experts]
        states = list(states)
        for t in range(tokens.shape[1]):
            for e, expert in enumerate(self.experts):
                logp, states[e] = expert.next(tokens[:, t : t + 1], states[e])
                found[e].append(logp[0])
        self._hear([torch.stack(rows) for rows in found], read)
        logp, read = self.mixer.next(tokens, read)
        return logp, (tuple(states), read)

    def _hear(self, predictions: list[Tensor], read: State) -> None:
        """Let the model hear the experts' log-probabilities [T, V] of the tokens that follow."""
        self.predictions = predictions
        if read is not None and self.heard is not None:
            self._pass_on(self.heard)
