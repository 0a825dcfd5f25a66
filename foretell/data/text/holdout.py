"""Held-out splits of text without predefined splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from foretell.data.compressed import compression
from foretell.data.text.corpus import Files, Source
from foretell.data.text_files import Piece, Report, content_ending

FEWEST_TO_SHUFFLE = 20


@final
class Whole:
    """Text without splits, or without those `held_out`, to be divided; see `Share`."""

    def __init__(self, files: Source, held_out: tuple[str, ...] = ("valid", "test")) -> None:
        self.files = files
        self.held_out = held_out

    @cached_property
    def survey(self) -> tuple[int, int]:
        """The numbers of documents and of bytes of UTF-8, counted in one pass."""
        documents, size = 0, 0
        for piece in self.files.pieces():
            documents += piece.ends_document
            size += byte_length(piece.text)
        return documents, size

    def shares(self) -> dict[str, Source]:
        """The splits: train and the held-out ones."""
        return {name: Share(self, name) for name in ("train", *self.held_out)}


@final
class Share:
    """One split of a text without predefined splits: whole documents if there are many, else a contiguous part.

    With at least 20 documents, 5 % are valid and 5 % test, chosen by `assign_documents`. With
    fewer, the first 90 % of the bytes are train, then 5 % valid, then 5 % test, cut at the end of a
    piece, which is a line unless it is very long.
    """

    def __init__(self, whole: Whole, name: str) -> None:
        self.whole = whole
        self.name = name

    def pieces(self) -> Iterator[Piece]:
        """The text of this split."""
        documents, size = self.whole.survey
        names = ("train", *self.whole.held_out)
        if documents >= FEWEST_TO_SHUFFLE:
            return self.chosen(assign_documents(documents, len(self.whole.held_out)) == names.index(self.name))
        end = 100 - 5 * len(self.whole.held_out)
        edges = {"train": (0, end)} | {name: (end + 5 * i, end + 5 * i + 5) for i, name in enumerate(names[1:])}
        return self.between(edges[self.name][0] * size / 100, edges[self.name][1] * size / 100)

    def chosen(self, wanted: npt.NDArray[np.bool_]) -> Iterator[Piece]:
        """The pieces of the documents that are `wanted`."""
        document = 0
        for piece in self.whole.files.pieces():
            if wanted[document]:
                yield piece
            document += piece.ends_document

    def between(self, start: float, stop: float) -> Iterator[Piece]:
        """The pieces that start within this range of bytes; the last of them ends its document."""
        held: Piece | None = None
        position = 0
        for piece in self.whole.files.pieces():
            if start <= position < stop:
                if held:
                    yield held
                held = piece
            position += byte_length(piece.text)
        if held:
            yield held._replace(ends_document=True)

    def digest(self) -> str:
        """The hash of the whole text and the name of this share."""
        held_out = "" if len(self.whole.held_out) == 2 else f" of {self.whole.held_out}"
        text = f"{self.whole.files.digest()} {self.name}{held_out}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def reports(self) -> dict[str, Report]:
        """The reports of the files this split comes from."""
        return self.whole.files.reports()


def files_of(source: Source) -> tuple[Path, ...]:
    """The files that a split is read from; empty if its text does not come from files."""
    files = source.whole.files if isinstance(source, Share) else source
    return tuple(files.paths) if isinstance(files, Files) else ()


def known_bytes(source: Source) -> int | None:
    """The approximate size of a split in bytes, from the sizes of its files; None for packed files and tables."""
    files = files_of(source)
    if not files or any(compression(file) or content_ending(file) in (".jsonl", ".parquet") for file in files):
        return None
    size = sum(file.stat().st_size for file in files)
    if not isinstance(source, Share):
        return size
    each = size // 20
    return size - each * len(source.whole.held_out) if source.name == "train" else each


def assign_documents(documents: int, held_out: int = 2) -> npt.NDArray[np.int8]:
    """For each document 0, or the number (from 1) of its held-out split: a pure function of the two numbers."""
    order = shuffled(documents)
    each = max(1, round(documents / 20))
    splits = np.zeros(documents, dtype=np.int8)
    for number in range(held_out):
        splits[order[number * each : (number + 1) * each]] = number + 1
    return splits


def shuffled(size: int) -> npt.NDArray[np.int64]:
    """A fixed permutation of `range(size)`: the order of splitmix64 of the index (Steele, Lea and
    Flood 2014).

    Numpy's generators are not used, as their output may change between versions.
    """
    mixed = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")


def byte_length(text: str) -> int:
    """The length in UTF-8, without encoding ASCII."""
    return len(text) if text.isascii() else len(text.encode())
