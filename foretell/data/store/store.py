"""Token stores: a corpus as memory-mapped ids, with the offsets and sizes for exact metrics.

A store is a folder: `meta.json`, `tokenizer.json`, and for each split a folder of plain
little-endian arrays (the properties of `Split`). It is built under a temporary name and renamed
at the end, so a reader never sees half of one.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeGuard, final

import numpy as np
import numpy.typing as npt

from foretell.artifacts import exclusive, sync_folder, write_atomic, write_json
from foretell.cache import digest
from foretell.checksums import is_sealed, plain_folder, sealed
from foretell.data.files import NAME_EACH, SPLITS
from foretell.data.store.store_builder import META, POINT, TOKENIZER, Counts, build
from foretell.data.text.corpus import Corpus
from foretell.data.tokenizers.tokenizer import Ids, Tokenizer, load_tokenizer
from foretell.errors import ConfigError
from foretell.strict_json import JsonObject, read_object
from foretell.trust import foreign

FORMAT = 4
NEVER_NONE = ("documents", "lines", "bytes", "characters")
"""sizes of a split that are at least 1"""
ARRAYS = ("tokens", "documents", "lines", "document_bytes", "document_characters")
Offsets = npt.NDArray[np.int64]
Progress = Callable[[str, int, int, int | None], None]
"""Called with the split, and the bytes of text and the tokens done in it."""


@final
@dataclass(frozen=True)
class Split:
    """One split of a store; arrays are mapped on first use."""

    folder: Path
    dtype: np.dtype[Any]
    counts: Counts
    """The sizes of a split."""
    sums: Mapping[str, str]
    """The checksum of each array of the store."""
    vocabulary: int
    """Size of the vocabulary: every id is below."""

    def checked(self) -> Split:
        """Itself, if the total sizes match those of its documents; else a `ConfigError`."""
        _ = self.document_bytes, self.document_characters
        return self

    @property
    def lossy(self) -> bool:
        """Whether the tokens lose part of the text as stored."""
        return any(self.lost.values())

    @property
    def loses_words(self) -> bool:
        """Whether another tokenizer would lose less of the text: tokens are unknown, or lines do not come back."""
        return bool(self.counts.unknown or self.counts.altered_lines)

    @property
    def lost(self) -> dict[str, int]:
        """Counts of the losses: unknown tokens, lines that decoding does not restore, places with invalid UTF-8."""
        return {name: getattr(self.counts, name) for name in ("unknown", "altered_lines", "replaced")}

    @property
    def bytes(self) -> int:
        """Size of the text as stored."""
        return self.counts.bytes

    @property
    def characters(self) -> int:
        """Length of the text in characters."""
        return self.counts.characters

    @property
    def words(self) -> int:
        """Number of words, separated by whitespace."""
        return self.counts.words

    @property
    def unknown(self) -> int:
        """Number of unknown tokens."""
        return self.counts.unknown

    @property
    def altered_lines(self) -> int:
        """Number of lines that decoding does not restore, except for unknown tokens."""
        return self.counts.altered_lines

    @cached_property
    def tokens(self) -> Ids:
        """All ids in order, uint16 or uint32."""
        found = self.array("tokens")
        if found.max(initial=0) >= self.vocabulary:
            raise self.damaged("tokens", f"holds ids beyond the {self.vocabulary:,} tokens of its vocabulary")
        return found

    @cached_property
    def documents(self) -> Offsets:
        """[D + 1] where in `tokens` each document starts, and the end."""
        return self.offsets("documents")

    @cached_property
    def lines(self) -> Offsets:
        """[L + 1] where in `tokens` each line starts, and the end."""
        return self.offsets("lines")

    @cached_property
    def document_bytes(self) -> Offsets:
        """[D] size of each document's text as stored."""
        return self.lengths("document_bytes", self.bytes)

    @cached_property
    def document_characters(self) -> Offsets:
        """[D] length of each document's text in characters."""
        return self.lengths("document_characters", self.characters)

    def token_counts(self, size: int, at_once: int = 1 << 24) -> Offsets:
        """[V] count of each token of a vocabulary of that size."""
        counts = np.zeros(size, dtype=np.int64)
        for begin in range(0, len(self.tokens), at_once):
            counts += np.bincount(self.tokens[begin : begin + at_once], minlength=size)
        return counts

    def offsets(self, name: str) -> Offsets:
        """An array of offsets into `tokens`, from 0 to their number."""
        found = self.array(name)
        if found[0] != 0 or found[-1] != self.counts.tokens or (found[1:] < found[:-1]).any():
            raise self.damaged(name, "holds offsets that do not rise from 0 to the number of tokens")
        return found

    def lengths(self, name: str, total: int) -> Offsets:
        """An array of lengths with this total."""
        found = self.array(name)
        if (found < 0).any() or (found > total).any() or found.sum() != total:
            raise self.damaged(name, f"holds lengths that do not add up to {total:,}")
        return found

    def array(self, name: str) -> npt.NDArray[Any]:
        """An array, mapped read-only; raises `ConfigError` if it is damaged."""
        path = self.folder / f"{name}.bin"
        if not plain_folder(self.folder) or path.is_symlink() or not path.is_file():
            raise self.damaged(name, "is missing")
        size = self.counts.sizes(self.dtype.itemsize)[name]
        if path.stat().st_size != size or sum_of(path) != self.sums.get(f"{self.folder.name}/{name}"):
            raise self.damaged(name, "does not match its checksum")
        dtype = self.dtype if name == "tokens" else np.dtype(np.int64)
        if size == 0:  # cannot be mapped
            return np.empty(0, dtype=dtype)
        return np.memmap(path, dtype=dtype.newbyteorder("<"), mode="r")

    def damaged(self, name: str, what: str) -> ConfigError:
        """The error for a damaged array."""
        return damaged(self.folder.parent, f"{self.folder.name}/{name}.bin {what}")


