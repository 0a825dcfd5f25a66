"""Builds token stores: in constant memory, on all cores, resuming after an interruption.

The main thread reads and writes while a few others encode, so that decompression, encoding (which
needs no interpreter) and disk overlap. Every `CHECKPOINT` bytes of text all files are synced and
the point is recorded; after a crash the files are cut back to it and that many pieces skipped,
which gives the same bytes as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import compress, count
from pathlib import Path
from typing import IO, Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from foretell.artifacts import naming, write_json
from foretell.checksums import is_sealed, read_record, sealed
from foretell.data.text.corpus import Corpus
from foretell.data.text.holdout import byte_length, known_bytes
from foretell.data.text_files import LONGEST, Piece
from foretell.data.tokenizers.tokenizer import Ids, Lengths, Losses, Tokenizer, lines_of
from foretell.errors import ConfigError

META = "meta.json"
TOKENIZER = "tokenizer.json"
POINT = "progress.json"
CHECKPOINT = 1 << 26
BATCH = 1 << 18  # characters; larger ones were slower, as the library's memory leaves the cache
AHEAD = 8  # batches read and not yet written
THREADS = 2  # one converts ids while the other encodes; the library uses all cores in each


@dataclass
class Counts:
    """The sizes of a split."""

    tokens: int = 0
    documents: int = 0
    lines: int = 0
    bytes: int = 0
    """Size of the text as stored: UTF-8, except for replaced bytes."""
    characters: int = 0
    words: int = 0
    """Parted by whitespace."""
    unknown: int = 0
    """Unknown tokens."""
    altered_lines: int = 0
    """Lines that decoding does not restore; the parts of a very long line count separately."""
    replaced: int = 0
    """Places where the text has U+FFFD for invalid UTF-8 or a lone surrogate."""

    def sizes(self, token_bytes: int) -> dict[str, int]:
        """The size of each array in bytes."""
        return {
            "tokens": token_bytes * self.tokens,
            "documents": 8 * (self.documents + 1),
            "lines": 8 * (self.lines + 1),
            "document_bytes": 8 * self.documents,
            "document_characters": 8 * self.documents,
        }


@dataclass
class Point:
    """The progress of a split: all that resuming needs."""

    split: str
    pieces: int = 0
    counts: Counts = field(default_factory=Counts)
    open_bytes: int = 0
    """Bytes of the unfinished document."""
    open_characters: int = 0
    open_word: bool = False
    """Whether the text so far ends within a word."""


class Batch(NamedTuple):
    """The texts of some pieces, the indices of those that end a document, and whether boundaries follow."""

    pieces: list[str]
    ends: list[int]
    bounded: bool
    before: str = ""
    """The part of a long line that the first piece continues."""
    replaced: int = 0
    surplus: Mapping[int, int] = {}
    """By index, how many bytes longer a piece is than the text as stored."""


class Block(NamedTuple):
    """An encoded batch. Offsets count from its start."""

    pieces: int
    ids: Ids
    document_ends: npt.NDArray[np.int64]
    line_ends: npt.NDArray[np.int64]
    sizes: list[tuple[int, int]]
    """Bytes and characters of each document's part; last that of the open one, if only (0, 0)."""
    words: int
    starts_word: bool
    open_word: bool
    losses: Losses
    replaced: int


# --- batches --------------------------------------------------------------------------------------


def make_batches(pieces: Iterator[Piece], skip: int) -> Iterator[Batch]:
    """Batches of about `BATCH` characters, the first `skip` pieces left out.

    A lone document has no boundary after it, so the end of the first one is reported only with the
    next piece.
    """
    batch: list[Piece] = []
    size, lone, before = 0, False, ""
    for number, (piece, lone) in enumerate(first_document(pieces)):
        if number < skip:
            before = rest_of_line([piece], before)
            continue
        batch.append(piece)
        size += len(piece.text)
        if size >= BATCH:
            yield batch_of(batch, not lone, before)
            batch, size, before = [], 0, rest_of_line(batch, before)
    if batch:
        yield batch_of(batch, not lone, before)


def batch_of(pieces: list[Piece], bounded: bool, before: str) -> Batch:
    """The batch of these pieces."""
    texts, ends, replaced, _ = zip(*pieces, strict=True)
    surplus = {index: piece.surplus for index, piece in enumerate(pieces) if piece.surplus} if any(replaced) else {}
    return Batch(list(texts), [*compress(count(), ends)], bounded, before, sum(replaced), surplus)


