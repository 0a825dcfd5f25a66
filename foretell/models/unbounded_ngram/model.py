"""n-grams of unbounded order: every context that occurs, however long, of any tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from foretell.errors import ConfigError
from foretell.kernels.suffix_index import LEVELS, Index, Path, Rows, index_of, is_sound, start, text_of
from foretell.models.counted import CountedModel
from foretell.models.learning_scorer import LearningScorer, Reader
from foretell.models.unbounded_ngram import predicting
from foretell.models.unbounded_ngram.counting import Counts, counts_of, is_consistent
from foretell.models.unbounded_ngram.growing import enlarged, seedling
from foretell.models.unbounded_ngram.predicting import (
    CELLS,
    TABLES,
    Model,
    Weights,
    first_weights,
    no_levels,
    weights_of,
)
from foretell.models.unbounded_ngram.scorer import UnboundedScorer
from foretell.types import OnProgress, no_progress

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
HELD_OUT = 100_000
"""tokens at the end of the text that weights are learned on, at most a tenth of it"""
LEARNED_FROM = 1 << 22
"""tokens before those, at most"""
RATES = (0.3, 0.1, 0.1)
"""learning rates of the passes over them"""
MISFIT = "the weights are not those of an n-gram model of unbounded order"
INDEX, COUNTS = Index._fields, Counts._fields
LEARNED = ("static.logits", "static.squares", "growing.logits", "growing.squares")


class UnboundedNGram(CountedModel):
    """Contexts of the training text, their counts, and weights: one set for a model that only predicts, and one
    for a model that also counts what it reads."""

    def __init__(self, static: Model, growing: Weights, boundary: int):
        self.static, self.growing, self.boundary = static, static._replace(weights=growing), boundary

    @classmethod
    def fit(
        cls,
        tokens: NDArray[np.unsignedinteger],
        starts: Ints,
        boundary: int,
        vocabulary: int,
        on_progress: OnProgress = no_progress,
    ) -> UnboundedNGram:
        """Count a text [N] whose contexts end at `starts`; weights are learned on its end, as text that follows."""
        text = with_resets(tokens.astype(np.int32), starts, boundary, vocabulary)
        end = len(text) - 1 - min(len(text) // 10, HELD_OUT)
        begin = max(0, end - LEARNED_FROM)
        part = cls.of(np.append(text[begin:end], np.int32(vocabulary)), boundary, vocabulary)
        on_progress(0.3)
        part.learn_weights(text[end:-1].astype(np.int64))
        on_progress(0.5)
        return cls.of(text, boundary, vocabulary, part.weights)

    @classmethod
    def of(
        cls,
        text: Rows,
        boundary: int,
        vocabulary: int,
        weights: tuple[Weights, Weights] | None = None,
    ) -> UnboundedNGram:
        """The counts of a text [N], in which the symbol V stands where contexts end, as after the last token."""
        index, places = index_of(text, vocabulary + 1)
        counts = counts_of(text, places, vocabulary + 1)
        static, growing = weights or (first_weights(), first_weights())
        return cls(Model(index, counts, static, vocabulary), growing, boundary)

    @property
    def weights(self) -> tuple[Weights, Weights]:
        """The weights for a model that only predicts, and for one that also counts."""
        return self.static.weights, self.growing.weights

    @property
    @override
    def parameters(self) -> int:
        """Number of counts of contexts."""
        return int(np.count_nonzero(self.static.counts.total))

    def text(self) -> Rows:
        """The training text, with the symbol V where contexts end."""
        found: Rows = text_of(self.static.contexts)
        return found

    def start(self, *, grows: bool = False) -> Place:
        """The place before any text."""
        return Place(self, start(self.static.contexts), grows=grows)

    def at(self, state: Tensor) -> Place:
        """The place of a state [3 LEVELS + 1]."""
        begin, end, length, depth = np.split(state.numpy().copy(), [LEVELS, 2 * LEVELS, 3 * LEVELS])
        return Place(self, Path(begin, end, length, depth), grows=False)

    def learn_weights(self, text: Ints) -> None:
        """Learn weights on a text that follows, in which the symbol V stands where contexts end."""
        ends = np.append(np.flatnonzero(text == self.static.vocabulary), len(text))
        for grows in (False, True):
            for rate in RATES:
                begin = 0
                for end in ends:
                    place = self.start(grows=grows)
                    place.follow(np.array([self.boundary]))
                    place.learn(text[begin:end], rate)
                    begin = end + 2

    @override
    def scorer(self, *, ranks: bool = True) -> UnboundedScorer:
        return UnboundedScorer(self)

    @override
    def learner(self) -> LearningScorer:
        return LearningScorer(self._reader)

    def _reader(self) -> Place:
        """A place whose model learns counts and weights of its own."""
        copied = Weights(*(part.copy() for part in self.growing.weights))
        return UnboundedNGram(self.static, copied, self.boundary).start(grows=True)

    @override
    def tensors(self) -> dict[str, Tensor]:
        arrays = {name: getattr(self.static.contexts, name) for name in INDEX}
        arrays |= {name: getattr(self.static.counts, name) for name in COUNTS}
        learned = [part for weights in self.weights for part in (weights.logits, weights.squares)]
        arrays |= dict(zip(LEARNED, learned, strict=True))
        return {name: torch.from_numpy(part) for name, part in arrays.items()}

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], boundary: int, vocabulary: int) -> UnboundedNGram:
        """Restore from `tensors`; raises `ConfigError` if they are not those of a model over the vocabulary."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        if set(arrays) != {*INDEX, *COUNTS, *LEARNED}:
            raise ConfigError(MISFIT)
        index, counts = Index(*(arrays[name] for name in INDEX)), Counts(*(arrays[name] for name in COUNTS))
        if not (is_sound(index, vocabulary + 1) and is_consistent(counts, len(index.follows))):
            raise ConfigError(MISFIT)
        if any(arrays[name].shape != (TABLES, CELLS) or arrays[name].dtype != np.float64 for name in LEARNED):
            raise ConfigError(MISFIT)
        if any((arrays[name] < 1).any() for name in LEARNED[1::2]):  # squares begin at 1
            raise ConfigError(MISFIT)
        static, growing = (weights_of(arrays[LEARNED[k]], arrays[LEARNED[k + 1]]) for k in (0, 2))
        return cls(Model(index, counts, static, vocabulary), growing, boundary)


