"""A corpus: text by split, from a built-in name, or from files, folders and globs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, final

from foretell.data.compressed import compression
from foretell.data.files import (
    SPLITS,
    Found,
    LeftOut,
    expanded,
    find_files,
)
from foretell.data.text_files import (
    BLOCK,
    COLUMN,
    RULES,
    TEXT_ENDINGS,
    Piece,
    Report,
    content_ending,
    document_pieces,
    is_text_file,
    mended,
    read_file,
)
from foretell.errors import ConfigError

KINDS = f"{', '.join(TEXT_ENDINGS[:-1])} (plain, .gz, .xz, .zst) or {TEXT_ENDINGS[-1]}"


class Source(Protocol):
    """Where the text of a split comes from."""

    def pieces(self) -> Iterator[Piece]:
        """The text, piece by piece."""

    def digest(self) -> str:
        """A hash of all that determines the pieces."""

    def reports(self) -> dict[str, Report]:
        """The reports of files that were read completely."""


@final
class Corpus:
    """Text in splits. Reading is lazy and can be repeated; nothing is held in memory."""

    def __init__(self, name: str, sources: Mapping[str, Source], left_out: Sequence[LeftOut] = ()) -> None:
        self.name = name
        self.sources = dict(sources)
        self.left_out = tuple(left_out)
        """files of its folder that are not read"""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, in the order train, valid, test."""
        return tuple(name for name in SPLITS if name in self.sources)

    def pieces(self, split: str) -> Iterator[Piece]:
        """The pieces of a split, in order."""
        return self.source(split).pieces()

    def fingerprint(self, split: str) -> str:
        """A hash over the stored bytes and the version of the reading rules; names do not matter."""
        return self.source(split).digest()

    @property
    def report(self) -> Report:
        """The reports of files that were read completely, each file counted once."""
        found: dict[str, Report] = {}
        for source in self.sources.values():
            found |= source.reports()
        return sum(found.values(), Report())

    def source(self, split: str) -> Source:
        """The source of a split; a `ConfigError` says which there are."""
        if split not in self.sources:
            raise ConfigError(
                f"corpus {self.name!r} has no {split!r} split (it has {', '.join(self.splits)}); "
                f"give one with corpus = {{train = …, {split} = …}}"
            )
        return self.sources[split]


# --- sources --------------------------------------------------------------------------------------


@final
class Files:
    """All documents of some files, in their order; `transform` maps the text of each piece."""

    def __init__(
        self, paths: Sequence[Path], transform: Callable[[str], str] | None = None, column: str = COLUMN
    ) -> None:
        self.paths = tuple(paths)
        self.transform = transform
        self.column = column
        self.found: dict[str, Report] = {}

    def pieces(self) -> Iterator[Piece]:
        """The text, file by file."""
        for path in self.paths:
            report = Report()
            for piece in read_file(path, report, self.column):
                if self.transform:
                    piece = piece._replace(text=self.transform(piece.text))
                yield piece
            self.found[str(path)] = report

    def digest(self) -> str:
        """A hash over formats and stored bytes; the names of the files do not matter."""
        state = hashlib.blake2b(f"rules {RULES}".encode(), digest_size=16)
        if self.transform:
            state.update(self.transform.__name__.encode())
        if self.column != COLUMN:
            state.update(f"column {self.column}".encode())
        for path in self.paths:
            table, packed = content_ending(path) in (".jsonl", ".parquet"), bool(compression(path))
            state.update(f"\0{table} {packed} {path.stat().st_size}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(BLOCK):
                    state.update(block)
        return state.hexdigest()

    def reports(self) -> dict[str, Report]:
        """The reports, by file."""
        return self.found


@final
class Texts:
    """Documents that are in memory already."""

    def __init__(self, documents: Sequence[str]) -> None:
        self.documents = tuple(documents)

    def pieces(self) -> Iterator[Piece]:
        """The text, document by document."""
        for document in self.documents:
            yield from document_pieces(document, Report())

    def digest(self) -> str:
        """A hash over the documents."""
        state = hashlib.blake2b(f"rules {RULES}".encode(), digest_size=16)
        for document in self.documents:
            state.update(f"\0{len(document)}\0{document}".encode(errors="surrogatepass"))
        return state.hexdigest()

    def reports(self) -> dict[str, Report]:
        """Sizes of the text, and counts of what was repaired."""
        found = [mended(text) for text in self.documents]
        sizes = [Report(1, text.bytes, len(text.text), text.replaced) for text in found]
        return {f"{index} {id(self)}": size for index, size in enumerate(sizes)}


# --- opening --------------------------------------------------------------------------------------


def text_files(place: str, known: Sequence[str] = ()) -> Found:
    """The files of a place that hold text."""
    return find_files(place, known, is_text_file, KINDS)


def split_column(spec: str) -> tuple[str, str]:
    """The place and the column of `PLACE#COLUMN`; a `#` that is part of an existing file's name is just that."""
    place, mark, column = spec.rpartition("#")
    if not mark or not column or expanded(spec).exists():
        return spec, COLUMN
    return place, column
