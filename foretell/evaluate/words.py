"""Surprisal of words, the same for every way to cut them into tokens.

A word is certain only once it has ended, and in most vocabularies the end shows in the next token, which begins with a
blank. So the probability that a blank or the end of the text follows, B, belongs to the word before, and what follows
is conditional on it (Pimentel and Meister 2024, "How to compute the probability of a word", arXiv:2406.14561; Oh and
Schuler 2024, arXiv:2406.10851). For a word with the blanks before it as the tokens t_1 .. t_m

    p(word) = p(t_1) ... p(t_m) B(after t_m) / B(before t_1)

where B before the first word of a text is 1, and so is B inside a token that holds a blank after a word. The
surprisals of all words add up to that of the text up to its last word and the end of that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.completion import BLANKS, Spelled
from foretell.evaluate.scoring import Scorer
from foretell.types import Inputs, State

WORD = re.compile(r"[^ \t\n\r\v\f]+")


class WordSurprisal(NamedTuple):
    """A word of a text: several, where a token holds the blank between them."""

    word: str
    start: int
    """its first character, counted from the start of all text that was read"""
    end: int
    """one past its last character"""
    bits: float


class Chunk(NamedTuple):
    """The tokens of a word, with the blanks before it."""

    start: int
    end: int
    tokens: list[int]


class WordReader:
    """Reads texts word by word, each given all before it, until `restart`."""

    def __init__(self, scorer: Scorer, tokenizer: Tokenizer, device: torch.device):
        self.scorer, self.tokenizer, self.device, self.spelled = scorer, tokenizer, device, Spelled(tokenizer)
        self.restart()

    def restart(self) -> None:
        """Forget all that was read."""
        self.state: State = None
        self.pending: list[int] = []
        """tokens after the last word"""
        self.logp = self._read(self.tokenizer.boundary)
        self.boundary_mass = 0.0
        """log B before the next token"""

    def words(self, text: str, offset: int = 0, *, ends: bool = False) -> Iterator[WordSurprisal]:
        """The words of the next text, which begins at `offset`; `ends`: a document ends there."""
        ids, spans = self.tokenizer.spans(text)
        for chunk in self._chunks(text, ids.tolist(), spans):
            logp = self._logp_of(chunk.tokens)
            spelled, blank = self.spelled.after(chunk.tokens[-1])
            closed = spelled[chunk.tokens[-1]][-1] in BLANKS
            mass = 0.0 if closed else float(np.logaddexp.reduce(self.logp[blank]))
            bits = (self.boundary_mass - logp - mass) / math.log(2)
            self.boundary_mass = mass
            yield WordSurprisal(text[chunk.start : chunk.end], offset + chunk.start, offset + chunk.end, bits)
        if ends:
            self.pending.append(self.tokenizer.boundary)

    def _chunks(self, text: str, ids: Sequence[int], spans: NDArray[np.int64]) -> Iterator[Chunk]:
        """The words that tokens end in, each with its tokens and those before it that are of no word."""
        words = [found.span() for found in WORD.finditer(text)]
        tokens, self.pending = self.pending, []
        edges = [(int(start), int(end)) for start, end in spans]
        following = [len(text) + 1] * (len(edges) + 1)  # where the next token begins that is not of blanks alone
        for number in range(len(edges) - 1, -1, -1):
            start, end = edges[number]
            following[number] = start if end > start else following[number + 1]
        first = place = 0
        for number, token in enumerate(ids):
            tokens.append(token)
            start, end = edges[number]
            while place < len(words) and words[place][1] < end:
                place += 1
            if end > start and following[number + 1] >= words[place][1]:  # no further token of this word
                yield Chunk(words[first][0], words[place][1], tokens)
                tokens, first, place = [], place + 1, place + 1
        self.pending = tokens

    def _logp_of(self, tokens: list[int]) -> float:
        """The log-probability of the next tokens, which are read."""
        total = float(self.logp[tokens[0]])
        if len(tokens) > 1:
            row = torch.tensor([tokens], device=self.device)
            scores, self.state = self.scorer.score(Inputs(tokens=row[:, :-1]), row[:, 1:], self.state)
            total += float(scores.logp.double().sum())
        self.logp = self._read(tokens[-1])
        return total

    def _read(self, token: int) -> NDArray[np.float64]:
        """Log-probabilities [V] after a token, which is read."""
        logp, self.state = self.scorer.next(torch.tensor([[token]], device=self.device), self.state)
        found: NDArray[np.float64] = logp[0].double().cpu().numpy()
        return found
