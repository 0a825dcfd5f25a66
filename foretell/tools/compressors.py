"""Compressors as baselines: measured on the same bytes as models, shown apart from models as trained.

Figures of two kinds never share a column or a ranking: *static* ones, of models that learn nothing from the measured
text, and *adaptive* ones, of what learns as it reads and scores first, as every compressor does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from foretell import units
from foretell.coding.compressors import COMPRESSORS
from foretell.data.files import SPLITS
from foretell.data.opening import open_corpus, open_file
from foretell.data.store.store import is_store
from foretell.data.text_files import Piece
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor

MOST = 1 << 23
"""bytes of training text that compressors read: its last ones; xz and PPMd take ten seconds each for them"""
ADAPTIVE = Column("adaptive")
"""bits per byte of what learns from the measured text as it reads it"""


def baselines(corpus: str | Mapping[str, str], split: str, monitor: Monitor) -> dict[str, Any] | None:
    """Bits per byte of a split (or of a file in place of one) by compressors that have read the training text.

    None where there is no text to read: a prepared store, or the training text itself.
    """
    if is_store(corpus) or split == "train":
        return None
    opened = open_corpus(corpus)
    text = opened.pieces(split) if split in SPLITS else open_file(split).pieces("test")
    return given(joined(opened.pieces("train"))[-MOST:], joined(text), monitor)


def given(train: bytes, text: bytes, monitor: Monitor) -> dict[str, Any]:
    """Bits per byte of a text by each compressor, None where it is not installed; and the bytes of training text."""
    found: dict[str, Any] = {}
    for number, compressor in enumerate(COMPRESSORS):
        with monitor.activity(f"compressing with {compressor.title}", number / len(COMPRESSORS)):
            found[compressor.name] = compressor.bits_per_byte(text, train)
    return {**found, "train_bytes": len(train)}


def joined(pieces: Iterable[Piece]) -> bytes:
    """A text as bytes."""
    return "".join(piece.text for piece in pieces).encode()


def figures(found: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Title and bits per byte of the compressors that are installed, the best first."""
    known = [(compressor.title, found[compressor.name]) for compressor in COMPRESSORS]
    return sorted(((title, bits) for title, bits in known if bits is not None), key=lambda pair: pair[1])


def add_compressors(table: ResponsiveTable, found: Mapping[str, Any] | None, digits: int = 3) -> None:
    """Rows of compressors in a part of their own, and what their figures mean; the third column is `ADAPTIVE`."""
    if found is None:
        return
    table.section("compressors")
    for title, bits in figures(found):
        table.add(title, "", f"{bits:.{digits}f}")
    table.notes.append(explained(found))


def explained(found: Mapping[str, Any]) -> str:
    """Explanation of the figures of compressors."""
    return (
        "adaptive: bits/byte of what learns from the measured text as it reads it, as compressors do; they have read "
        f"{units.size(found['train_bytes'])} of training text before."
    )
