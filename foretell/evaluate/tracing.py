"""Passages of a text that occur in another one: sources of predictions, leaks between splits."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.artifacts import write_tensors
from foretell.cache import cache_folder
from foretell.kernels.suffix_index import Index, Rows, Whole, index_of, is_sound, longest_matches

MANY = 1 << 12
"""occurrences up to which the first in the text is looked for"""


@dataclass(frozen=True)
class Match:
    """The longest passage that ends before a place of a text and occurs in the indexed one."""

    position: int
    """tokens of the text before the place"""
    length: int
    """tokens of the passage"""
    occurrences: int
    place: int
    """where one of them begins in the indexed text, in tokens; the first, unless there are thousands"""


@dataclass(frozen=True)
class TextIndex:
    """An indexed text."""

    contexts: Index
    places: Rows
    """[N + 1] tokens before the end of each context"""

    @classmethod
    def of(cls, tokens: NDArray[np.integer], symbols: int) -> TextIndex:
        """The index of a text [N]."""
        return cls(*index_of(np.asarray(tokens).astype(np.int32), symbols))

    @classmethod
    def cached(cls, tokens: NDArray[np.integer], symbols: int) -> TextIndex:
        """The index of a text [N], from the cache where that has it; a damaged one is made again."""
        content = blake2b(np.ascontiguousarray(tokens).data, digest_size=16, person=str(symbols).encode()[:16])
        file = cache_folder() / "indexes" / f"{content.hexdigest()}.safetensors"
        found = read_index(file, len(tokens), symbols)
        if found is None:
            found = cls.of(tokens, symbols)
            parts = {"follows": found.contexts.follows, "first": found.contexts.first, "places": found.places}
            write_tensors(file, {name: torch.from_numpy(part) for name, part in parts.items()})
        return found

    def matches(self, tokens: NDArray[np.integer]) -> list[Match]:
        """The longest match before each place of a text [T] after its first token."""
        found = longest_matches(self.contexts, np.asarray(tokens).astype(np.int32))
        return [self._match(position, *row) for position, row in enumerate(found.tolist(), 1)]

    def _match(self, position: int, length: int, begin: int, end: int) -> Match:
        some = self.places[begin : min(end, begin + MANY)]
        return Match(position, length, end - begin, int(some.min()) - length)


def read_index(file: Path, tokens: int, symbols: int) -> TextIndex | None:
    """The index in a file; None where it is missing or no index of such a text."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with contextlib.suppress(OSError, SafetensorError, KeyError, ValueError):
        parts = load_file(file)
        index, places = Index(parts["follows"], parts["first"]), parts["places"]
        whole = places.shape == (tokens + 1,) and places.dtype == np.int32 and len(index.follows) == tokens
        if whole and is_sound(index, symbols) and places.min() >= 0 and places.max() <= tokens:
            return TextIndex(index, places)
    return None


def passages(matches: list[Match], least: int) -> list[Match]:
    """The matches of `least` tokens or more that the next token does not continue."""
    following = [*(match.length for match in matches[1:]), 0]
    return [match for match, after in zip(matches, following, strict=False) if match.length >= max(least, after)]


def apart(found: list[Match]) -> list[Match]:
    """Passages that have no token in common, chosen from the longest down; in the order of the text."""
    chosen: list[Match] = []
    for match in sorted(found, key=lambda match: (-match.length, match.position)):
        begin = match.position - match.length
        if all(match.position <= other.position - other.length or begin >= other.position for other in chosen):
            chosen.append(match)
    return sorted(chosen, key=lambda match: match.position)


def covered(found: list[Match]) -> int:
    """Tokens within passages, overlaps counted once."""
    total, end = 0, 0
    for match in found:
        total += match.position - max(end, match.position - match.length)
        end = match.position
    return total


def number_of(documents: Whole, place: int) -> tuple[int, int]:
    """The number of the document at a place of a text, from 1, and the tokens of it before the place."""
    number = int(np.searchsorted(documents[:-1], place, side="right"))
    return number, place - int(documents[number - 1])
