"""n-gram language models, estimated from counts.

The model is a trie of reversed n-grams (predicted token first), as in KenLM: following the tokens before a token finds
the longest matching n-gram, for all positions of a text at once. A "word" is a token of any tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from foretell.config import Count, Positive
from foretell.errors import ConfigError
from foretell.models import kneser_ney
from foretell.models.counted import CountedConfig, CountedModel
from foretell.models.kneser_ney import Estimate, Floats, Ints, OrderReport
from foretell.models.ngram_scorer import NGramScorer
from foretell.types import OnProgress, no_progress

BEST = 5  # ranks below this are exact
MAX_ORDER = 15
PARTS = {"first": torch.int32, "shorter": torch.int32, "logp": torch.float32, "backoff": torch.float32}


class NGramConfig(CountedConfig):
    """n-grams with interpolated modified Kneser-Ney smoothing."""

    kind: Literal["ngram"] = "ngram"
    order: Annotated[int, Field(ge=1, le=MAX_ORDER)] = 5
    """words in the longest n-gram, 1 to 15; the context is one shorter"""
    prune: tuple[Count, ...] = ()
    """remove n-grams with at most this count, per order from single words up; the last number applies to the rest"""
    fallback: tuple[Positive, Positive, Positive] = kneser_ney.FALLBACK
    """discounts for counts of 1, 2, 3 and more where the text is too small to estimate them; above 0"""
    omit_newest: bool = True
    """like KenLM, exclude the word whose first occurrence is last from the counts of counts; false: as published"""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if list(self.prune) != sorted(self.prune) or len(self.prune) > self.order:
            raise ValueError(f"prune is {list(self.prune)}; give at most {self.order} numbers that do not fall")
        if self.prune and self.prune[0] != 0:
            raise ValueError("prune starts with single words, which are never removed: its first number has to be 0")
        if not all(discount <= k for k, discount in enumerate(self.fallback, 1)):
            raise ValueError(f"fallback is {list(self.fallback)}; the discount for k is at most k")
        return self

    @override
    def fit(
        self,
        tokens: NDArray[np.unsignedinteger],
        starts: Ints,
        boundary: int,
        vocabulary: int,
        on_progress: OnProgress = no_progress,
        seconds: float = math.inf,
    ) -> NGram:
        prune = [*self.prune, *[self.prune[-1] if self.prune else 0] * (self.order - len(self.prune))]
        levels = kneser_ney.levels(tokens, starts, boundary, vocabulary, self.order, on_progress)
        omitted = kneser_ney.newest_word(tokens, boundary, vocabulary) if self.omit_newest else None
        return NGram.of(kneser_ney.estimate(levels, prune, self.fallback, omitted), boundary)

    @override
    def load(self, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int) -> NGram:
        return NGram.load(tensors, boundary, vocabulary)


@dataclass(frozen=True)
class Order:
    """The n-grams of an order, [M] each."""

    first: NDArray[np.int32]
    """first word"""
    shorter: NDArray[np.int32]
    """index, in the order below, of the n-gram without its first word; ascending"""
    logp: NDArray[np.float32]
    """log p(last word | the words before it), in nats"""
    backoff: NDArray[np.float32]
    """log of the back-off weight after these words, in nats; empty in the highest order"""

    def __len__(self) -> int:
        return len(self.first)


class NGram(CountedModel):
    """The trie, which scores words after a text [B, order - 1 + T]; no context reaches beyond a boundary."""

    def __init__(self, orders: Sequence[Order], boundary: int, reports: Sequence[OrderReport] = ()):
        self.boundary, self.reports = boundary, list(reports)
        self.vocabulary = len(orders[0])
        self.orders: list[Order] = []
        self._keys: list[Ints] = []
        self._logp: list[NDArray[np.float32]] = []  # as in `orders`; a single 0 for empty orders, so that
        self._backoff: list[NDArray[np.float32]] = []  # any index can be looked up and masked later
        for order in orders:
            self.append(order)

    def append(self, order: Order) -> None:
        """Add the next higher order."""
        self.orders.append(order)
        self._keys.append(order.shorter.astype(np.int64) * self.vocabulary + order.first)
        none = np.zeros(1, dtype=np.float32)
        self._logp.append(order.logp if len(order) else none)
        self._backoff.append(order.backoff if len(order) else none)

    @classmethod
    def of(cls, estimate: Estimate, boundary: int) -> NGram:
        """The model with estimated probabilities."""
        none = np.zeros(0, dtype=np.float32)
        orders = [
            Order(
                estimate.first[number],
                estimate.shorter[number],
                estimate.logp[number],
                estimate.backoff[number] if number < len(estimate.backoff) else none,
            )
            for number in range(len(estimate.first))
        ]
        return cls(orders, boundary, estimate.reports)

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return len(self.orders)

    @property
    @override
    def parameters(self) -> int:
        """Number of estimated values: probabilities and back-off weights."""
        return sum(len(order.logp) + len(order.backoff) for order in self.orders)

    @override
    def scorer(self, *, ranks: bool = True) -> NGramScorer:
        return NGramScorer(self, ranks=ranks)

    @property
    @override
    def as_ngram(self) -> NGram:
        return self

    @override
    def report(self) -> Mapping[str, Any]:
        return {"orders": [vars(report) for report in self.reports]}

    @override
    def summary_lines(self, unit: str) -> list[str]:
        return kneser_ney.summary_lines(self.reports, unit)

    @override
    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": torch.from_numpy(getattr(order, name))
            for number, order in enumerate(self.orders, 1)
            for name in ("first", "shorter", "logp", "backoff")
        }

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int | None = None) -> NGram:
        """Restore from `tensors`; raises `ConfigError` if they are not a model over the vocabulary."""
        count = len(tensors) // len(PARTS)
        known = {f"{number}.{part}": dtype for number in range(1, count + 1) for part, dtype in PARTS.items()}
        if known.keys() != tensors.keys() or not 1 <= count <= MAX_ORDER:
            raise damaged(f"they are not those of orders 1 to at most {MAX_ORDER}")
        for name, tensor in tensors.items():
            if tensor.dtype != known[name] or tensor.dim() != 1:
                raise damaged(f"{name} is {tensor.dtype} {list(tensor.shape)}, not a row of {known[name]}")
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        orders = [Order(*(arrays[f"{number}.{part}"] for part in PARTS)) for number in range(1, count + 1)]
        for number, order in enumerate(orders, 1):
            if not len(order.first) == len(order.shorter) == len(order.logp):
                raise damaged(f"those of order {number} differ in length")
        if len(orders[0]) != (len(orders[0]) if vocabulary is None else vocabulary):
            raise damaged(f"they hold {len(orders[0]):,} words, the tokenizer {vocabulary:,}")
        if not 0 <= boundary < len(orders[0]):
            raise damaged(f"the boundary {boundary} is not among their {len(orders[0]):,} words")
        model = cls(orders, boundary)
        for number in range(1, count + 1):
            model._check(number)
        return model

    def _check(self, number: int) -> None:
        """Raise `ConfigError` if the values of an order are invalid, as lookups would return garbage."""
        order, keys = self.orders[number - 1], self._keys[number - 1]
        below = 1 if number == 1 else len(self.orders[number - 2])
        if len(order.backoff) != (len(order) if number < self.order else 0):
            raise damaged(f"{number}.backoff has {len(order.backoff):,} weights for {len(order):,} n-grams")
        for name, indices, limit in (("first", order.first, self.vocabulary), ("shorter", order.shorter, below)):
            if len(indices) and not (indices.min() >= 0 and indices.max() < limit):
                raise damaged(f"{number}.{name} has indices outside of 0 to {limit - 1:,}")
        if not (keys[1:] > keys[:-1]).all() or (number == 1 and keys[-1:].tolist() != [self.vocabulary - 1]):
            raise damaged(f"the n-grams of order {number} are not in order")
        if not (np.isfinite(order.logp).all() and (order.logp <= 1e-6).all()):
            raise damaged(f"{number}.logp has values that are not log-probabilities")
        if not np.isfinite(order.backoff).all():
            raise damaged(f"{number}.backoff has values that are not finite")

    # --- scoring ----------------------------------------------------------------------------------

    def logp(self, text: Ints, words: Ints) -> tuple[Floats, NDArray[np.int8]]:
        """Log-probabilities of words [B, T] after the text [B, order - 1 + T], and lengths of the matching n-grams.

        The context of word t is everything up to text[:, order - 1 + t].
        """
        context = self.contexts(text)
        steps = words.shape[1]
        node: Ints = words.astype(np.int64)
        logp = self.orders[0].logp[node].astype(np.float64)
        length = np.ones(words.shape, dtype=np.int8)
        here = np.ones(words.shape, dtype=bool)
        for number in range(1, self.order):
            before = text[:, self.order - number : self.order - number + steps]  # the word `number` positions before
            if number > 1:  # no n-gram continues across a boundary
                here &= text[:, self.order - number + 1 : self.order - number + 1 + steps] != self.boundary
            node, exists = self.extend(number, node, before)
            here &= exists
            backoff = np.where(context[number - 1] < 0, 0.0, self._backoff[number - 1][context[number - 1]])
            logp = np.where(here, self._logp[number][node], logp + backoff)
            length[here] = number + 1
        return logp, length

    def contexts(self, text: Ints) -> list[Ints]:
        """Index [B, T] of the n-gram ending at each position, per order below the highest; -1: none."""
        steps = text.shape[1] - (self.order - 1)
        node: Ints = text[:, self.order - 1 :]
        here = np.ones(node.shape, dtype=bool)
        contexts = []
        for number in range(1, self.order):
            contexts.append(np.where(here, node, -1))
            if number + 1 < self.order:
                here &= text[:, self.order - number : self.order - number + steps] != self.boundary
                before = text[:, self.order - 1 - number : self.order - 1 - number + steps]
                node, exists = self.extend(number, node, before)
                here &= exists
        return contexts

    def extend(self, number: int, node: Ints, before: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Extend n-grams of order `number` by the word before them: indices, and whether they exist."""
        keys = self._keys[number]
        wanted = node * self.vocabulary + before
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        return at, keys[at] == wanted if len(keys) else np.zeros(node.shape, dtype=bool)

    # --- whole distributions ----------------------------------------------------------------------

    def ranks(self, text: Ints, words: Ints) -> Ints:
        """Number of words more probable than words [B, T] after the text, at most `BEST`.

        Computes no distribution: interpolation only raises the words seen after a context above their back-off
        probability, so the most probable ones are among these and the most probable after the shortened context.
        """
        logp, _ = self.logp(text, words)
        best = np.broadcast_to(self._best_words[1], (*words.shape, BEST)).copy()
        known: Ints = np.zeros(1, dtype=np.int64)
        lists = self._best_words[0][None], self._best_words[1][None]
        for number, context in enumerate(self.contexts(text), 1):
            here = context >= 0
            wanted, inverse = np.unique(context[here], return_inverse=True)
            if number == 1:
                known, lists = np.arange(self.vocabulary), self._best_after_words
            else:
                below = np.searchsorted(known, self.orders[number - 1].shorter[wanted])
                lists = self._likeliest(number, wanted, lists[0][below], lists[1][below])
                known = wanted
            best[here] = lists[1][np.searchsorted(known, wanted)][inverse]
        rank: Ints = (best > logp[..., None]).sum(-1)
        return rank

    @cached_property
    def _best_words(self) -> tuple[NDArray[np.int32], Floats]:
        """The most probable words without context and their log-probabilities, [BEST] each."""
        logp = self.orders[0].logp.astype(np.float64)
        words = np.argsort(-logp, kind="stable")[:BEST].astype(np.int32)
        padding = (0, BEST - len(words))
        return np.pad(words, padding), np.pad(logp[words], padding, constant_values=-np.inf)

    @cached_property
    def _best_after_words(self) -> tuple[NDArray[np.int32], Floats]:
        """The most probable words after each single word, [V, BEST] each."""
        words, logp = self._best_words
        shape = (self.vocabulary, BEST)
        return self._likeliest(
            1, np.arange(self.vocabulary), np.broadcast_to(words, shape), np.broadcast_to(logp, shape)
        )

    def _likeliest(
        self, number: int, contexts: Ints, words: NDArray[np.int32], logp: Floats
    ) -> tuple[NDArray[np.int32], Floats]:
        """The most probable words after contexts [U] of `number` words and their log-probabilities, [U, BEST] each.

        words, logp [U, BEST]: the most probable ones after the contexts without their first word.
        """
        offsets, ngrams, followers = self._followers[number]
        counts = offsets[contexts + 1] - offsets[contexts]
        row = np.repeat(np.arange(len(contexts)), counts)
        at = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(offsets[contexts], counts)
        rest = logp + self._backoff[number - 1][contexts, None]
        seen = np.isin(
            np.arange(len(contexts))[:, None] * self.vocabulary + words, row * self.vocabulary + followers[at]
        )
        rest[seen] = -np.inf  # among those seen after the context
        rows = np.concatenate([row, np.repeat(np.arange(len(contexts)), BEST)])
        all_words = np.concatenate([followers[at], words.ravel()])
        all_logp = np.concatenate([self._logp[number][ngrams[at]].astype(np.float64), rest.ravel()])
        order = np.lexsort([-all_logp, rows])
        first = np.searchsorted(rows[order], np.arange(len(contexts)))
        chosen = order[first[:, None] + np.arange(BEST)]
        return all_words[chosen], all_logp[chosen]

    def distribution(self, text: Ints) -> NDArray[np.float32]:
        """Log-probabilities [B, V] of every word after the text [B, order - 1 or more]."""
        text = text[:, -(self.order - 1) :] if self.order > 1 else text[:, :0]
        logp = np.repeat(self.orders[0].logp[None], len(text), axis=0)
        if self.order == 1:
            return logp
        padded = np.concatenate([np.full((len(text), self.order - 1), self.boundary), text], axis=1)
        contexts = [indices[:, -1] for indices in self.contexts(padded)]
        for number, context in enumerate(contexts, 1):
            known = np.flatnonzero(context >= 0)
            logp[known] += self._backoff[number - 1][context[known], None]
            offsets, ngrams, words = self._followers[number]
            for row in known:
                own = slice(offsets[context[row]], offsets[context[row] + 1])
                logp[row, words[own]] = self._logp[number][ngrams[own]]
        return logp

    @cached_property
    def _followers(self) -> list[tuple[Ints, NDArray[np.int32], NDArray[np.int32]]]:
        """Per order: the offset of each context's n-grams, the n-grams by context, and their last words."""
        none = np.zeros(0, dtype=np.int32)
        followers: list[tuple[Ints, NDArray[np.int32], NDArray[np.int32]]] = [(np.zeros(1, dtype=np.int64), none, none)]
        context = last = np.arange(self.vocabulary, dtype=np.int32)
        for number in range(1, self.order):
            order = self.orders[number]
            last = last[order.shorter]
            if number == 1:
                context = order.first
            else:  # the context of the shorter n-gram, extended by a word
                shorter_context = context[order.shorter].astype(np.int64)
                longer, exists = self.extend(number - 1, shorter_context, order.first.astype(np.int64))
                if not exists.all():
                    raise damaged(f"n-grams of order {number + 1} have no prefix of order {number}")
                context = longer.astype(np.int32)
            by_context = np.argsort(context, kind="stable").astype(np.int32)
            offsets = np.searchsorted(context[by_context], np.arange(len(self.orders[number - 1]) + 1))
            followers.append((offsets, by_context, last[by_context]))
        return followers

    def words(self, number: int) -> NDArray[np.int32]:
        """Words [M, order] of all n-grams of an order, first to last."""
        columns = []
        index: NDArray[np.int32] | slice = slice(None)
        for level in range(number - 1, -1, -1):
            columns.append(self.orders[level].first[index])
            index = self.orders[level].shorter[index]
        return np.stack(columns, axis=1)


def damaged(what: str) -> ConfigError:
    """The error for invalid tensors."""
    return ConfigError(f"the tensors of the n-gram model are damaged: {what}", remedy="train or import it again")
