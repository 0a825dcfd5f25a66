"""Long passages of one split that occur in another."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from foretell.data.text_files import Piece
from foretell.evaluate.tracing import Match, TextIndex, apart, covered, number_of, passages
from foretell.trees import Tree

INDEXED = 16 << 20
"""bytes of a training split that are indexed"""
LOOKED_UP = 1 << 20
"""bytes of another split that are looked up"""
LEAST = 100
"""bytes of a passage that is unlikely to repeat by chance"""
KEPT = 3
"""passages of a split in a result, the longest"""
SHOWN = 60
"""characters of a passage in a result"""


class Bytes:
    """The beginning of a split as bytes, with the places of its documents."""

    def __init__(self, pieces: Iterable[Piece], limit: int):
        parts, self.starts, size = [], [0], 0
        for text, ends_document, *_ in pieces:
            if size >= limit:
                break
            parts.append(text.encode(errors="replace"))
            size += len(parts[-1])
            if ends_document:
                self.starts.append(size)
        self.array = np.frombuffer(b"".join(parts)[:limit], np.uint8)


class Leaks:
    """A training split in which passages of others are looked up."""

    def __init__(self, train: Iterable[Piece]):
        self.train = Bytes(train, INDEXED)
        self.index = TextIndex.of(self.train.array, 256)
        self.documents = np.array([*self.train.starts, len(self.train.array)])

    def look_up(self, split: str, pieces: Iterable[Piece]) -> tuple[float, list[Tree]]:
        """The share of a split in passages of `LEAST` bytes or more, and the longest of these: each with the number of
        its training document, from 1, and its bytes from the beginning of that."""
        other = Bytes(pieces, LOOKED_UP)
        found = passages(self.index.matches(other.array), LEAST)
        longest = sorted(apart(found), key=lambda match: -match.length)[:KEPT]
        return covered(found) / max(len(other.array), 1), [
            self._record(f"{split} {number}", other, match) for number, match in enumerate(longest, 1)
        ]

    def _record(self, name: str, other: Bytes, match: Match) -> Tree:
        document, offset = number_of(self.documents, match.place)
        text = other.array[match.position - match.length : match.position].tobytes().decode(errors="replace")
        return {
            "passage": name,
            "bytes": match.length,
            "document": document,
            "offset": offset,
            "text": shortened(text),
        }


def shortened(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return f"{line[:SHOWN]}…" if len(line) > SHOWN else line
