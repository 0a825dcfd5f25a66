"""A corpus: text by split, from a built-in name, or from files, folders and globs."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from foretell.config import did_you_mean
from foretell.data.reading import (
    BLOCK,
    COLUMN,
    PACKED_ENDINGS,
    RULES,
    Piece,
    Report,
    content_ending,
    document_pieces,
    is_text_file,
    mended,
    read_file,
)
from foretell.errors import ConfigError

SPLITS = ("train", "valid", "test")
ALIASES = {"dev": "valid", "devel": "valid", "val": "valid", "validation": "valid"} | {name: name for name in SPLITS}
FEWEST_TO_SHUFFLE = 20


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

    def __init__(self, name: str, sources: Mapping[str, Source]) -> None:
        self.name = name
        self.sources = dict(sources)

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
            table, packing = content_ending(path) in (".jsonl", ".parquet"), path.suffix in PACKED_ENDINGS
            state.update(f"\0{table} {packing} {path.stat().st_size}\0".encode())
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
    or a folder of `.txt`, `.jsonl` (plain or packed) and `.parquet` files; or such a path for each
    split; or `hf:NAME` for a data set of the Hugging Face hub (see `hub`). A column of tables other
    than `text` is named after the place: `reviews.parquet#body`. Files named for splits (`train.txt`,
    `wiki.valid.tokens`, `dev.jsonl.gz`, `test/…`) give those splits; all else is divided by us.
    `reviews:` before any of these names makes a line of each document (see `preparation`).
    """
    from foretell.data import preparation
    from foretell.data.builtin import BUILTIN, open_builtin  # they stand on this module
    from foretell.data.hub import PREFIX, open_hub

    if isinstance(spec, Mapping):
        return open_splits(spec)
    if spec.startswith(preparation.PREFIX):
        return preparation.reviews_of(open_corpus(spec.removeprefix(preparation.PREFIX)))
    if spec in BUILTIN:
        return open_builtin(spec)
    place, column = split_column(spec)
    if spec.startswith(PREFIX):
        corpus = open_hub(place, column)
        return checked(corpus, [corpus.source("train")])
    paths, root = find_files(place, BUILTIN)
    named = by_split(paths, root)
    whole = Files(paths, column=column)
    sources = {name: Files(found, column=column) for name, found in named.items()} if named else Whole(whole).shares()
    return checked(Corpus(Path(place).name or place, sources), [whole])


def split_column(spec: str) -> tuple[str, str]:
    """The place and the column of `PLACE#COLUMN`; a `#` that is part of an existing file's name is just that."""
    place, mark, column = spec.rpartition("#")
    if not mark or not column or Path(spec).expanduser().exists():
        return spec, COLUMN
    return place, column


def open_splits(spec: Mapping[str, str]) -> Corpus:
    """A corpus from one path, glob or folder for each split."""
    sources: dict[str, Source] = {}
    for key, path in spec.items():
        if key not in ALIASES:
            raise ConfigError(f"corpus.{key}: no such split{did_you_mean(key, SPLITS)} (known: {', '.join(SPLITS)})")
        place, column = split_column(path)
        sources[ALIASES[key]] = Files(find_files(place, ())[0], column=column)
    if not sources:
        raise ConfigError("corpus: no split given; write corpus = {train = …, valid = …, test = …}")
    name = Path(spec.get("train", next(iter(spec.values())))).name
    return checked(Corpus(name, sources), list(sources.values()))


def checked(corpus: Corpus, sources: Sequence[Source]) -> Corpus:
    """The corpus, when each of the sources has any text."""
    for source in sources:
        if next(source.pieces(), None) is None:
            raise ConfigError(f"corpus {corpus.name!r}: there is no text in it")
    return corpus


def find_files(spec: str, builtin: Sequence[str] | Mapping[str, object]) -> tuple[list[Path], Path]:
    """The files of a path, glob or folder, sorted, and the folder they were looked for in."""
    path = Path(spec).expanduser()
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.is_file() and is_text_file(item))
        if not found:
            raise ConfigError(
                f"{spec}: no .txt or .jsonl files (plain, .gz, .xz, .zst) and no .parquet files in this folder"
            )
        return found, path
    if path.is_file():
        return [path], path.parent
    matches = sorted(Path(item) for item in glob.glob(str(path), recursive=True))
    files = [item for item in matches if item.is_file()]
    if not files:
        raise ConfigError(f"corpus {spec!r}: {nearest(path, builtin)}")
    return files, path.parent


def nearest(path: Path, builtin: Sequence[str] | Mapping[str, object]) -> str:
    """What to write instead of a path that does not exist."""
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    here = [item.name for item in folder.iterdir()]
    missing = path.relative_to(folder).parts[0]
    hint = did_you_mean(missing, [*here, *builtin])
    names = f"; built-in: {', '.join(builtin)}" if builtin else ""
    return f"no such file or folder{hint} (nearest existing folder: {folder}{names})"


def by_split(paths: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """The files by the split that their path below `root` says; nothing if none is for training."""
    named: dict[str, list[Path]] = {}
    for path in paths:
        inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        words = re.split(r"[._\-/\\ ]+", str(inside).lower())
        if split := next((ALIASES[word] for word in words if word in ALIASES), None):
            named.setdefault(split, []).append(path)
    return named if "train" in named else {}