@final
class Store:
    """A prepared corpus; `meta`: its `meta.json`."""

    def __init__(self, path: Path, meta: JsonObject) -> None:
        self.path = path
        self.corpus = meta.text("corpus")
        self.fingerprint = meta.text("fingerprint")
        self.texts = texts_in(meta.inner("texts"))
        """The fingerprint of each split's text; see `Corpus.fingerprint`."""
        self.exact = meta.flag("exact")
        """Whether decoding restores the text, except for unknown tokens."""
        if meta.text("dtype") not in ("uint16", "uint32"):
            meta.refuse("dtype", "uint16 or uint32")
        self.dtype = np.dtype(meta.text("dtype"))
        self.sums = texts_in(meta.inner("sums"))
        splits = meta.inner("splits")
        if not set(splits) <= set(SPLITS):  # they are names of folders
            meta.refuse("splits", f"of the names {', '.join(SPLITS)}")
        self.counts = {name: counts_in(splits.inner(name)) for name in splits}

    @classmethod
    def open(cls, path: Path | str, tokenizer: Tokenizer | None = None) -> Store:
        """The store at this path; a `ConfigError` if there is none. `tokenizer`: its own, if already loaded."""
        path = Path(path)
        if not (path / META).is_file():
            raise ConfigError(f"{path}: not a token store; make one with foretell prepare")
        meta = read_object(path / META)
        if meta.get("format") != FORMAT:
            raise ConfigError(
                f"is a store of format {meta.get('format')!r}, not {FORMAT}: its bytes are counted by other rules",
                file=path / META,
                remedy="remove the store and prepare it again",
            )
        if not is_sealed(meta):
            raise damaged(path, f"{META} does not match its checksum")
        found = cls(path, meta)
        if tokenizer is not None:
            found.tokenizer = tokenizer
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.counts)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels; empty for plain text."""
        return ()

    def split(self, name: str) -> Split:
        """One split; a `ConfigError` lists those available."""
        if name not in self.counts:
            raise ConfigError(
                f"corpus {self.corpus!r} has no {name!r} split (it has {', '.join(self.splits)})",
                remedy=f"give more text to divide, or {NAME_EACH}",
            )
        return Split(self.path / name, self.dtype, self.counts[name], self.sums, self.tokenizer.size).checked()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokeniser of the store; a `ConfigError` if its file was replaced."""
        with foreign():  # the store may come from elsewhere
            found = load_tokenizer(self.path / TOKENIZER)
        if store_fingerprint(self.texts, found) != self.fingerprint:
            raise damaged(self.path, f"{TOKENIZER} does not match its checksum")
        return found


def texts_in(found: JsonObject) -> dict[str, str]:
    """A JSON object of strings."""
    return {name: found.text(name) for name in found}


def counts_in(found: JsonObject) -> Counts:
    """The sizes of a split, from `meta.json`."""
    counts = Counts(**{part.name: found.integer(part.name, least=part.name in NEVER_NONE) for part in fields(Counts)})
    found.integer("unknown", most=counts.tokens)
    found.integer("words", most=counts.characters)
    return counts


