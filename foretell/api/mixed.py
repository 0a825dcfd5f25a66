"""Several runs as one model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.api.trained import Trained, cannot_adapt
from foretell.coding.container import digest_of_parts
from foretell.coding.tokens import TokenCoder
from foretell.data.store.store import Split
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import with_adaptive
from foretell.evaluate.audit import mixed as mixed_distributions
from foretell.evaluate.audit import sampled
from foretell.evaluate.language_model import LanguageModel
from foretell.evaluate.mixture import Mixture, checked_weights, mixed_logp
from foretell.evaluate.scoring import Scorer, TokenScores, check_loss, metrics
from foretell.process import peak_memory
from foretell.results import Figures
from foretell.run import Record, Run
from foretell.training.monitor import Activity

Floats = NDArray[np.float64]


class Mixed(LanguageModel):
    """Trained models as one: evaluate, score, generate."""

    is_task = False

    def __init__(
        self,
        members: Sequence[Trained],
        weights: Sequence[float],
        fitted_loss: float | None = None,
        fitted_to: str | None = None,
    ):
        self.members, self.weights = tuple(members), tuple(weights)
        self.fitted_loss, self.fitted_to = fitted_loss, fitted_to
        self.run: Run | None = None
        """where it is saved"""
        self.validation: Figures | None = None
        """its figures on the split that it was fitted to"""
        first = self.members[0]
        self.tokenizer, self.device, self.text = first.tokenizer, first.device, first.text
        self.shares = self.weights

    @property
    @override
    def name(self) -> str:
        return str(self.run.path) if self.run else " + ".join(str(member.run.path) for member in self.members)

    def description(self) -> dict[str, Any]:
        """Its members with their weights, its size, and the text that the weights were fitted to."""
        members = {member["run"]: round(member["weight"], 4) for member in self.described()}
        return {"members": members, "parameters": self.parameters, "weights_fitted_to": self.fitted_to}

    def fitted_on(self, text: Split) -> list[str]:
        """The settings that were fitted on this very text: its weights, and the adaptation of its members."""
        mine = ["mixture weights"] if self.fitted_to and self.members[0].text_module.holds(self.fitted_to, text) else []
        return list(dict.fromkeys([*mine, *(name for member in self.members for name in member.fitted_on(text))]))

    @property
    def parameters(self) -> int:
        """Number of parameters of all members, plus free mixture weights."""
        return sum(member.parameters for member in self.members) + len(self.members) - 1

    @property
    @override
    def digest(self) -> bytes:
        return digest_of_parts([member.digest.hex() for member in self.members])

    @property
    @override
    def learns_as_it_reads(self) -> bool:
        return any(member.learns_as_it_reads for member in self.members)

    @property
    @override
    def starts_at_lines(self) -> bool:
        return all(member.starts_at_lines for member in self.members)

    @override
    def progress(self, name: str) -> AbstractContextManager[Activity]:
        return self.members[0].progress(name)

    @override
    def learning(self) -> Mixed:
        return self._of(member.learning() if member.learns_as_it_reads else member for member in self.members)

    def _of(self, members: Iterable[Trained]) -> Self:
        """The mixture with its members in another state."""
        other = copy.copy(self)
        other.members = tuple(members)
        return other

    @override
    def weighted(self, weights: Sequence[float]) -> Mixed:
        other = copy.copy(self)
        other.weights = other.shares = checked_weights(weights, len(self.members))
        other.fitted_loss = other.fitted_to = None
        return other

    @property
    def learned(self) -> str:
        """How its weights are learned; see `MixtureConfig.weights`."""
        return "fixed"

    def tensors(self) -> dict[str, Tensor]:
        """The weights, as they are saved."""
        return {"weights": torch.tensor(self.weights, dtype=torch.float64)}

    @override
    def coder(self, *, adaptive: bool) -> TokenCoder:
        if len({member.starts_at_lines for member in self.members}) > 1:
            raise ConfigError(
                f"some runs of {self.name} read each line from a fresh state and others do not, which coding by a "
                "mixture cannot do; mix runs of one kind"
            )
        return super().coder(adaptive=adaptive)

    def scorer(self, *, ranks: bool = False) -> Scorer:
        """The mixture as a scorer; without ranks, as members give only the probability of the target."""
        return Mixture([member.scorer(ranks=False) for member in self.members], self.weights)

    def token_scores(
        self, text: Split, *, batch: int | None = None, columns: int = 1, ranks: bool = False
    ) -> TokenScores:
        """The scores that `evaluate` sums, per token; each member reads the text with its own contexts."""
        logp, seconds = self._read(text, batch, columns)
        return TokenScores(self._mixed(text, logp), None, seconds)

    def _measured(self, text: Split, batch: int | None, columns: int, *, audit: bool) -> tuple[TokenScores, Record]:
        """The scores of a text, and further results."""
        logp, seconds = self._read(text, batch, columns)
        scores, facts = TokenScores(self._mixed(text, logp), None, seconds), self._facts(text, logp)
        if audit:
            places = sampled(len(text.tokens))
            parts = [member.likelihood(columns=columns).recomputed(text, places) for member in self.members]
            recomputed = mixed_distributions(parts, self._weights(text, logp))
            facts["audit"] = recomputed.audit(text.tokens, scores.logp).record()
        return scores, facts

    def _read(self, text: Split, batch: int | None, columns: int) -> tuple[Floats, float]:
        """Log-probabilities of a text by its members [M, N], and the time they took."""
        parts = [member.token_scores(text, batch=batch, columns=columns, ranks=False) for member in self.members]
        return np.stack([part.logp for part in parts]), sum(part.seconds for part in parts)

    def _mixed(self, text: Split, logp: Floats) -> Floats:
        """Log-probabilities of a text [N] from those of its members [M, N]."""
        return mixed_logp(logp, self.weights)

    def _weights(self, text: Split, logp: Floats) -> Floats:
        """The weights of its members for each token [M, N], each from what comes before the token alone."""
        return np.tile(np.array(self.weights)[:, None], logp.shape[1])

    def _facts(self, text: Split, logp: Floats) -> Record:
        """Further results, from the log-probabilities of its members [M, N]."""
        return {}

    def adapted(self, *, dynamic: bool | Mapping[str, Any] = False, cache: bool | Mapping[str, Any] = False) -> Mixed:
        """The mixture with the same weights of members that adapt to the text they read, where they can."""
        if not any(member.adapts for member in self.members):
            raise cannot_adapt(self.name)
        return self._of(adapted(member, dynamic=dynamic, cache=cache) for member in self.members)

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
        """Measure a split of the first member's corpus, or any text file; see `Trained.evaluate`."""
        adapts = dynamic is not False or cache is not False
        if adaptive or adapts:
            adapted = self.adapted(dynamic=dynamic, cache=cache)
            if not adaptive:
                return adapted.evaluate(split, batch=batch, columns=columns, audit=audit)
            static = self.evaluate(split, batch=batch, columns=columns, audit=audit)
            return with_adaptive(static, adapted.evaluate(split, audit=audit))
        with self.text(split) as text:
            return self.record(split, text, *self._measured(text, batch, columns, audit=audit), columns)

    def record(self, split: str, text: Split, scores: TokenScores, facts: Record, columns: int = 1) -> Figures:
        """The metrics of a text, with the context, the weights and the cost of the mixture."""
        check_loss(scores.totals.loss, self.name)
        found = {
            "run": self.name,
            "split": split,
            **metrics(scores.totals, text),
            **facts,
            **({"unnormalised": self.unnormalised} if self.unnormalised else {}),
            "context": self.context(columns),
            "mixture": self.described(),
            "fitted_here": self.fitted_on(text),
            "weights_fitted_to": self.fitted_to,
            "fitted_loss": self.fitted_loss,
            "parameters": self.parameters,
            "peak_memory_bytes": peak_memory(),
        }
        return Figures(found)

    @property
    def unnormalised(self) -> str:
        """Which members' probabilities do not sum to 1; "" if all do."""
        found = ((member.run.path, member.unnormalised) for member in self.members)
        return "; ".join(f"{path}: {which}" for path, which in found if which)

    def described(self) -> list[Record]:
        """Each member and its weight, and how it adapts if it does."""
        return [
            {"run": str(member.run.path), "weight": weight}
            | ({"adaptation": member.adaptation.record} if member.adaptation else {})
            for member, weight in zip(self.members, self.weights, strict=True)
        ]

    def context(self, columns: int = 1) -> str:
        """The context of a prediction, in words."""
        return "; ".join(dict.fromkeys(member.context(columns) for member in self.members))


def adapted(member: Trained, **settings: Any) -> Trained:
    """A member that adapts to the text it reads: a neural one as set, a counted one by learning, where it can."""
    if not member.adapts:
        return member
    return member.adapted(**settings) if member.counted is None else member.adapted()
