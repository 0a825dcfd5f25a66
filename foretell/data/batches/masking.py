"""Masking: tokens of a row that are hidden and predicted.

Masking wraps batches of rows: it hides some tokens of each row and makes them the targets. The mask of a row is a
function of (seed, copy, row), independent of the batch it is in; the copy is the epoch, or repeats with
`data.batches.copies`. Random numbers are a hash of these and of the position, so that a whole batch is masked at once.

Devlin et al. 2019 (BERT, arXiv:1810.04805, appendix A); its whole words (google-research/bert, 2019); Lan et al. 2020
(ALBERT, arXiv:1909.11942, n-grams); Clark et al. 2020 (ELECTRA, arXiv:2003.10555).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from foretell.config import Config, Share, Size, Tagged
from foretell.data.batches.batches import Accounting, Batches, Ints, RowBatches
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.data.tokenizers.word_boundaries import Words, word_table
from foretell.errors import ConfigError
from foretell.types import IGNORED, Batch

Bools = NDArray[np.bool_]
Uniform = NDArray[np.float64]


class MaskingConfig(Config):
    """Base of the settings; abstract."""

    rate: Annotated[float, Field(gt=0, le=1)] = 0.15
    """share of tokens to predict"""
    mask: Share = 0.8
    """share of these replaced by the mask token"""
    random: Share = 0.1
    """share of these replaced by a random token; the rest stay as they are, and are predicted as well (ELECTRA:
    mask = 0.85, random = 0)"""
    rounding: Literal["random", "nearest"] = "random"
    """rounding of the number of tokens in a row: random, so that the rate holds on average (RoBERTa), or nearest and at
    least one (BERT, ALBERT, ELECTRA)"""
    of: Literal["text", "row"] = "text"
    """base of the rate: the tokens of text, or the whole row with special tokens, as published"""
    most: Size | None = None
    """largest number of tokens to predict in a row (BERT: 20 of 128)"""
    replacements: Literal["text", "all"] = "text"
    """the tokens that random ones are drawn from: those of text, or all, special tokens included, as published for BERT
    and ALBERT"""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask = {self.mask} and random = {self.random} sum to more than 1; lower one")
        return self

    def budget(self, candidates: Ints, lengths: Ints, uniform: Uniform) -> Ints:
        """Number of tokens to choose in each row: candidates, lengths, uniform [B] -> [B]"""
        wanted = self.rate * (candidates if self.of == "text" else lengths)
        whole = np.floor(wanted + uniform) if self.rounding == "random" else np.maximum(np.rint(wanted), 1)
        limit = candidates if self.most is None else candidates.clip(max=self.most)
        return np.minimum(whole.astype(np.int64), limit)

    @abstractmethod
    def choose(self, tokens: Ints, candidates: Bools, budget: Ints, words: Words, draws: Draws) -> Bools:
        """The tokens to predict [B, T]: of the candidates [B, T], at most `budget` [B] in each row."""


class TokenMaskingConfig(MaskingConfig):
    """Single tokens, uniformly."""

    kind: Literal["token"] = "token"
    repeats: bool = False
    """draw positions with replacement, as published for ELECTRA: a position drawn twice is predicted once, so the rate
    is a little lower"""

    @override
    def choose(self, tokens: Ints, candidates: Bools, budget: Ints, words: Words, draws: Draws) -> Bools:
        if not self.repeats:
            order = np.where(candidates, draws.places("choice"), 2.0).argsort(1)  # candidates first, shuffled
            chosen = np.zeros_like(candidates)
            np.put_along_axis(chosen, order, np.arange(tokens.shape[1]) < budget[:, None], 1)
            return chosen
        chosen = np.zeros_like(candidates)
        available, at = candidates.sum(1), np.argsort(~candidates, axis=1, kind="stable")  # candidates in order
        drawn = (draws.places("choice") * available[:, None]).astype(np.int64)  # [B, T]
        wanted = np.arange(tokens.shape[1]) < budget[:, None]
        rows = np.broadcast_to(np.arange(len(tokens))[:, None], drawn.shape)
        chosen[rows[wanted], np.take_along_axis(at, drawn, 1)[wanted]] = True
        return chosen


class WholeWordMaskingConfig(MaskingConfig):
    """Whole words in random order, as long as they fit into the budget of a row."""

    kind: Literal["whole-word"] = "whole-word"

    @override
    def choose(self, tokens: Ints, candidates: Bools, budget: Ints, words: Words, draws: Draws) -> Bools:
        return choose_words(tokens, candidates, budget, words, draws, 1)


class NGramMaskingConfig(MaskingConfig):
    """Runs of n whole words, with probability proportional to 1 / n, shorter where the budget ends."""

    kind: Literal["n-gram"] = "n-gram"
    longest: Annotated[int, Field(gt=0, le=100)] = 3
    """longest run in words"""

    @override
    def choose(self, tokens: Ints, candidates: Bools, budget: Ints, words: Words, draws: Draws) -> Bools:
        return choose_words(tokens, candidates, budget, words, draws, self.longest)


MaskingChoice = Annotated[TokenMaskingConfig | WholeWordMaskingConfig | NGramMaskingConfig, Tagged()]


def choose_words(tokens: Ints, candidates: Bools, budget: Ints, words: Words, draws: Draws, longest: int) -> Bools:
    """Runs of 1 to `longest` whole words, started at positions in random order; at most W words in a row.

    The length of a run is drawn before its position, and a position where it would overlap another run or pass the end
    of a text is skipped: so lengths have the distribution they are drawn from, which giving up runs that do not fit
    would change. A run that exceeds the budget loses words, and is skipped if none fits.
    """
    rows = np.arange(len(tokens))
    word, sizes, together = word_places(tokens, candidates, words)  # [B, T], [B, W], [B, W]
    count = sizes.shape[1]
    ends = np.pad(sizes, ((0, 0), (1, longest))).cumsum(1)  # [B, W + 1 + longest] tokens before each word
    order = np.where(sizes > 0, draws.places("choice")[:, :count], 2.0).argsort(1)
    lengths = run_lengths(draws.places("length")[:, : count + 1], longest)
    free = np.pad(sizes > 0, ((0, 0), (0, longest)))
    joined = np.pad(together, ((0, 0), (0, longest)))  # whether a word continues the text of the previous one
    left, drawn = budget.copy(), np.zeros(len(tokens), np.int64)
    for place in range(count):
        if not left.any():
            break
        begin = order[:, place]
        wanted = lengths[rows, drawn]
        fits = free[rows, begin]
        for further in range(1, longest):
            fits &= (further >= wanted) | (free[rows, begin + further] & joined[rows, begin + further])
        size = np.zeros_like(wanted)  # as many of the wanted words as the budget allows
        for n in range(1, longest + 1):
            size[(n <= wanted) & (ends[rows, begin + n] - ends[rows, begin] <= left)] = n
        size[~fits] = 0
        for further in range(longest):
            taken = size > further
            free[rows[taken], begin[taken] + further] = False
        left -= ends[rows, begin + size] - ends[rows, begin]
        drawn += size > 0
    hidden = ~free[:, :count] & (sizes > 0)  # [B, W]
    return candidates & np.take_along_axis(hidden, word, 1)


def word_places(tokens: Ints, candidates: Bools, words: Words) -> tuple[Ints, Ints, Bools]:
    """The word of each token [B, T], the number of tokens of each word [B, W], whether it follows the previous [B, W].

    Tokens that may not be chosen form words of size 0, and the word after one follows nothing.
    """
    starts = words.starts(tokens)
    word = starts.cumsum(1) - 1  # [B, T]
    shape = (len(tokens), int(word.max()) + 1)
    flat = (word + np.arange(len(tokens))[:, None] * shape[1])[candidates]
    sizes, follows = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape), np.zeros(shape, np.bool_)
    follows[:, 1:] = sizes[:, :-1] > 0
    return word, sizes, follows


def run_lengths(uniform: Uniform, longest: int) -> Ints:
    """Uniform numbers -> 1 to `longest`, n with a probability proportional to 1 / n."""
    share = 1 / np.arange(1, longest + 1)
    bounds = np.cumsum(share / share.sum())[:-1]
    lengths: Ints = np.searchsorted(bounds, uniform, side="right") + 1
    return lengths


# --- random numbers -------------------------------------------------------------------------------

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
PURPOSES = ("budget", "choice", "kind", "token", "length", "sample")


class Draws:
    """Uniform numbers for the rows of a batch, functions of (seed, copy, row, position, purpose).

    SplitMix64 (Steele, Lea and Flood 2014): each row has its own stream, started at a hash of seed, copy and row.
    """

    def __init__(self, seed: int, copy: int, rows: Ints, steps: int):
        key = mix(mix(np.array([seed + 1], np.uint64) * GOLDEN) + np.array([copy + 1], np.uint64) * GOLDEN)
        self.start = mix(key + (rows.astype(np.uint64) + np.uint64(1)) * GOLDEN)  # [B]
        self.steps = steps

    def places(self, purpose: str) -> Uniform:
        """[B, T] one for each position."""
        return uniform(self.start[:, None] + counter(purpose, np.arange(self.steps)))

    def at(self, purpose: str, rows: Ints, places: Ints) -> Uniform:
        """[n] the numbers at chosen rows and positions."""
        return uniform(self.start[rows] + counter(purpose, places))

    def rows(self, purpose: str) -> Uniform:
        """[B] one for each row: that of its first position."""
        return uniform(self.start + counter(purpose, np.zeros(1, np.int64)))


def counter(purpose: str, places: Ints) -> NDArray[np.uint64]:
    """[n] the offset in the stream of a row at each position."""
    steps = (places * len(PURPOSES) + PURPOSES.index(purpose) + 1).astype(np.uint64)
    return steps * GOLDEN


def uniform(state: NDArray[np.uint64]) -> Uniform:
    """States of a stream -> numbers in [0, 1)."""
    return (mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finishing function of SplitMix64."""
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)  # arrays of integers wrap around
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