def damaged(store: Path, what: str) -> ConfigError:
    """The error for a damaged store."""
    return ConfigError(f"is damaged: {what}", file=store, remedy="remove this folder and prepare it again")


def sum_of(file: Path) -> str:
    """The CRC-32 of a file and its size; detects accidental damage only."""
    status = file.stat()
    return _sum_of(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sum_of(file: Path, size: int, changed: int) -> str:
    found = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            found = zlib.crc32(block, found)
    return f"{found:08x}-{size}"


def save_counts(path: Path, counts: Offsets) -> None:
    """Write `Split.token_counts` to a file."""
    content = io.BytesIO()
    np.save(content, counts, allow_pickle=False)
    write_atomic(path, content.getvalue())


def load_counts(path: Path) -> Offsets | None:
    """The counts in a file; None if it does not exist."""
    if not path.is_file():
        return None
    try:
        counts = np.load(path, allow_pickle=False, mmap_mode="r")  # checks the header against the file's size
    except (OSError, ValueError, EOFError, SyntaxError):
        counts = None
    if not isinstance(counts, np.ndarray) or counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ConfigError("does not contain token counts", file=path, remedy="restore it from a backup")
    return np.array(counts, dtype=np.int64)


# --- making ---------------------------------------------------------------------------------------


def prepare(
    corpus: Corpus,
    tokenizer: Tokenizer,
    out: Path | str,
    progress: Progress | None = None,
    texts: Mapping[str, str] | None = None,
) -> Store:
    """The store of a corpus at `out`: opened if it exists, else built, or completed after an interruption.

    Each document is followed by the tokeniser's boundary, unless it is the only one of its split. Word-level
    tokenisers end every line with it, so documents need no other.
    """
    out = Path(out)
    texts = texts or {split: corpus.fingerprint(split) for split in corpus.splits}
    fingerprint = store_fingerprint(texts, tokenizer)
    if not (found := existing(out, fingerprint, tokenizer)):
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.partial")
        with exclusive(partial):
            if not (found := existing(out, fingerprint, tokenizer)):  # else another process built it meanwhile
                splits = build(corpus, tokenizer, partial, fingerprint, progress or ignore)
                meta = {
                    "format": FORMAT,
                    "fingerprint": fingerprint,
                    "corpus": corpus.name,
                    "texts": dict(texts),
                    "exact": tokenizer.exact,
                    "dtype": str(tokenizer.dtype),
                    "splits": {name: asdict(counts) for name, counts in splits.items()},
                    "sums": {f"{s}/{name}": sum_of(partial / s / f"{name}.bin") for s in splits for name in ARRAYS},
                }
                write_json(partial / META, sealed(meta))
                (partial / POINT).unlink()
                publish(partial, out)
    return found or Store.open(out, tokenizer)


def is_store(corpus: str | Mapping[str, str]) -> TypeGuard[str]:
    """Whether that is a prepared store, not text."""
    try:
        return isinstance(corpus, str) and (Path(corpus) / META).is_file()
    except OSError:  # too long for a path
        return False


def store_fingerprint(texts: Mapping[str, str], tokenizer: Tokenizer) -> str:
    """A hash of whatever determines a store's contents: fingerprints of its texts, tokenizer, rules."""
    named = [f"{split}={fingerprint}" for split, fingerprint in texts.items()]
    return digest(f"format {FORMAT}", *named, tokenizer.fingerprint)


def existing(out: Path, fingerprint: str, tokenizer: Tokenizer) -> Store | None:
    """The store at `out` if its fingerprint matches, None if the path is free, else a `ConfigError`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    store = Store.open(out, tokenizer) if (out / META).is_file() else None
    if store is None:
        raise ConfigError(f"{out}: exists and is not a token store; choose another path")
    if store.fingerprint != fingerprint:
        raise ConfigError(
            f"{out}: is a store of other text or another tokeniser (corpus {store.corpus!r}); "
            "choose another path, or remove it"
        )
    return store


def publish(partial: Path, out: Path) -> None:
    """Sync a finished folder and rename it into place."""
    for folder in [*(item for item in partial.iterdir() if item.is_dir()), partial]:
        sync_folder(folder)
    if out.is_dir():
        out.rmdir()  # empty, else `existing` would have raised
    partial.rename(out)
    sync_folder(out.absolute().parent)


def ignore(part: str, size: int, tokens: int, total: int | None) -> None:
    """Report no progress."""