def rest_of_line(pieces: Sequence[Piece], before: str) -> str:
    """The text that the next piece continues: the parts of a long line from the last that is not blank, or "".

    Decoding may leave out blanks at its beginning, so a blank cut alone would hide what it puts before the next.
    """
    rest = ""
    for piece in reversed(pieces):
        if piece.ends_document or piece.text.endswith("\n"):
            return rest
        rest = piece.text + rest
        if not rest.isspace() or len(rest) > LONGEST:
            return rest
    return before + rest


def first_document(pieces: Iterator[Piece]) -> Iterator[tuple[Piece, bool]]:
    """Pieces, and whether they are known to end the only document."""
    for piece in pieces:
        if not piece.ends_document:
            yield piece, False
            continue
        following = next(pieces, None)
        yield piece, following is None
        if following:
            yield following, False
        break
    for piece in pieces:
        yield piece, False


# --- encoding -------------------------------------------------------------------------------------


def encode_batch(tokenizer: Tokenizer, batch: Batch) -> Block:
    """The ids of a batch, boundaries put in, and all counts of it."""
    pieces, ends = batch.pieces, batch.ends
    ids, lengths = tokenizer.encode_pieces(pieces)
    ends_line = np.fromiter((piece.endswith("\n") for piece in pieces), dtype=np.bool_, count=len(pieces))
    if tokenizer.ends_lines:  # where the boundary is the newline that the last line lacks
        closed = [index for index in ends if not ends_line[index]]
    else:
        closed = ends if batch.bounded else []
    ends_line[ends] = True
    losses = None if tokenizer.ends_lines else line_losses(tokenizer, batch, ids, lengths, ends_line)
    if closed:
        ids = np.insert(ids, np.cumsum(lengths)[closed], tokenizer.boundary)
        lengths[closed] += 1
    losses = losses or line_losses(tokenizer, batch, ids, lengths, ends_line)
    stops = np.cumsum(lengths)
    starts = [0, *(index + 1 for index in ends)]
    parts = ["".join(pieces[start:stop]) for start, stop in zip(starts, [*starts[1:], None], strict=True)]
    surplus = [0] * len(parts)
    for index, more in batch.surplus.items():
        surplus[bisect_left(ends, index)] += more
    return Block(
        pieces=len(pieces),
        ids=ids,
        document_ends=stops[ends],
        line_ends=stops[ends_line],
        sizes=[(byte_length(part) - more, len(part)) for part, more in zip(parts, surplus, strict=True)],
        words=sum(len(part.split()) for part in parts),
        starts_word=not pieces[0][0].isspace(),
        open_word=bool(parts[-1]) and not parts[-1][-1].isspace(),
        losses=losses,
        replaced=batch.replaced,
    )


def line_losses(
    tokenizer: Tokenizer, batch: Batch, ids: Ids, lengths: Lengths, ends_line: npt.NDArray[np.bool_]
) -> Losses:
    """The losses of encoding a batch, by line; the parts of a long line are joined, as far as they are in the batch,
    with the part before the batch."""
    unknown_before, pieces = 0, batch.pieces
    if batch.before:
        first, first_lengths = tokenizer.encode_pieces([batch.before])
        unknown_before = tokenizer.losses([batch.before], first, first_lengths).unknown
        pieces, ids = [batch.before, *pieces], np.concatenate([first, ids])
        lengths, ends_line = np.concatenate([first_lengths, lengths]), np.concatenate([[False], ends_line])
    lines, lengths = lines_of(pieces, lengths, ends_line)
    found = tokenizer.losses(lines, ids, lengths)
    if not ends_line[-1]:  # the blank at the end of a cut may be what decoding puts before the next
        found = min(found, tokenizer.losses([*lines[:-1], lines[-1].removesuffix(" ")], ids, lengths))
    return found._replace(unknown=found.unknown - unknown_before)


def encode_all(tokenizer: Tokenizer, batches: Iterable[Batch]) -> Generator[Block]:
    """The blocks of the batches in order, encoded by threads while the caller reads and writes."""
    waiting: deque[Future[Block]] = deque()
    with ThreadPoolExecutor(THREADS, "encode") as pool:
        for batch in batches:
            waiting.append(pool.submit(encode_batch, tokenizer, batch))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


# --- writing --------------------------------------------------------------------------------------


