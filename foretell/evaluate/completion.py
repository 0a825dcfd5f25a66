"""The likeliest next words, whatever the tokens are.

The probability of a word is that of all ways to write it and then to end it, given the prompt and that a word follows:
with word tokens, that the line does not end; else, that a blank comes after the prompt. With word tokens that is one
distribution, exact. With characters or subwords the tree of continuations is searched best first: a beginning is never
more probable than any word it leads to, so the search is over when the best open beginning is below the words already
found. With bytes or characters, which spell a word in one way, the result is exact; with subwords the search goes on
for the other ways down to a hundredth of the last word shown, and the probability is a little too low for what is left.
No way below `floor` is looked at.

A word is what stands between whitespace, as everywhere in foretell.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.data.text_files import mended
from foretell.data.tokenizers.spelling import Spelling
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.scoring import Scorer
from foretell.types import State, join_rows, select_rows

Floats = NDArray[np.float64]
BLANKS = b" \t\n\r\v\f"
AT_ONCE = 32  # beginnings whose continuations are computed side by side
MOST = 20_000  # beginnings looked at, in all
OTHER_WAYS = math.log(0.01)  # how far below the last word other spellings of words are still looked for
SPELLED_ONCE = ("byte", "character")


class Word(NamedTuple):
    """A word that may come next."""

    text: str
    probability: float


def next_words(
    scorer: Scorer,
    tokenizer: Tokenizer,
    prompt: str,
    count: int,
    device: torch.device,
    *,
    complete: bool = False,
    floor: float = 1e-5,
) -> list[Word]:
    """The `count` likeliest words after the prompt, likeliest first; fewer where they are below `floor`.

    With `complete` the last word of the prompt is only the beginning of the one asked for, and probabilities are given
    that beginning.
    """
    if count < 1:
        raise ConfigError(f"--words {count}: ask for at least one")
    prompt = mended(prompt).text
    text, begun = split_prompt(prompt) if complete else (prompt, "")
    if tokenizer.kind == "word":
        return exact_words(scorer, tokenizer, text, begun, count, device)
    spelling = tokenizer.stream()
    if not isinstance(spelling, Spelling):
        raise ConfigError("next words need tokens whose spelling is known; this run has a tokenizer from elsewhere")
    stripped = text.rstrip(" ")
    apart = " " if stripped and not stripped.endswith("\n") else ""
    search = Search(scorer, tokenizer, spelling, (apart + begun).encode(), len(apart), count, floor, device)
    return search.run([tokenizer.boundary, *tokenizer.encode(stripped)])


def split_prompt(prompt: str) -> tuple[str, str]:
    """The text before the last word, and that word; nothing after a blank."""
    last = "" if not prompt or prompt[-1].isspace() else prompt.split()[-1]
    return prompt[: len(prompt) - len(last)], last


def exact_words(
    scorer: Scorer, tokenizer: Tokenizer, text: str, begun: str, count: int, device: torch.device
) -> list[Word]:
    """With a token for each word: its probability among all words that begin so; the unknown word is not shown."""
    ids = [tokenizer.boundary, *tokenizer.encode(text)]
    log_probs, _ = scorer.next(torch.tensor([ids], device=device), None)
    probabilities = log_probs[0].double().exp().cpu().numpy()  # [V]
    words = [tokenizer.token(token) for token in range(tokenizer.size)]
    fits = np.array([word.startswith(begun) for word in words])
    fits[tokenizer.boundary] = False
    if begun and tokenizer.unknown is not None:
        fits[tokenizer.unknown] = False
    probabilities = np.where(fits, probabilities, 0)
    total = probabilities.sum()
    if tokenizer.unknown is not None:
        probabilities[tokenizer.unknown] = 0
    order = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return [Word(words[token], float(probabilities[token] / total)) for token in order if probabilities[token] > 0]


@dataclass(frozen=True)
class Beginning:
    """A way to write the beginning of a word."""

    written: bytes
    logp: float
    token: int
    """its last token, not yet read"""
    state: State
    """before that token, one row"""


class Search:
    """Best first through the continuations of a prompt."""

    def __init__(
        self,
        scorer: Scorer,
        tokenizer: Tokenizer,
        spelling: Spelling,
        required: bytes,
        apart: int,
        count: int,
        floor: float,
        device: torch.device,
    ):
        self.scorer, self.tokenizer, self.spelling, self.device = scorer, tokenizer, spelling, device
        self.required, self.apart, self.count, self.floor = required, apart, count, math.log(floor)
        self.open: list[tuple[float, int, Beginning]] = []
        self.pushed = 0
        self.found: dict[bytes, float] = {}  # word -> logp
        self.given = -math.inf  # log-probability that what is required follows
        self.spelled: dict[bool, tuple[list[bytes], NDArray[np.bool_]]] = {}

    def run(self, ids: Sequence[int]) -> list[Word]:
        """The words, likeliest first."""
        log_probs, state = self.scorer.next(torch.tensor([list(ids)], device=self.device), None)
        self.extend(Beginning(b"", 0.0, ids[-1], None), log_probs[0].double().cpu().numpy(), state)
        for _ in range(MOST // AT_ONCE):
            batch = self.likeliest()
            if not batch:
                break
            self.read(batch)
        words = sorted(self.found.items(), key=lambda pair: (-pair[1], pair[0]))[: self.count]
        return [
            Word(word[self.apart :].decode(errors="replace"), math.exp(min(logp - self.given, 0)))
            for word, logp in words
        ]

    def likeliest(self) -> list[Beginning]:
        """The next beginnings to go on from; none when no open one can change the result."""
        enough = heapq.nlargest(self.count, self.found.values())
        least = enough[-1] if len(enough) == self.count else -math.inf
        least += 0.0 if self.tokenizer.kind in SPELLED_ONCE else OTHER_WAYS
        batch: list[Beginning] = []
        while self.open and len(batch) < AT_ONCE and -self.open[0][0] > least:
            batch.append(heapq.heappop(self.open)[2])
        return batch

    def read(self, batch: Sequence[Beginning]) -> None:
        """One step of the model for some beginnings side by side."""
        tokens = torch.tensor([[one.token] for one in batch], device=self.device)
        log_probs, states = self.scorer.next(tokens, join_rows([one.state for one in batch]))
        every = log_probs.double().cpu().numpy()  # [B, V]
        for row, one in enumerate(batch):
            self.extend(one, every[row], select_rows(states, slice(row, row + 1)))

    def extend(self, one: Beginning, log_probs: Floats, state: State) -> None:
        """What may follow a beginning: the end of the word, or more of it."""
        spelled, ends = self.spellings(one.token)
        logps = one.logp + log_probs  # [V]
        covered = bool(one.written) and len(one.written) >= len(self.required)
        if covered and one.written[self.apart :]:
            self.found[one.written] = add(self.found.get(one.written, -math.inf), logps[ends])
        reached = []
        likely = np.ones(len(logps), np.bool_) if not covered else logps >= self.floor
        for token in np.flatnonzero(likely).tolist():
            text, logp = spelled[token], float(logps[token])
            written = one.written + text
            goes_on = text and token != self.tokenizer.unknown and agrees(written, self.required)
            if not goes_on or any(byte in BLANKS for byte in written[self.apart :]):
                continue
            if not covered and len(written) >= len(self.required):
                reached.append(logp)
            if logp >= self.floor:
                self.pushed += 1
                heapq.heappush(self.open, (-logp, self.pushed, Beginning(written, logp, token, state)))
        self.given = add(self.given, reached)

    def spellings(self, before: int) -> tuple[list[bytes], NDArray[np.bool_]]:
        """The bytes of every token after another, and which of them [V] end a word.

        They depend on whether the other is a boundary, and on nothing else of it.
        """
        begins = before == self.tokenizer.boundary
        if begins not in self.spelled:
            spelled = [self.spelling.spell(token, before) for token in range(self.tokenizer.size)]
            ends = np.array([not text or text[0] in BLANKS for text in spelled])
            self.spelled[begins] = spelled, ends
        return self.spelled[begins]


def agrees(written: bytes, required: bytes) -> bool:
    """Whether one is the beginning of the other."""
    return written.startswith(required) or required.startswith(written)


def add(logp: float, more: Sequence[float] | Floats) -> float:
    """log of a sum of probabilities."""
    return float(np.logaddexp.reduce(np.append(more, logp)))
