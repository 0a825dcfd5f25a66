"""Beam search: the continuations a scorer holds most probable, kept several at a time and read side by side.

With a beam as wide as there are continuations the search is exhaustive. Longer texts are less probable, so where texts
may end a score divides the log-probability by a power of the length (Wu et al. 2016, arXiv:1609.08144, equation 14).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.generate import spelled
from foretell.evaluate.scoring import Scorer
from foretell.types import State, select_rows


@dataclass(frozen=True)
class Beam:
    """How to search."""

    width: int = 5
    """how many continuations are followed at a time"""
    best: int = 1
    """how many to return, the best first"""
    length_penalty: float = 0.0
    """exponent of ((5 + length) / 6) in the score; 0: the log-probability itself, above: longer texts lose less"""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"beam is {self.width}; it has to be 1 or more")
        if not 1 <= self.best <= self.width:
            raise ConfigError(f"best is {self.best}; it has to be 1 or more and at most the beam, {self.width}")
        if not 0 <= self.length_penalty <= 100:
            raise ConfigError(f"length-penalty is {self.length_penalty}; it has to be 0 to 100")

    def score(self, logp: float, length: int) -> float:
        """What continuations are compared by."""
        divisor: float = ((5 + length) / 6) ** self.length_penalty
        return logp / divisor


@dataclass(frozen=True)
class Continuation:
    """Tokens that may follow, how probable they are, and what they were compared by."""

    tokens: tuple[int, ...]
    logp: float
    """natural logarithm of their probability, that of the ending included"""
    score: float


@torch.no_grad()
def beam_search(
    scorer: Scorer,
    prompt: Sequence[int],
    tokens: int,
    beam: Beam,
    *,
    device: torch.device,
    end: int | None = None,
    banned: Sequence[int] = (),
    state: State = None,
) -> list[Continuation]:
    """The best continuations of up to `tokens` ids, best first; one that comes to `end` goes no further.

    `prompt` must not be empty. Stops early when nothing that is followed can still become one of the best.
    """
    given = torch.tensor([list(prompt)], dtype=torch.int64, device=device)  # [1, T], then [rows, 1]
    texts: list[tuple[int, ...]] = [()]
    logp = torch.zeros(1, dtype=torch.float64)
    done: list[Continuation] = []
    for length in range(1, tokens + 1):
        log_probs, state = scorer.next(given, state)
        total = logp[:, None] + log_probs.cpu().double()  # [rows, V]
        if banned:
            total[:, list(banned)] = -torch.inf
        rows, words, found = likeliest(total, 2 * beam.width)
        grown = [(*texts[row], word) for row, word in zip(rows.tolist(), words.tolist(), strict=True)]
        ended = torch.tensor([word == end for word in words.tolist()])
        for place in ended.nonzero()[:, 0].tolist():
            value = float(found[place])
            done.append(Continuation(grown[place], value, beam.score(value, length)))
        going = (~ended).nonzero()[: beam.width, 0]  # likeliest first
        texts, logp = [grown[place] for place in going.tolist()], found[going]
        done = sorted(done, key=lambda one: -one.score)[: beam.best]
        if not texts or length == tokens:
            break
        if len(done) == beam.best and done[-1].score >= beam.score(float(logp[0]), tokens):
            return done
        given = words[going, None].to(device)
        state = select_rows(state, rows[going].to(device))
    pairs = zip(texts, logp.tolist(), strict=True)
    cut = [Continuation(text, value, beam.score(value, len(text))) for text, value in pairs]
    return sorted([*done, *cut], key=lambda one: -one.score)[: beam.best]


def likeliest(total: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """total [rows, V] -> row, word and value [n <= number] of the largest that are possible at all, falling."""
    values, places = total.flatten().topk(min(number, total.numel()))
    possible = values > -torch.inf
    values, places = values[possible], places[possible]
    return places // total.shape[1], places % total.shape[1], values


@dataclass(frozen=True)
class Written:
    """A continuation as text."""

    text: str
    logp: float
    score: float
    tokens: int


def search_on(
    scorer: Scorer, tokenizer: Tokenizer, prompt: str, tokens: int, beam: Beam, device: torch.device
) -> list[Written]:
    """The best texts that follow the prompt, at most to the next boundary; nothing in them is out of the vocabulary."""
    ids = [tokenizer.boundary, *tokenizer.encode(prompt)]
    banned = [] if tokenizer.unknown is None else [tokenizer.unknown]
    found = beam_search(scorer, ids, tokens, beam, device=device, end=tokenizer.boundary, banned=banned)
    texts = ("".join(spelled(tokenizer, prompt, one.tokens)) for one in found)
    return [Written(text, one.logp, one.score, len(one.tokens)) for text, one in zip(texts, found, strict=True)]