@final
class SplitWriter:
    """Appends blocks to the files of a split."""

    def __init__(self, folder: Path, point: Point, dtype: np.dtype[Any]) -> None:
        self.point = point
        folder.mkdir(exist_ok=True)
        self.files: dict[str, IO[bytes]] = {}
        for name, size in point.counts.sizes(dtype.itemsize).items():
            stream = self.files[name] = (folder / f"{name}.bin").open("ab")
            if point.pieces:
                stream.truncate(size)
            else:
                stream.truncate(0)
                first_offset = bytes(8) if name in ("documents", "lines") else b""
                stream.write(first_offset)

    def add(self, block: Block) -> None:
        """Append a block."""
        point, counts = self.point, self.point.counts
        sizes = np.array(block.sizes, dtype=np.int64)  # [documents ended + 1, 2]
        counts.bytes += int(sizes[:, 0].sum())
        counts.characters += int(sizes[:, 1].sum())
        sizes[0] += (point.open_bytes, point.open_characters)
        point.open_bytes, point.open_characters = (int(size) for size in sizes[-1])
        arrays = {
            "tokens": block.ids,
            "documents": block.document_ends + counts.tokens,
            "lines": block.line_ends + counts.tokens,
            "document_bytes": sizes[:-1, 0],
            "document_characters": sizes[:-1, 1],
        }
        for name, array in arrays.items():
            little = array.dtype.newbyteorder("<")
            self.files[name].write(array.astype(little, copy=False).tobytes())
        counts.tokens += len(block.ids)
        counts.documents += len(block.document_ends)
        counts.lines += len(block.line_ends)
        counts.words += block.words - (point.open_word and block.starts_word)
        counts.unknown += block.losses.unknown
        counts.altered_lines += block.losses.altered_lines
        counts.replaced += block.replaced
        point.open_word = block.open_word
        point.pieces += block.pieces

    def sync(self) -> None:
        """Bring all to disk."""
        for stream in self.files.values():
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Close the files."""
        for stream in self.files.values():
            stream.close()


def build(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    fingerprint: str,
    progress: Callable[[str, int, int, int | None], None],
) -> dict[str, Counts]:
    """Write all files of a store except `meta.json`; resumes an interrupted call.

    Splits without text are left out.
    """
    record = read_point(folder, fingerprint)
    done = {name: Counts(**counts) for name, counts in record["done"].items()}
    for split in corpus.splits:
        if split in done:
            continue
        stopped = record["point"]
        resumed = stopped is not None and stopped["split"] == split
        point = Point(**stopped | {"counts": Counts(**stopped["counts"])}) if resumed else Point(split)

        def save(now: Point | None) -> None:
            finished = {name: asdict(counts) for name, counts in done.items()}
            found = {"fingerprint": fingerprint, "done": finished, "point": now and asdict(now)}
            write_json(folder / POINT, sealed(found))

        done[split] = write_split(corpus, tokenizer, folder, point, save, progress)
        save(None)
    tokenizer.save(folder / TOKENIZER)
    for split in [name for name, counts in done.items() if not counts.documents]:
        shutil.rmtree(folder / split, ignore_errors=True)
        del done[split]
    return done


def write_split(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    point: Point,
    save: Callable[[Point], None],
    progress: Callable[[str, int, int, int | None], None],
) -> Counts:
    """Write what is missing of one split."""
    saved, total = point.counts.bytes, known_bytes(corpus.source(point.split))
    batches = make_batches(corpus.pieces(point.split), point.pieces)
    with contextlib.ExitStack() as opened:
        opened.enter_context(naming(folder / point.split))
        writer = opened.enter_context(contextlib.closing(SplitWriter(folder / point.split, point, tokenizer.dtype)))
        blocks = opened.enter_context(contextlib.closing(encode_all(tokenizer, batches)))
        for block in blocks:
            writer.add(block)
            if point.counts.bytes - saved >= CHECKPOINT:
                writer.sync()
                save(point)
                saved = point.counts.bytes
            progress(point.split, point.counts.bytes, point.counts.tokens, total)
        writer.sync()
    return point.counts


def read_point(folder: Path, fingerprint: str) -> dict[str, Any]:
    """The recorded point of an interrupted build of the same store; else the folder is emptied."""
    with contextlib.suppress(OSError, ConfigError):
        record = read_record(folder / POINT)
        if is_sealed(record) and record.get("fingerprint") == fingerprint:
            return record
    for item in folder.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    return {"done": {}, "point": None}