class Place(Reader):
    """A model at a place of a text."""

    def __init__(self, model: UnboundedNGram, path: Path, *, grows: bool):
        self.model = model.growing if grows else model.static
        self.path, self.grows, self.tree, self.levels = path, grows, seedling(0), no_levels()

    @override
    def follow(self, tokens: Ints) -> None:
        """Read tokens as context only."""
        self._make_room(len(tokens))
        predicting.follow(self.model, self.path, self.tree, tokens, self.grows)

    def score(self, tokens: Ints, targets: Ints) -> Floats:
        """Read tokens [T]; the log-probability of the target after each, 0 for negative ones."""
        logp = np.zeros(len(tokens))
        predicting.score(self.model, self.path, self.tree, self.levels, tokens, targets, logp)
        return logp

    @override
    def learn(self, tokens: Ints, rate: float = predicting.RATE) -> Floats:
        """Log-probabilities of tokens [T], each before it is learned."""
        return self._reading(predicting.learn, tokens, np.zeros(len(tokens)), rate)

    @override
    def logp_of(self, token: Ints) -> Floats:
        """Log-probability [1] of the next token [1]."""
        return np.array([predicting.logp_of(self.model, self.path, self.tree, self.grows, self.levels, token[0])])

    @override
    def distribution(self) -> Floats:
        """Log-probabilities [V] of the next token."""
        logp = np.zeros(self.model.vocabulary)
        predicting.distribution(self.model, self.path, self.tree, self.grows, self.levels, logp)
        return logp

    @override
    def distributions(self, tokens: Ints) -> Floats:
        return self._reading(predicting.distributions, tokens, np.zeros((len(tokens), self.model.vocabulary)))

    def _reading(self, loop: Callable[..., int], tokens: Ints, logp: Floats, *settings: float) -> Floats:
        """Fill `logp` by a compiled loop, which returns how far it came where the tree of the text was full."""
        read = 0
        while read < len(tokens):
            rest = tokens[read:], self.grows, *settings, logp[read:]
            read += loop(self.model, self.path, self.tree, self.levels, *rest)
            if read < len(tokens):
                self.tree = enlarged(self.tree)
        return logp

    def state(self) -> Tensor:
        """The path as a tensor [3 LEVELS + 1]."""
        return torch.from_numpy(np.concatenate(self.path))

    def _make_room(self, tokens: int) -> None:
        while self.grows and self.tree.used[0] + tokens > len(self.tree.text):
            self.tree = enlarged(self.tree)


def with_resets(tokens: Rows, starts: Ints, boundary: int, vocabulary: int) -> Rows:
    """The text with a boundary before each start that has none. The symbol V stands before it, and at the end, as that
    which is followed by no token."""
    bare = starts[(starts > 0) & (tokens[np.maximum(starts - 1, 0)] != boundary)]
    places = np.append(np.repeat(bare, 2), len(tokens))
    return np.insert(tokens, places, [*[vocabulary, boundary] * len(bare), vocabulary])
