"""Comparison of two models: losses by part of the text, by token frequency, by position, by token.

Everything is computed from the losses of single tokens, so the models run once. Models with different tokens are
compared on parts that they share: documents, or blocks of lines. P parts, U units, N tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.data.store.store import Split
from foretell.data.text.holdout import byte_length
from foretell.data.text_files import Piece
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.bootstrap import Floats

Ints = NDArray[np.int64]
FEWEST_DOCUMENTS = 20
BLOCKS = 100  # wanted where documents are too few
SMALLEST_BLOCK, LARGEST_BLOCK = 1024, 8192  # bytes: longer than most dependencies, and enough blocks


@dataclass(frozen=True)
class RawText:
    """A text independent of any tokenizer."""

    digest: str
    """of the text and its document ends, however it is stored"""
    line_bytes: Ints
    """[lines] length of each line as stored, newline included"""

    @classmethod
    def read(cls, pieces: Iterable[Piece]) -> RawText:
        """Read all pieces."""
        state = hashlib.blake2b(digest_size=16)
        lines, size = [], 0
        for text, ends_document, _, surplus in pieces:
            state.update(text.encode() + (b"\0" if ends_document else b""))
            size += byte_length(text) - surplus
            if ends_document or text.endswith("\n"):
                lines.append(size)
                size = 0
        return cls(state.hexdigest(), np.array(lines, dtype=np.int64))


@dataclass(frozen=True)
class Parts:
    """A text in parts that are the same for all tokenizers."""

    kind: str
    """documents or blocks"""
    edges: Ints
    """[P + 1] the first document or line of each part, and the end"""
    bytes: Floats
    """[P]"""

    @classmethod
    def of(cls, text: Split, raw: RawText | None) -> Parts:
        """The documents of a text; where they are few, blocks of lines of about equal size."""
        if text.counts.documents >= FEWEST_DOCUMENTS:
            sizes = np.asarray(text.document_bytes, dtype=np.float64)
            return cls("documents", np.arange(len(sizes) + 1), sizes)
        tokens = np.diff(text.lines)
        if raw is not None and len(raw.line_bytes) == len(tokens):
            lines = raw.line_bytes.astype(np.float64)
        else:  # a prepared store without its text: bytes in proportion to tokens
            lines = tokens * (text.counts.bytes / max(text.counts.tokens, 1))
        size = min(max(text.counts.bytes / BLOCKS, SMALLEST_BLOCK), LARGEST_BLOCK)
        ends = np.cumsum(lines)
        block = np.floor((ends - lines) / size)  # a line belongs to the block that it starts in
        edges = np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [len(lines)]])
        return cls("blocks", edges, sums(lines, edges))

    def losses(self, nats: Floats, text: Split) -> Floats:
        """Losses of tokens [N] -> losses of parts [P]."""
        offsets = text.documents if self.kind == "documents" else text.lines
        return sums(nats, np.asarray(offsets)[self.edges])


def sums(values: Floats, edges: Ints) -> Floats:
    """The sums between neighbouring edges; 0 where there is nothing."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(running[edges[1:]] - running[edges[:-1]])


# --- by frequency and by position -----------------------------------------------------------------


def by_frequency(tokens: Ints, nats: Floats, counts: Ints, size: int) -> list[dict[str, Any]]:
    """Losses of tokens [N] by their count in the training text, `counts` [V], in powers of ten."""
    often = counts[tokens]
    digits = np.where(often > 0, np.floor(np.log10(np.maximum(often, 1))).astype(np.int64) + 1, 0)
    return buckets(digits, nats, size, lambda n: (10 ** (n - 1), 10**n - 1) if n else (0, 0))


def by_position(starts: Ints, nats: Floats, size: int) -> list[dict[str, Any]]:
    """Losses of tokens [N] by their position in a document or line, `starts` [U + 1], in powers of two."""
    lengths = np.diff(starts)
    position = np.arange(starts[0], starts[-1]) - np.repeat(starts[:-1], lengths)
    octave = np.where(position > 0, np.floor(np.log2(np.maximum(position, 1))).astype(np.int64) + 1, 0)
    return buckets(octave, nats[starts[0] : starts[-1]], size, lambda n: (2 ** (n - 1), 2**n - 1) if n else (0, 0))


def buckets(bucket: Ints, nats: Floats, size: int, ends: Any) -> list[dict[str, Any]]:
    """The loss of each bucket: nats per token, and its part of the text's bits per byte."""
    tokens, total = np.bincount(bucket), np.bincount(bucket, nats)
    return [
        {
            "from": ends(n)[0],
            "to": ends(n)[1],
            "tokens": int(tokens[n]),
            "loss": float(total[n] / tokens[n]),
            "bits_per_byte": float(total[n] / math.log(2) / size),
        }
        for n in np.flatnonzero(tokens).tolist()
    ]


# --- by token -------------------------------------------------------------------------------------


def worst_tokens(
    tokens: Ints, nats: Floats, other: Floats, tokenizer: Tokenizer, most: int = 10
) -> list[dict[str, Any]]:
    """The tokens with the largest total excess loss over another model, each with its worst occurrence."""
    excess = (nats - other) / math.log(2)  # [N] bits
    total, often = np.bincount(tokens, excess), np.bincount(tokens)
    worst = []
    for token in np.argsort(-total, kind="stable")[:most].tolist():
        if total[token] <= 0:
            break
        indices = np.flatnonzero(tokens == token)
        index = int(indices[np.argmax(excess[indices])])
        worst.append(
            {
                "token": tokenizer.token(token),
                "occurrences": int(often[token]),
                "excess_bits": float(total[token]),
                "context": snippet(tokens, index, tokenizer),
                "context_excess_bits": float(excess[index]),
            }
        )
    return worst


def snippet(tokens: Ints, index: int, tokenizer: Tokenizer, characters: int = 40) -> str:
    """The text around a token on one line, the token in brackets."""
    stream = tokenizer.stream()
    pieces = {i: stream.feed(int(tokens[i])) for i in range(max(0, index - 40), min(len(tokens), index + 20))}
    before = "".join(text for i, text in pieces.items() if i < index)[-characters:]
    after = "".join(text for i, text in pieces.items() if i > index)[: characters // 2]
    return f"{before}[{pieces[index] or tokenizer.token(int(tokens[index]))}]{after}".replace("\n", "⏎")