# --- batches --------------------------------------------------------------------------------------


class Masked(Batches):
    """Batches of rows with masked tokens: masked inputs, and the original tokens as targets."""

    def __init__(self, rows: RowBatches, config: MaskingConfig, tokenizer: Tokenizer, seed: int) -> None:
        super().__init__()
        self.source, self.config, self.tokenizer, self.seed = rows, config, tokenizer, seed
        if tokenizer.specials.mask is None:
            raise ConfigError(
                'the tokenizer has no mask token, which a masked model needs; set data.tokenizer.specials = "bert"'
            )
        self.mask = tokenizer.specials.mask

    @override
    def size(self, epoch: int) -> int:
        return self.source.size(epoch)

    @override
    def accounting(self, epoch: int = 0) -> Accounting | None:
        return self.source.accounting(epoch)

    @cached_property
    def words(self) -> Words:
        """Where words start."""
        return word_table(self.tokenizer)

    @cached_property
    def plain(self) -> Ints:
        """[n] the tokens that may be chosen: those of text."""
        return np.setdiff1d(np.arange(self.tokenizer.size), self.tokenizer.specials.marks)

    @cached_property
    def replacements(self) -> Ints:
        """[n] the tokens that random ones are drawn from."""
        if self.config.replacements == "all":
            return np.arange(self.tokenizer.size)
        return np.setdiff1d(self.plain, [-1 if self.tokenizer.unknown is None else self.tokenizer.unknown])

    def __getitem__(self, k: int) -> Batch:  # type: ignore[override]
        batch = self.source[k]
        copy, rows = self.source.rows(k)
        tokens = batch.inputs.tokens.numpy()  # [B, T]
        draws = Draws(self.seed, copy, rows, tokens.shape[1])
        chosen = self.choose(batch, draws)
        targets = np.where(chosen, tokens, IGNORED)
        inputs = replace(batch.inputs, tokens=torch.from_numpy(self.hidden(tokens, chosen, draws)))
        places = torch.from_numpy(places_of(chosen))
        return replace(batch, inputs=inputs, targets=torch.from_numpy(targets), target_positions=places)

    def choose(self, batch: Batch, draws: Draws) -> Bools:
        """The tokens [B, T] to predict."""
        tokens, steps = batch.inputs.tokens.numpy(), batch.inputs.tokens.shape[1]
        lengths = np.full(len(tokens), steps) if batch.inputs.lengths is None else batch.inputs.lengths.numpy()
        candidates = self.eligible[tokens] & (np.arange(steps) < lengths[:, None])
        budget = self.config.budget(candidates.sum(1), lengths, draws.rows("budget"))
        return self.config.choose(tokens, candidates, budget, self.words, draws)

    @cached_property
    def eligible(self) -> Bools:
        """[V] whether a token may be chosen."""
        eligible = np.zeros(self.tokenizer.size, dtype=np.bool_)
        eligible[self.plain] = True
        return eligible

    def hidden(self, tokens: Ints, chosen: Bools, draws: Draws) -> Ints:
        """The tokens [B, T] with the chosen ones masked, replaced or kept."""
        rows, places = chosen.nonzero()  # [n]
        kind = draws.at("kind", rows, places)
        drawn = self.replacements[(draws.at("token", rows, places) * len(self.replacements)).astype(np.int64)]
        masked, replaced = kind < self.config.mask, kind < self.config.mask + self.config.random
        hidden = tokens.copy()
        hidden[rows, places] = np.where(masked, self.mask, np.where(replaced, drawn, tokens[rows, places]))
        return hidden


def places_of(chosen: Bools) -> Ints:
    """[B, T] -> [B, P] the positions chosen in each row, in order, padded with -1."""
    counts = chosen.sum(1)
    places = np.full((len(chosen), int(counts.max(initial=0))), -1)
    places[np.arange(places.shape[1]) < counts[:, None]] = chosen.nonzero()[1]
    return places
