"""Mixtures whose weights are learned from the text they read."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from foretell.api.mixed import Floats, Mixed
from foretell.api.trained import Trained
from foretell.coding.container import digest_of_parts
from foretell.coding.tokens import TokenCoder
from foretell.data.store.store import Split
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import with_adaptive
from foretell.evaluate.gated_weights import Gate
from foretell.evaluate.mixture import checked_weights, fit_weights
from foretell.evaluate.online_mixture import OnlineMixture
from foretell.evaluate.online_weights import ExponentiatedGradient, Rule
from foretell.evaluate.scoring import TokenScores
from foretell.results import Figures
from foretell.run import Record

Online = Literal["gated", "logistic"] | bool


class LearningMixed(Mixed):
    """A mixture that learns how to mix from the text it reads; abstract.

    Its results have two parts: the same runs with fixed weights, which do not learn, and `adaptive`.
    """

    def __init__(self, fixed: Mixed, members: Sequence[Trained], weights: Sequence[float], fitted_to: str):
        super().__init__(members, weights, None, fitted_to)
        self.fixed, self.split = fixed, fitted_to

    def measure(self, split: str, text: Split, logp: Floats, seconds: float) -> None:
        """Keep the figures of the text that it was fitted to, from its log-probabilities [N]."""
        if self.fixed.validation is not None:  # it is not kept in a folder
            learned = self.record(split, text, TokenScores(logp, None, seconds), {})
            self.validation = with_adaptive(self.fixed.validation, learned)

    @property
    @override
    def learns_as_it_reads(self) -> bool:
        return True

    @override
    def learning(self) -> Self:
        return self

    @property
    @override
    def static(self) -> Mixed:
        return self.fixed

    @override
    def evaluate(
        self,
        split: str = "test",
        *,
        batch: int | None = None,
        columns: int = 1,
        dynamic: bool | Mapping[str, Any] = False,
        cache: bool | Mapping[str, Any] = False,
        adaptive: bool = False,
        audit: bool = False,
    ) -> Figures:
        """Measure a split or a text file: with fixed weights, and as the part `adaptive` with what is learned online.

        With `dynamic`, `cache` or `adaptive` the members of that part adapt; see `Trained.evaluate`.
        """
        if columns > 1:
            raise ConfigError("columns are read side by side, and such a mixture learns in order; leave out columns")
        if adaptive or dynamic is not False or cache is not False:
            return self.adapted(dynamic=dynamic, cache=cache).evaluate(split, batch=batch, audit=audit)
        learned = super().evaluate(split, batch=batch, audit=audit)
        return with_adaptive(self.fixed.evaluate(split, batch=batch, audit=audit), learned)


class OnlineMixed(LearningMixed):
    """A mixture that learns its weights token by token. Counted members that can learn as they read do so."""

    def __init__(self, fixed: Mixed, members: Sequence[Trained], weights: Sequence[float], fitted_to: str, rule: Rule):
        super().__init__(fixed, members, weights, fitted_to)
        self.rule = rule

    @property
    @override
    def digest(self) -> bytes:
        return digest_of_parts([super().digest.hex(), self.rule.name, self.rule.identity])

    @property
    @override
    def learned(self) -> str:
        return "gated" if isinstance(self.rule, Gate) else "online"

    @override
    def tensors(self) -> dict[str, Tensor]:
        found = super().tensors() | {"fixed": torch.tensor(self.fixed.weights, dtype=torch.float64)}
        return found | ({"gate": torch.from_numpy(self.rule.first)} if isinstance(self.rule, Gate) else {})

    @override
    def weighted(self, weights: Sequence[float]) -> OnlineMixed:
        """The mixture with other weights to start from; a gate keeps its own."""
        other = copy.copy(self)
        other.weights = other.shares = checked_weights(weights, len(self.members))
        other.rule = self.rule if isinstance(self.rule, Gate) else ExponentiatedGradient(other.weights)
        return other

    @override
    def coder(self, *, adaptive: bool) -> TokenCoder:
        if not adaptive:
            raise ConfigError("online weights learn from the text; compress with fixed ones, foretell.mix(runs)")
        return super().coder(adaptive=True)

    @override
    def scorer(self, *, ranks: bool = False) -> OnlineMixture:
        return OnlineMixture([member.scorer(ranks=False) for member in self.members], self.rule)

    @override
    def _mixed(self, text: Split, logp: Floats) -> Floats:
        return self.rule.read(ids(text), logp, self.starts(text))[0]

    @override
    def _weights(self, text: Split, logp: Floats) -> Floats:
        return self.rule.stepwise(ids(text), logp, self.starts(text))[1]

    @override
    def _facts(self, text: Split, logp: Floats) -> Record:
        facts: Record = {"weights_learned_by": self.rule.name}
        if isinstance(self.rule, ExponentiatedGradient) and len(self.starts(text)) == 1:
            regret = self.rule.regret(logp)
            facts["regret"] = {"nats": regret.nats, "bound": regret.bound, "best_weights": regret.best}
        return facts

    def starts(self, text: Split) -> list[int]:
        """Where all members, and so the weights, start from nothing."""
        kinds = {member.settings.text_batches.resets for member in self.members}
        resets = kinds.pop() if len(kinds) == 1 else ""
        found = {"documents": text.documents, "lines": text.lines}.get(resets, np.zeros(2, dtype=np.int64))
        return sorted({0, *(int(place) for place in found[:-1] if place < len(text.tokens))})

    @override
    def adapted(
        self, *, dynamic: bool | Mapping[str, Any] = False, cache: bool | Mapping[str, Any] = False
    ) -> OnlineMixed:
        """The mixture of members that adapt to the text they read, where they can; its weights learn as before."""
        members = super().adapted(dynamic=dynamic, cache=cache).members
        adapted = online_mixture(self.fixed, members, "gated" if isinstance(self.rule, Gate) else True, self.split)
        adapted.run = self.run
        return adapted

    @override
    def context(self, columns: int = 1) -> str:
        return f"{super().context(columns)}; weights learned online ({self.rule.name})"


def without_adaptation(member: Trained) -> Trained:
    """The model as it was trained."""
    other = copy.copy(member)
    other.adaptation = None
    return other


def online_mixture(fixed: Mixed, given: Sequence[Trained], online: Online, split: str) -> OnlineMixed:
    """Runs, adapted or not, whose weights are learned online; where they start is learned on a split.

    `fixed` is the mixture of these runs without adaptation.
    """
    members = learning(given)
    with members[0].text(split) as text:
        parts = [member.token_scores(text, ranks=False) for member in members]
        logp = np.stack([part.logp for part in parts])
        fit = fit_weights(logp)
        rule = new_rule(online, fit.weights, members[0].tokenizer)
        if isinstance(rule, Gate):
            rule = rule.trained(ids(text), logp)
        mixed = OnlineMixed(fixed, members, fit.weights, split, rule)
        mixed.measure(split, text, rule.read(ids(text), logp, mixed.starts(text))[0], sum(p.seconds for p in parts))
    return mixed


def new_rule(online: Online, weights: Sequence[float], tokenizer: Tokenizer) -> ExponentiatedGradient | Gate:
    """A rule that starts from these weights."""
    return Gate(weights, begins_word(tokenizer)) if online == "gated" else ExponentiatedGradient(weights)


def learning(members: Sequence[Trained]) -> list[Trained]:
    """The members, counted ones learning as they read where they can."""
    return [
        member.adapted() if member.counted is not None and member.adapts and member.adaptation is None else member
        for member in members
    ]


def ids(text: Split) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The tokens of a text [N]."""
    return np.array(text.tokens, dtype=np.int64)


def begins_word(tokenizer: Tokenizer) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[V] whether a token begins a word, or is none: anything but letters and digits alone."""
    specials = {tokenizer.boundary}
    return np.array([token in specials or not tokenizer.decode([token]).isalnum() for token in range(tokenizer.size)])
