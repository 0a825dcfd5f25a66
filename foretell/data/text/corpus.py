"""A corpus: text by split, from a built-in name, or from files, folders and globs."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from foretell.data.files import (
    SPLITS,
    Found,
    LeftOut,
    by_split,
    expanded,
    find_files,
    no_split,
    split_keys,
    tell,
)
from foretell.data.text.text_files import (
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
    packing,
    read_file,
)
from foretell.errors import ConfigError

FEWEST_TO_SHUFFLE = 20
KINDS = f"{', '.join(TEXT_ENDINGS[:-1])} (plain, .gz, .xz, .zst) or {TEXT_ENDINGS[-1]}"


class Source(Protocol):
    """Where the text of a split comes from."""

    def pieces(self) -> Iterator[Piece]:
        """The text, piece by piece."""

    def digest(self) -> str:
        """A hash of all that determines the pieces."""

    def reports(self) -> dict[str, Report]:
        """What was met in the files read to their end so far."""


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
        """What was met in the files read to their end so far, each file counted once."""
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
            table, packed = content_ending(path) in (".jsonl", ".parquet"), bool(packing(path))
            state.update(f"\0{table} {packed} {path.stat().st_size}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(BLOCK):
                    state.update(block)
        return state.hexdigest()

    def reports(self) -> dict[str, Report]:
        """What was met, by file."""
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
        """Sizes of the text, and what needed mending."""
        found = [mended(text) for text in self.documents]
        sizes = [Report(1, text.bytes, len(text.text), text.replaced) for text in found]
        return {f"{index} {id(self)}": size for index, size in enumerate(sizes)}


@final
class Whole:
    """Text that came without splits, or without those `held_out`, to be divided by us: see `Share`."""

    def __init__(self, files: Source, held_out: tuple[str, ...] = ("valid", "test")) -> None:
        self.files = files
        self.held_out = held_out

    @cached_property
    def survey(self) -> tuple[int, int]:
        """The numbers of documents and of bytes of UTF-8, counted by reading all once."""
        documents, size = 0, 0
        for piece in self.files.pieces():
            documents += piece.ends_document
            size += byte_length(piece.text)
        return documents, size

    def shares(self) -> dict[str, Source]:
        """The splits: train, and what is held out of it."""
        return {name: Share(self, name) for name in ("train", *self.held_out)}


@final
class Share:
    """One split of text that came without: by whole documents when there are many, else contiguous.

    With at least 20 documents, 5 % are valid and 5 % test, chosen by `assign_documents`. With
    fewer, the first 90 % of the bytes are train, then 5 % valid, then 5 % test, cut where a piece
    (so, but for very long lines, a line) ends.
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
        """The hash of all the text, and of which share this is."""
        held_out = "" if len(self.whole.held_out) == 2 else f" of {self.whole.held_out}"
        text = f"{self.whole.files.digest()} {self.name}{held_out}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def reports(self) -> dict[str, Report]:
        """What was met in the files, of which this is a share."""
        return self.whole.files.reports()


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

    Not numpy's generators, as numpy may change what they give from version to version.
    """
    mixed = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")


def byte_length(text: str) -> int:
    """The length in UTF-8, without encoding where that can be seen."""
    return len(text) if text.isascii() else len(text.encode())


# --- opening --------------------------------------------------------------------------------------


def open_corpus(spec: str | Mapping[str, str]) -> Corpus:
    """The corpus that `spec` names.

    A built-in name (which goes before a file of that name: write `./ptb` for that), a path, a glob,
    or a folder of `.txt`, `.tokens`, `.jsonl` (plain or packed) and `.parquet` files; or such a path for each
    split; or `hf:NAME` for a data set of the Hugging Face hub (see `hub`). A column of tables other
    than `text` is named after the place: `reviews.parquet#body`. Files named for splits (see `files`)
    give those splits; all else is divided by us.
    `reviews:` before any of these names makes a line of each document (see `preparation`).
    """
    from foretell.data.text import reviews
    from foretell.data.text.builtin import BUILTIN, open_builtin  # they stand on this module
    from foretell.data.text.hub import PREFIX, open_hub

    if isinstance(spec, Mapping):
        return open_splits(spec)
    if spec.startswith(reviews.PREFIX):
        return reviews.reviews_of(open_corpus(spec.removeprefix(reviews.PREFIX)))
    if spec in BUILTIN:
        return open_builtin(spec)
    place, column = split_column(spec)
    if spec.startswith(PREFIX):
        corpus = open_hub(place, column)
        return checked(corpus, [corpus.source("train")])
    name = Path(place).name or place
    found = text_files(place, BUILTIN)
    named, left_out = by_split(found)
    whole = Files(found.files, column=column)
    sources: dict[str, Source] = {split: Files(files, column=column) for split, files in named.items()}
    return checked(Corpus(name, sources or Whole(whole).shares(), left_out), [whole])


def text_files(place: str, known: Sequence[str] = ()) -> Found:
    """The files of a place that hold text."""
    return find_files(place, known, is_text_file, KINDS)


def split_column(spec: str) -> tuple[str, str]:
    """The place and the column of `PLACE#COLUMN`; a `#` that is part of an existing file's name is just that."""
    place, mark, column = spec.rpartition("#")
    if not mark or not column or expanded(spec).exists():
        return spec, COLUMN
    return place, column


def open_splits(spec: Mapping[str, str]) -> Corpus:
    """A corpus from one path, glob or folder for each split."""
    sources: dict[str, Source] = {}
    left_out: list[LeftOut] = []
    places = split_keys(spec)
    for split, path in places.items():
        place, column = split_column(path)
        found = text_files(place)
        sources[split] = Files(found.files, column=column)
        left_out += found.left_out
    name = Path(places.get("train", next(iter(places.values())))).name
    return checked(Corpus(name, sources, left_out), list(sources.values()))


def open_file(name: str) -> Corpus:
    """A text that is measured in place of a split: a path, glob or folder, as the split `test`."""
    place, _ = split_column(name)
    if not expanded(place).exists() and not glob.has_magic(place):
        raise no_split(name)
    return open_splits({"test": name})


def checked(corpus: Corpus, sources: Sequence[Source]) -> Corpus:
    """The corpus, when each of the sources has any text; what is left out of it is told."""
    for files in corpus.left_out:
        tell(str(files))
    for source in sources:
        if next(source.pieces(), None) is None:
            raise ConfigError(f"corpus {corpus.name!r}: there is no text in it")
    return corpus
