"""The distribution of the next character, for any tokenizer.

With bytes and characters it is read off the tree of the bytes that begin a character. Subwords have learned to write
the last, unfinished word of a prompt in other tokens than those it has when it ends there. So that word is taken
back, and all ways to write it in tokens, as far as they matter, are followed to the character after it (the cover of a
prefix: Vieira et al. 2024, "From language models over tokens to language models over characters", arXiv:2412.03719).
The rest, not followed, has at most a millionth of the probability, unless 4,096 prefixes were read before.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.data.text_files import mended
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.completion import AT_ONCE, SPELLED_ONCE, Prefix, Spelled, agrees
from foretell.evaluate.scoring import Scorer
from foretell.types import State, join_rows, select_rows

OPEN = 1e-6
"""share of the probability that may be left open"""
MOST = 4096
"""prefixes that are read at most"""
UNFINISHED = re.compile(r"[^\S\n]*\S*\Z")
"""the last word of a prompt, with the blanks before it"""


class Character(NamedTuple):
    """A possible next character; empty where the text ends."""

    character: str
    probability: float


def next_characters(
    scorer: Scorer, tokenizer: Tokenizer, prompt: str, device: torch.device, *, floor: float = 0.0
) -> list[Character]:
    """The characters after a prompt with their probabilities, likeliest first, those below `floor` left out."""
    text, unfinished = mended(prompt).text, ""
    if tokenizer.kind not in SPELLED_ONCE:
        unfinished = UNFINISHED.search(text)[0]  # type: ignore[index]
        text = text[: len(text) - len(unfinished)]
    tree = Tree(scorer, Spelled(tokenizer), unfinished.encode(), device)
    found = tree.run([tokenizer.boundary, *tokenizer.encode(text)])
    listed = [Character(text, p) for text, p in found.items() if p >= floor and p > 0]
    return sorted(listed, key=lambda each: (-each.probability, each.character))


class Tree:
    """The tree of the token sequences that begin with required bytes, followed to the next character."""

    def __init__(self, scorer: Scorer, spelled: Spelled, required: bytes, device: torch.device):
        self.scorer, self.spelled, self.required, self.device = scorer, spelled, required, device
        self.open: list[tuple[float, int, Prefix]] = []
        self.pushed = 0
        self.found: dict[str, float] = defaultdict(float)

    def run(self, ids: Sequence[int]) -> dict[str, float]:
        """The probability of each character after these tokens and the required bytes, given both."""
        log_probs, state = self.scorer.next(torch.tensor([list(ids)], device=self.device), None)
        self.extend(Prefix(b"", 0.0, ids[-1], None), log_probs[0].double().exp().cpu().numpy(), state)
        read = 0
        while self.open and read < MOST and self.left() > OPEN * sum(self.found.values()):
            batch = [heapq.heappop(self.open)[2] for _ in range(min(AT_ONCE, len(self.open)))]
            tokens = torch.tensor([[prefix.token] for prefix in batch], device=self.device)
            log_probs, states = self.scorer.next(tokens, join_rows([prefix.state for prefix in batch]))
            rows = log_probs.double().exp().cpu().numpy()
            for row, prefix in enumerate(batch):
                self.extend(prefix, rows[row], select_rows(states, slice(row, row + 1)))
            read += len(batch)
        total = sum(self.found.values())
        return {text: p / total for text, p in self.found.items()}

    def left(self) -> float:
        """The probability of all that was not followed yet."""
        return sum(math.exp(prefix.logp) for _, _, prefix in self.open)

    def extend(self, prefix: Prefix, p: NDArray[np.float64], state: State) -> None:
        """Add the characters that one more token completes, and the prefixes that need another."""
        spelled, _ = self.spelled.after(prefix.token)
        mass = math.exp(prefix.logp) * p  # [V]
        for token in np.flatnonzero(mass).tolist():
            written = prefix.written + spelled[token]
            if not agrees(written, self.required):
                continue
            rest = written[len(self.required) :]
            if not spelled[token]:
                if len(prefix.written) == len(self.required):
                    self.found[""] += float(mass[token])
            elif (character := first_character(rest)) is not None:
                self.found[character] += float(mass[token])
            else:
                self.pushed += 1
                logp = math.log(mass[token])
                heapq.heappush(self.open, (-logp, self.pushed, Prefix(written, logp, token, state)))


def first_character(text: bytes) -> str | None:
    """The first character of some UTF-8, U+FFFD where it is invalid; None where it is not complete."""
    if not text:
        return None
    size = 1 if text[0] < 0xC0 else 2 if text[0] < 0xE0 else 3 if text[0] < 0xF0 else 4
    tail = text[1:size]
    if len(tail) < size - 1 and all(0x80 <= byte < 0xC0 for byte in tail):
        return None
    return text[:size].decode(errors="replace")[:1]
