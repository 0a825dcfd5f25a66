"""Where words begin among the tokens of a vocabulary, for masking whole words.

A table per token, made once from how it is spelled, that is right wherever a tokeniser marks words: WordPiece marks
continuations (`##ing`), byte-level BPE and Unigram the blank before a word (`Ġthe`, `▁the`), bytes and characters
nothing. Punctuation is a word of its own whatever the tokeniser does with it, so `quickly,` is two words everywhere.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.data.text_files import REPLACEMENT
from foretell.data.tokenizers.tokenizer import Tokenizer

# The edge of a token. Two tokens are parts of one word if these are the same there, or one is `JOINED`.
APART, JOINED, LETTERS, DIGITS, SIGNS, BLANKS = range(6)
Edges = NDArray[np.int8]


@dataclass(frozen=True)
class Words:
    """The edges of each token of a vocabulary."""

    head: Edges
    """[V] on the left: APART begins a word always, JOINED never does"""
    tail: Edges
    """[V] on the right: to JOINED everything is joined that is not APART"""

    def starts(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """tokens [..., T] -> [..., T] whether a word begins there; at the first it does."""
        head, before = self.head[tokens], np.roll(self.tail[tokens], 1, axis=-1)
        joined = (head == JOINED) | (before == JOINED) | (head == before)
        starts: NDArray[np.bool_] = (head == APART) | ~joined
        starts[..., 0] = True
        return starts


def word_table(tokenizer: Tokenizer) -> Words:
    """The edges of all tokens of a vocabulary, by how its kind of tokeniser spells them."""
    marks, rule = set(tokenizer.specials.ids), edges_of(tokenizer)
    table = np.array([(APART, APART) if i in marks else rule(i) for i in range(tokenizer.size)], dtype=np.int8)
    return Words(table[:, 0], table[:, 1])


def edges_of(tokenizer: Tokenizer) -> Callable[[int], tuple[int, int]]:
    """A function for the head and tail of a token that is not special."""
    description = json.loads(tokenizer.library.to_str())
    spelling, model = tokenizer.library.id_to_token, description["model"]
    if model["type"] == "WordLevel" and tokenizer.kind != "character":
        return lambda token: (APART, APART)
    if model["type"] == "WordPiece":
        prefix = model["continuing_subword_prefix"]
        return lambda token: (JOINED if (spelling(token) or "").startswith(prefix) else APART, APART)
    if tokenizer.kind in ("byte", "character"):  # whose blanks are tokens
        return lambda token: (edge(tokenizer.decode([token])[:1]), edge(tokenizer.decode([token])[-1:]))
    if '"ByteLevel"' in json.dumps(description["decoder"]):
        return lambda token: behind_blank(tokenizer.decode([token]))
    return lambda token: behind_blank((spelling(token) or "").replace("▁", " "))


def behind_blank(text: str) -> tuple[int, int]:
    """Head and tail of a token where a word takes the blank before it along."""
    if text == " ":  # it belongs to the word after it
        return APART, JOINED
    return (APART if text[:1].isspace() else edge(text[:1])), edge(text[-1:])


def edge(character: str) -> int:
    """The class of a character; part of one that tokens cut in two counts as a letter."""
    if not character or character.isspace():
        return BLANKS
    category = unicodedata.category(character)
    if category[0] in "LM" or character == REPLACEMENT:
        return LETTERS
    return DIGITS if category[0] == "N" else SIGNS
