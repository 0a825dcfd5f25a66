"""n-gram models: a language model that is counted, not trained by gradient.

The model is a trie of n-grams written backwards (the predicted word first), as in KenLM: walking from a word through
those before it finds the longest n-gram there is, for all positions of a text at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from foretell.config import Count, Positive
from foretell.errors import ConfigError
from foretell.models import kneser_ney
from foretell.models.kneser_ney import Estimate, Floats, Ints, OrderReport
from foretell.models.model_config import ModelConfig

BEST = 5  # words whose rank is told
MAX_ORDER = 15
PARTS = {"first": torch.int32, "shorter": torch.int32, "logp": torch.float32, "backoff": torch.float32}


class NGramConfig(ModelConfig):
    """n-grams with interpolated modified Kneser-Ney smoothing."""

    kind: Literal["ngram"] = "ngram"
    counted: ClassVar[bool] = True
    order: Annotated[int, Field(ge=1, le=MAX_ORDER)] = 5
    """words in the longest n-gram, 1 to 15: the context is one less"""
    prune: tuple[Count, ...] = ()
    """leave out n-grams that occur so often or less, by order from one word up; the last number holds for the rest"""
    fallback: tuple[Positive, Positive, Positive] = kneser_ney.FALLBACK
    """discounts for counts of 1, 2, 3 and more where the text does not allow to estimate them; above 0"""
    omit_newest: bool = True
    """as KenLM does, leave the word that is new last in the text out of the counts of counts; false: as published"""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if list(self.prune) != sorted(self.prune) or len(self.prune) > self.order:
            raise ValueError(f"prune is {list(self.prune)}; give at most {self.order} numbers that do not fall")
        if self.prune and self.prune[0] != 0:
            raise ValueError("prune begins with the single words, which all stay: its first number has to be 0")
        if not all(discount <= k for k, discount in enumerate(self.fallback, 1)):
            raise ValueError(f"fallback is {list(self.fallback)}; the discount for k is at most k")
        return self

    def fit(self, tokens: NDArray[np.unsignedinteger], starts: Ints, boundary: int, vocabulary: int) -> NGram:
        """The model of a text [N]; `starts` are places in it where the context begins anew."""
        prune = [*self.prune, *[self.prune[-1] if self.prune else 0] * (self.order - len(self.prune))]
        counts = kneser_ney.count(tokens, starts, boundary, vocabulary, self.order)
        found = kneser_ney.levels(counts, vocabulary)
        del counts
        omitted = kneser_ney.newest_word(tokens, boundary, vocabulary) if self.omit_newest else None
        return NGram.of(kneser_ney.estimate(found, prune, self.fallback, omitted), boundary)


@dataclass(frozen=True)
class Order:
    """The n-grams of one order: [M] each."""

    first: NDArray[np.int32]
    """the first word"""
    shorter: NDArray[np.int32]
    """index, in the order below, of the n-gram without its first word; ascending"""
    logp: NDArray[np.float32]
    """natural logarithm of p(last word | the words before it)"""
    backoff: NDArray[np.float32]
    """what shorter contexts are scaled by after these words, natural logarithm; empty in the highest order"""

    def __len__(self) -> int:
        return len(self.first)


class NGram:
    """The trie, and what it says of words after a text [B, order - 1 + T], in which nothing reaches beyond a boundary.

    `evaluate.scoring.NGramScorer` makes it a scorer, whose state is the last order - 1 words.
    """

    def __init__(self, orders: Sequence[Order], boundary: int, reports: Sequence[OrderReport] = ()):
        self.boundary, self.reports = boundary, list(reports)
        self.vocabulary = len(orders[0])
        self.orders: list[Order] = []
        self._keys: list[Ints] = []
        self._logp: list[NDArray[np.float32]] = []  # as in `orders`; one 0 where there are none, so that
        self._backoff: list[NDArray[np.float32]] = []  # any index may be looked up and masked later
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
    def of(cls, found: Estimate, boundary: int) -> NGram:
        """The model with estimated probabilities."""
        none = np.zeros(0, dtype=np.float32)
        orders = [
            Order(
                level.first,
                level.shorter,
                found.logp[number],
                found.backoff[number] if number < len(found.backoff) else none,
            )
            for number, level in enumerate(found.levels)
        ]
        return cls(orders, boundary, found.reports)

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return len(self.orders)

    @property
    def parameters(self) -> int:
        """How many numbers were estimated: probabilities and back-off weights."""
        return sum(len(order.logp) + len(order.backoff) for order in self.orders)

    def tensors(self) -> dict[str, Tensor]:
        """Everything to save."""
        return {
            f"{number}.{name}": torch.from_numpy(getattr(order, name))
            for number, order in enumerate(self.orders, 1)
            for name in ("first", "shorter", "logp", "backoff")
        }

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int | None = None) -> NGram:
        """The inverse of `tensors`; a `ConfigError` where they are not those of a model over the vocabulary."""
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
        """A `ConfigError` where an order holds what no model does; lookups in it would find nonsense."""
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
            raise damaged(f"{number}.logp has values that are no log-probabilities")
        if not np.isfinite(order.backoff).all():
            raise damaged(f"{number}.backoff has values that are not finite")

    # --- scoring ----------------------------------------------------------------------------------

    def logp(self, text: Ints, words: Ints) -> tuple[Floats, NDArray[np.int8]]:
        """Log-probabilities [B, T] of words [B, T] after the text [B, order - 1 + T], and how long an n-gram was found.

        Before word t stands everything up to text[:, order - 1 + t].
        """
        context = self.contexts(text)
        steps = words.shape[1]
        node: Ints = words.astype(np.int64)
        logp = self.orders[0].logp[node].astype(np.float64)
        length = np.ones(words.shape, dtype=np.int8)
        here = np.ones(words.shape, dtype=bool)
        for number in range(1, self.order):
            before = text[:, self.order - number : self.order - number + steps]  # the word `number` places before
            if number > 1:  # nothing goes on beyond a boundary
                here &= text[:, self.order - number + 1 : self.order - number + 1 + steps] != self.boundary
            node, exists = self.extend(number, node, before)
            here &= exists
            backoff = np.where(context[number - 1] < 0, 0.0, self._backoff[number - 1][context[number - 1]])
            logp = np.where(here, self._logp[number][node], logp + backoff)
            length[here] = number + 1
        return logp, length

    def contexts(self, text: Ints) -> list[Ints]:
        """For each order but the highest the n-gram that ends at each place: its index [B, T], -1: there is none."""
        steps = text.shape[1] - (self.order - 1)
        node: Ints = text[:, self.order - 1 :]
        here = np.ones(node.shape, dtype=bool)
        found = []
        for number in range(1, self.order):
            found.append(np.where(here, node, -1))
            if number + 1 < self.order:
                here &= text[:, self.order - number : self.order - number + steps] != self.boundary
                before = text[:, self.order - 1 - number : self.order - 1 - number + steps]
                node, exists = self.extend(number, node, before)
                here &= exists
        return found

    def extend(self, number: int, node: Ints, before: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """N-grams of order `number` with one more word before them: their index, and whether there is such a one."""
        keys = self._keys[number]
        wanted = node * self.vocabulary + before
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        return at, keys[at] == wanted if len(keys) else np.zeros(node.shape, dtype=bool)

    # --- whole distributions ----------------------------------------------------------------------

    def ranks(self, text: Ints, words: Ints) -> Ints:
        """How many words are more probable than words [B, T] after the text: exact below `BEST`, `BEST` above.

        No distribution is made. Interpolation only raises what follows a context over what back-off gives it, so the
        likeliest words after a context are among those seen after it and the likeliest after the context cut short.
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
        """The likeliest words without any context and their log-probabilities: [BEST] each."""
        logp = self.orders[0].logp.astype(np.float64)
        words = np.argsort(-logp, kind="stable")[:BEST].astype(np.int32)
        padding = (0, BEST - len(words))
        return np.pad(words, padding), np.pad(logp[words], padding, constant_values=-np.inf)

    @cached_property
    def _best_after_words(self) -> tuple[NDArray[np.int32], Floats]:
        """The same after each single word: [V, BEST]."""
        words, logp = self._best_words
        shape = (self.vocabulary, BEST)
        return self._likeliest(
            1, np.arange(self.vocabulary), np.broadcast_to(words, shape), np.broadcast_to(logp, shape)
        )

    def _likeliest(
        self, number: int, contexts: Ints, words: NDArray[np.int32], logp: Floats
    ) -> tuple[NDArray[np.int32], Floats]:
        """The likeliest words after contexts [U] of `number` words, and their log-probabilities: [U, BEST] each.

        words, logp [U, BEST]: the same after the contexts without their first word.
        """
        offsets, ngrams, followers = self._followers[number]
        counts = offsets[contexts + 1] - offsets[contexts]
        row = np.repeat(np.arange(len(contexts)), counts)
        at = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(offsets[contexts], counts)
        rest = logp + self._backoff[number - 1][contexts, None]
        seen = np.isin(
            np.arange(len(contexts))[:, None] * self.vocabulary + words, row * self.vocabulary + followers[at]
        )
        rest[seen] = -np.inf  # it stands among those that were seen
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
        contexts = [found[:, -1] for found in self.contexts(padded)]
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
        """For each order: where each context's n-grams begin in what follows, the n-grams, and their last words."""
        none = np.zeros(0, dtype=np.int32)
        found: list[tuple[Ints, NDArray[np.int32], NDArray[np.int32]]] = [(np.zeros(1, dtype=np.int64), none, none)]
        context = last = np.arange(self.vocabulary, dtype=np.int32)
        for number in range(1, self.order):
            order = self.orders[number]
            last = last[order.shorter]
            if number == 1:
                context = order.first
            else:  # the shorter n-gram's context with one more word before it
                shorter_context = context[order.shorter].astype(np.int64)
                longer, exists = self.extend(number - 1, shorter_context, order.first.astype(np.int64))
                if not exists.all():
                    raise damaged(f"n-grams of order {number + 1} begin with none of order {number}")
                context = longer.astype(np.int32)
            by_context = np.argsort(context, kind="stable").astype(np.int32)
            offsets = np.searchsorted(context[by_context], np.arange(len(self.orders[number - 1]) + 1))
            found.append((offsets, by_context, last[by_context]))
        return found

    def words(self, number: int) -> NDArray[np.int32]:
        """The words of all n-grams of an order, first to last: [M, order]."""
        columns = []
        index: NDArray[np.int32] | slice = slice(None)
        for level in range(number - 1, -1, -1):
            columns.append(self.orders[level].first[index])
            index = self.orders[level].shorter[index]
        return np.stack(columns, axis=1)


def damaged(what: str) -> ConfigError:
    """The error for tensors that are no model."""
    return ConfigError(
        f"the tensors of the n-gram model are damaged: {what}", remedy="train it again or import it anew"
    )
