"""The likeliest next words, for any tokenizer.

The probability of a word is that of all its spellings in tokens followed by the end of the word, given the prompt and
that a word follows: with word tokens, that the line does not end; else, that a blank follows the prompt. With word
tokens it is read off one distribution, exactly. With characters or subwords, continuations are searched best first: a
prefix is at least as probable as any word it leads to, so the search ends when the best open prefix is below the words
already found. Bytes and characters spell a word in one way, so the result is exact; with subwords the search continues
for other spellings down to a hundredth of the last word shown, and probabilities are slightly too low. Spellings below
`floor` are ignored.

Words are separated by whitespace, as everywhere in foretell. B prefixes, V vocabulary.
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
AT_ONCE = 32  # prefixes computed side by side
MOST = 20_000  # prefixes in all
OTHER_SPELLINGS = math.log(0.01)  # how far below the last word the search for other spellings continues
SPELLED_ONCE = ("byte", "character")


class Word(NamedTuple):
    """A possible next word."""

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
    """The `count` likeliest words after the prompt, likeliest first; fewer if others are below `floor`.

    With `complete` the last word of the prompt is a prefix to complete, and probabilities are conditional on it.
    """
    if count < 1:
        raise ConfigError(f"--words {count}: ask for at least one")
    prompt = mended(prompt).text
    text, begun = split_prompt(prompt) if complete else (prompt, "")
    if tokenizer.kind == "word":
        found = exact_words(scorer, tokenizer, text, begun, count, device)
        return [word for word in found if word.probability >= floor]
    stripped = text.rstrip(" ")
    apart = " " if stripped and not stripped.endswith("\n") else ""
    search = Search(scorer, tokenizer, Spelled(tokenizer), (apart + begun).encode(), len(apart), count, floor, device)
    return search.run([tokenizer.boundary, *tokenizer.encode(stripped)])


class Spelled:
    """The bytes of the tokens of a vocabulary; a `ConfigError` where only a library can decode them."""

    def __init__(self, tokenizer: Tokenizer):
        spelling = tokenizer.stream()
        if not isinstance(spelling, Spelling):
            raise ConfigError(
                "the tokens of this run are of a kind that foretell cannot spell out one by one",
                remedy="name a run of bytes, characters or words, or of BPE, unigram or WordPiece as trained here",
            )
        self.tokenizer, self.spelling = tokenizer, spelling
        self.known: dict[bool, tuple[list[bytes], NDArray[np.bool_]]] = {}

    def after(self, before: int) -> tuple[list[bytes], NDArray[np.bool_]]:
        """The bytes of each token after another, and which tokens [V] end a word there.

        They depend only on whether the other is the boundary.
        """
        begins = before == self.tokenizer.boundary
        if begins not in self.known:
            spelled = [self.spelling.spell(token, before) for token in range(self.tokenizer.size)]
            ends = np.array([not text or text[0] in BLANKS for text in spelled])
            self.known[begins] = spelled, ends
        return self.known[begins]


def split_prompt(prompt: str) -> tuple[str, str]:
    """The text before the last word, and that word; "" after a blank."""
    last = "" if not prompt or prompt[-1].isspace() else prompt.split()[-1]
    return prompt[: len(prompt) - len(last)], last


def exact_words(
    scorer: Scorer, tokenizer: Tokenizer, text: str, begun: str, count: int, device: torch.device
) -> list[Word]:
    """With word tokens: probabilities among all words with the prefix; the unknown word is not listed."""
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
class Prefix:
    """The spelling of a prefix of a word."""

    written: bytes
    logp: float
    token: int
    """its last token, not yet read"""
    state: State
    """the state before that token, one row"""


class Search:
    """Best-first search through the continuations of a prompt."""

    def __init__(
        self,
        scorer: Scorer,
        tokenizer: Tokenizer,
        spelled: Spelled,
        required: bytes,
        apart: int,
        count: int,
        floor: float,
        device: torch.device,
    ):
        self.scorer, self.tokenizer, self.spelled, self.device = scorer, tokenizer, spelled, device
        self.required, self.apart, self.count = required, apart, count
        self.floor = math.log(floor) if floor else -math.inf
        self.open: list[tuple[float, int, Prefix]] = []
        self.pushed = 0
        self.found: dict[bytes, float] = {}  # word -> logp
        self.given = -math.inf  # log-probability of the required bytes

    def run(self, ids: Sequence[int]) -> list[Word]:
        """Search, and return the words, likeliest first."""
        log_probs, state = self.scorer.next(torch.tensor([list(ids)], device=self.device), None)
        self.extend(Prefix(b"", 0.0, ids[-1], None), log_probs[0].double().cpu().numpy(), state)
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

    def likeliest(self) -> list[Prefix]:
        """The next prefixes to extend; none when no open one can change the result."""
        enough = heapq.nlargest(self.count, self.found.values())
        least = enough[-1] if len(enough) == self.count else -math.inf
        least += 0.0 if self.tokenizer.kind in SPELLED_ONCE else OTHER_SPELLINGS
        batch: list[Prefix] = []
        while self.open and len(batch) < AT_ONCE and -self.open[0][0] > least:
            batch.append(heapq.heappop(self.open)[2])
        return batch

    def read(self, batch: Sequence[Prefix]) -> None:
        """One step of the model for a batch of prefixes."""
        tokens = torch.tensor([[prefix.token] for prefix in batch], device=self.device)
        log_probs, states = self.scorer.next(tokens, join_rows([prefix.state for prefix in batch]))
        rows = log_probs.double().cpu().numpy()  # [B, V]
        for row, prefix in enumerate(batch):
            self.extend(prefix, rows[row], select_rows(states, slice(row, row + 1)))

    def extend(self, prefix: Prefix, log_probs: Floats, state: State) -> None:
        """Add the word that ends here, and the prefixes that are one token longer."""
        spelled, ends = self.spelled.after(prefix.token)
        logps = prefix.logp + log_probs  # [V]
        covered = bool(prefix.written) and len(prefix.written) >= len(self.required)
        if covered and prefix.written[self.apart :]:
            self.found[prefix.written] = add(self.found.get(prefix.written, -math.inf), logps[ends])
        reached = []
        likely = np.ones(len(logps), np.bool_) if not covered else logps >= self.floor
        for token in np.flatnonzero(likely).tolist():
            text, logp = spelled[token], float(logps[token])
            written = prefix.written + text
            continues = text and token != self.tokenizer.unknown and agrees(written, self.required)
            if not continues or any(byte in BLANKS for byte in written[self.apart :]):
                continue
            if not covered and len(written) >= len(self.required):
                reached.append(logp)
            if logp >= self.floor:
                self.pushed += 1
                heapq.heappush(self.open, (-logp, self.pushed, Prefix(written, logp, token, state)))
        self.given = add(self.given, reached)


def agrees(written: bytes, required: bytes) -> bool:
    """Whether one is a prefix of the other."""
    return written.startswith(required) or required.startswith(written)


def add(logp: float, more: Sequence[float] | Floats) -> float:
    """The log of the sum of probabilities."""
    return float(np.logaddexp.reduce(np.append(more, logp)))
