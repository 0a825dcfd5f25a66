"""Runs that advise a context-mixing run: their predictions of each bit are further inputs of its mixers.

The mixers add up log-odds with weights that depend on the place in the text and learn from every bit. So such a mixture
is log-linear, bit by bit, and learns as it reads. All runs predict bytes.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.api.mixed import Mixed
from foretell.api.online_mixing import LearningMixed, learning
from foretell.api.trained import Trained
from foretell.coding.container import digest_of_parts
from foretell.coding.tokens import TokenCoder
from foretell.data.store.store import Split
from foretell.errors import ConfigError
from foretell.evaluate.audit import TOLERANCES, Recomputed, sampled
from foretell.evaluate.distributions import distributions
from foretell.evaluate.logistic_mixture import LogisticMixture
from foretell.evaluate.scoring import TokenScores, reading
from foretell.models.context_mixing.advice import AdvisedReader, advised, along, node_log_odds
from foretell.models.context_mixing.model import ContextMixing
from foretell.run import Record

PIECE = 4096
"""tokens whose distributions are taken apart at once"""
Floats = NDArray[np.float64]
Advice = NDArray[np.float32]
"""[N, E, 8] log-odds of the bits of each token by each expert"""


@dataclass(frozen=True)
class Advised:
    """A text with the advice of experts."""

    tokens: NDArray[np.integer]
    """[N]"""
    advice: Advice


class LogisticMixed(LearningMixed):
    """A context-mixing run that other runs advise.

    Before a text it learns from `read`, the text that it was fitted to: how much each run is worth, and everything else
    that it learns from any text.
    """

    def __init__(self, fixed: Mixed, members: Sequence[Trained], read: Advised, fitted_to: str):
        super().__init__(fixed, members, fixed.weights, fitted_to)
        self.read, self.shares = read, ()

    @property
    def experts(self) -> list[Trained]:
        """The runs that advise."""
        return [member for member in self.members if member is not mixing_run(self.members)]

    @property
    @override
    def learned(self) -> str:
        return "logistic"

    @property
    @override
    def digest(self) -> bytes:
        read = (hashlib.sha256(part.tobytes()).hexdigest() for part in (self.read.tokens, self.read.advice))
        return digest_of_parts([super().digest.hex(), *read])

    @override
    def coder(self, *, adaptive: bool) -> TokenCoder:
        if not adaptive:
            raise ConfigError("mixers learn from the text; leave out --static, or compress with one of the runs")
        return super().coder(adaptive=True)

    @override
    def scorer(self, *, ranks: bool = False) -> LogisticMixture:
        return LogisticMixture([member.scorer(ranks=False) for member in self.experts], self._reader)

    @functools.cached_property
    def mixer(self) -> ContextMixing:
        """The model that has learned from `read`."""
        return self.fitted()[0]

    def fitted(self) -> tuple[ContextMixing, Floats]:
        """A new model that has learned from `read`, and the log-probabilities [N] of that text.

        Learning again is faster than copying the largest tables, and saves the memory of a copy.
        """
        model = at_start(advised(mixing_model(self.members), len(self.members) - 1).copy(), self.tokenizer.boundary)
        logp = model.learn(self.read.tokens, self.read.advice)
        return model, logp

    def _reader(self) -> AdvisedReader:
        return AdvisedReader(self.mixer.copy().beside(1))

    @override
    def tensors(self) -> dict[str, Tensor]:
        tokens = torch.from_numpy(self.read.tokens.astype(np.int16))
        return super().tensors() | {"tokens": tokens, "advice": torch.from_numpy(self.read.advice)}

    @override
    def token_scores(
        self, text: Split, *, batch: int | None = None, columns: int = 1, ranks: bool = False
    ) -> TokenScores:
        return self._measured(text, batch, columns, audit=False)[0]

    @override
    def _measured(self, text: Split, batch: int | None, columns: int, *, audit: bool) -> tuple[TokenScores, Record]:
        begin = time.perf_counter()
        advice = advice_of(self.experts, text)
        tokens = np.array(text.tokens)
        logp = self._reader_at_start().learn(tokens, advice)
        scores = TokenScores(logp, None, time.perf_counter() - begin)
        facts: Record = {"weights_learned_by": "mixers of context mixing"}
        if audit:
            facts["audit"] = self._recomputed(text, advice).audit(text.tokens, logp).record()
        return scores, facts

    def _reader_at_start(self) -> ContextMixing:
        return at_start(self.fitted()[0], self.tokenizer.boundary)

    def _recomputed(self, text: Split, advice: Advice) -> Recomputed:
        """Distributions at sampled places, from those of the experts there and a model that has read up to there."""
        parts = [member.likelihood().recomputed(text, sampled(len(text.tokens))) for member in self.experts]
        places = functools.reduce(np.intersect1d, [part.places for part in parts])
        rows = np.stack([node_log_odds(part.logp[np.isin(part.places, places)]) for part in parts], 1)  # [P, E, 256]
        model, tokens, found, done = self._reader_at_start(), np.array(text.tokens), [], 0
        for place, nodes in zip(places.tolist(), rows, strict=True):
            model.learn(tokens[done:place], advice[done:place])
            model.tables.advice[:] = nodes
            found.append(model.distribution())
            done = place
        return Recomputed(places, np.stack(found), max([TOLERANCES["float32"], *(part.tolerance for part in parts)]))

    @override
    def adapted(
        self, *, dynamic: bool | Mapping[str, Any] = False, cache: bool | Mapping[str, Any] = False
    ) -> LogisticMixed:
        """The mixture with experts that adapt to the text they read, where they can; its mixers learn as before."""
        adapted = logistic_mixture(self.fixed, super().adapted(dynamic=dynamic, cache=cache).members, self.split)
        adapted.run = self.run
        return adapted

    @override
    def described(self) -> list[Record]:
        return [{key: value for key, value in member.items() if key != "weight"} for member in super().described()]

    @override
    def context(self, columns: int = 1) -> str:
        return f"{super().context(columns)}; weights learned online (mixers of context mixing)"


def logistic_mixture(fixed: Mixed, given: Sequence[Trained], split: str) -> LogisticMixed:
    """Runs, adapted or not, that advise the context-mixing run among them; what they are worth is learned on a split.

    `fixed` is the mixture of these runs without adaptation.
    """
    members = learning(given)
    experts = [member for member in members if member is not mixing_run(members)]
    with members[0].text(split) as text:
        begin = time.perf_counter()
        mixed = LogisticMixed(fixed, members, Advised(np.array(text.tokens), advice_of(experts, text)), split)
        mixed.measure(split, text, mixed.fitted()[1], time.perf_counter() - begin)
    return mixed


def mixing_run(members: Sequence[Trained]) -> Trained:
    """The first context-mixing run."""
    for member in members:
        if member.counted and member.counted.as_context_mixing and not member.settings.text_batches.resets:
            return member
    raise ConfigError(
        "log-odds are mixed by a context-mixing run that reads from end to end, and none is among these; train one: "
        "foretell train context-mixing"
    )


def mixing_model(members: Sequence[Trained]) -> ContextMixing:
    """The model of that run."""
    counted = mixing_run(members).counted
    assert counted is not None and counted.as_context_mixing is not None
    return counted.as_context_mixing


def at_start(model: ContextMixing, boundary: int) -> ContextMixing:
    """The model at the start of a text; it shares all tables."""
    found = model.beside(1)
    found.follow(np.array([boundary]))
    return found


def advice_of(experts: Sequence[Trained], text: Split) -> Advice:
    """The log-odds of a text by each run, which reads it with its own contexts."""
    found = np.zeros((len(text.tokens), len(experts), 8), np.float32)
    tokens = np.array(text.tokens)
    for e, expert in enumerate(experts):
        evaluator = expert.likelihood(ranks=False)
        windows, read = evaluator.windows(text), functools.partial(distributions, evaluator.scorer)
        with expert.progress("reading with") as on_progress:
            for k, valid, logp in reading(read, windows, expert.device, on_progress):
                at, rows = windows.target_positions(k)[valid.numpy()], logp[valid.to(logp.device)]
                for part in np.split(np.arange(len(at)), range(PIECE, len(at), PIECE)):
                    nodes = node_log_odds(rows[part].double().cpu().numpy())
                    found[at[part], e] = along(nodes, tokens[at[part]])
    return found
