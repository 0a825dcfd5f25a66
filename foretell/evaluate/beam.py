"""Beam search for the most probable continuations of a prompt.

With a beam as wide as the number of continuations the search is exhaustive. Longer texts are less probable, so the
score of a text divides its log-probability by a power of its length (Wu et al. 2016, arXiv:1609.08144, equation 14).
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.generate import decoded
from foretell.evaluate.scoring import Scorer
from foretell.results import Result
from foretell.types import State, select_rows


@dataclass(frozen=True)
class Beam:
    """Settings of the search."""

    width: int = 5
    """number of continuations kept at each step"""
    best: int = 1
    """number of continuations to return"""
    length_penalty: float = 0.0
    """exponent of ((5 + length) / 6) in the score; 0: the log-probability itself; higher values favour longer texts"""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"beam is {self.width}; it must be 1 or more")
        if not 1 <= self.best <= self.width:
            raise ConfigError(f"best is {self.best}; it must be 1 or more and at most the beam, {self.width}")
        if not 0 <= self.length_penalty <= 100:
            raise ConfigError(f"length-penalty is {self.length_penalty}; it must be 0 to 100")

    def score(self, logp: float, length: int) -> float:
        """The score of a continuation."""
        divisor: float = ((5 + length) / 6) ** self.length_penalty
        return logp / divisor


@dataclass(frozen=True)
class Continuation:
    """Tokens of a continuation, with log-probability and score."""

    tokens: tuple[int, ...]
    logp: float
    """natural logarithm of their probability, the ending included"""
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
    """The best continuations of up to `tokens` ids, best first; `end` ends a continuation.

    `prompt` must not be empty. Stops early when no open continuation can become one of the best.
    """
    inputs = torch.tensor([list(prompt)], dtype=torch.int64, device=device)  # [1, T], then [rows, 1]
    texts: list[tuple[int, ...]] = [()]
    logp = torch.zeros(1, dtype=torch.float64)
    done: list[Continuation] = []
    for length in range(1, tokens + 1):
        log_probs, state = scorer.next(inputs, state)
        total = logp[:, None] + log_probs.cpu().double()  # [rows, V]
        if banned:
            total[:, list(banned)] = -torch.inf
        rows, next_tokens, values = likeliest(total, 2 * beam.width)
        extended = [(*texts[row], token) for row, token in zip(rows.tolist(), next_tokens.tolist(), strict=True)]
        ended = torch.tensor([token == end for token in next_tokens.tolist()])
        for index in ended.nonzero()[:, 0].tolist():
            value = float(values[index])
            done.append(Continuation(extended[index], value, beam.score(value, length)))
        going = (~ended).nonzero()[: beam.width, 0]  # likeliest first
        texts, logp = [extended[index] for index in going.tolist()], values[going]
        done = sorted(done, key=lambda continuation: -continuation.score)[: beam.best]
        if not texts or length == tokens:
            break
        if len(done) == beam.best and done[-1].score >= beam.score(float(logp[0]), tokens):
            return done
        inputs = next_tokens[going, None].to(device)
        state = select_rows(state, rows[going].to(device))
    pairs = zip(texts, logp.tolist(), strict=True)
    cut = [Continuation(text, value, beam.score(value, len(text))) for text, value in pairs]
    return sorted([*done, *cut], key=lambda continuation: -continuation.score)[: beam.best]


def likeliest(total: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """total [rows, V] -> row, token and value [n <= number] of the largest values above -inf, descending."""
    values, index = total.flatten().topk(min(number, total.numel()))
    possible = values > -torch.inf
    values, index = values[possible], index[possible]
    return index // total.shape[1], index % total.shape[1], values


@dataclass(frozen=True)
class Written(Result):
    """A continuation as text."""

    text: str
    logp: float
    score: float
    tokens: int


def search_on(
    scorer: Scorer, tokenizer: Tokenizer, prompt: str, tokens: int, beam: Beam, device: torch.device
) -> list[Written]:
    """The best texts after the prompt, up to the next boundary; the unknown token is excluded."""
    ids = [tokenizer.boundary, *tokenizer.encode(prompt)]
    banned = [] if tokenizer.unknown is None else [tokenizer.unknown]
    best = beam_search(scorer, ids, tokens, beam, device=device, end=tokenizer.boundary, banned=banned)
    texts = ("".join(decoded(tokenizer, prompt, item.tokens)) for item in best)
    return [Written(text, item.logp, item.score, len(item.tokens)) for text, item in zip(texts, best, strict=True)]
