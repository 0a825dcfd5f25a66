"""Text files to pieces, in constant memory.

A piece is a line with its newline kept, or a cut of a line longer than `LONGEST` characters.
Everything later (tokenisers, stores, scoring) works on pieces, so a file that is one line of a
gigabyte needs no more memory than any other.

The rules, which `RULES` numbers (a change of any of them must raise it, as prepared stores depend
on them):

- A line ends at a newline character and nowhere else; a carriage return is text.
- A line `<|endofdoc|>` ends a document and is not text. A `.txt` file is one document unless it has
  such lines; in a `.jsonl` file every line is a document, in a `.parquet` file every row, under
  the key or in the column `text`, or another that is asked for. Documents without text do not count.
- A UTF-8 byte-order mark is dropped; UTF-16 and UTF-32 are refused; NUL bytes are kept and counted.
- Invalid UTF-8, and a lone surrogate (which JSON and Python strings can hold), becomes U+FFFD and is counted. Until
  then invalid bytes are kept as Python's `surrogateescape` does, so that a piece knows how many bytes are stored.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

from foretell.data.compressed import compression, opened
from foretell.errors import ConfigError, did_you_mean, printable
from foretell.strict_json import parse_json
from foretell.units import counted

RULES = 2
LONGEST = 1 << 16
BOUNDARY = "<|endofdoc|>"
REPLACEMENT = "\ufffd"
BLOCK = 1 << 20
LONGEST_LINE = 1 << 26
"""bytes of a line that has to be read whole, as a record or a text of its own"""
COLUMN = "text"
ROWS = 64
TEXT_ENDINGS = (".txt", ".tokens", ".jsonl", ".parquet")
TABLES = (".csv", ".tsv")
FOREIGN_ENDINGS = (*TABLES, ".arrow", ".json", ".zip", ".tar", ".bz2", ".pdf")

SURROGATE = re.compile("[\ud800-\udfff]")
NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Lone surrogates that do not stand for a byte in `surrogateescape`."""

log = logging.getLogger("foretell")


class Piece(NamedTuple):
    """A line with its newline, or a part of a long one; the last of a document is marked."""

    text: str
    ends_document: bool
    replaced: int = 0
    """Places where U+FFFD stands for invalid UTF-8 or a lone surrogate."""
    surplus: int = 0
    """How many bytes longer `text` is in UTF-8 than as stored, because of these."""


@dataclass
class Report:
    """Facts about a text that was read: its sizes, and counts of what was repaired or left out."""

    documents: int = 0
    bytes: int = 0
    """Bytes of text as stored, without byte-order marks and `<|endofdoc|>` lines."""
    characters: int = 0
    replaced: int = 0
    """Places where invalid UTF-8 became U+FFFD."""
    nul: int = 0
    empty_files: int = 0

    def __add__(self, other: Report) -> Report:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Report)}
        return Report(**sums)


# --- invalid text ---------------------------------------------------------------------------------


class Mended(NamedTuple):
    """A text that can be stored, and what it took."""

    text: str
    replaced: int
    """Places where U+FFFD stands for invalid UTF-8 or a lone surrogate."""
    bytes: int
    """Its length as stored: a byte for each that `surrogateescape` kept, UTF-8 for the rest."""


def mended(text: str) -> Mended:
    """A text with U+FFFD for invalid UTF-8 (kept as `surrogateescape` does) and for any other lone surrogate."""
    if text.isascii():
        return Mended(text, 0, len(text))
    if not SURROGATE.search(text):
        return Mended(text, 0, len(text.encode()))
    characters, lone = NO_BYTE.subn(REPLACEMENT, text)
    stored = characters.encode(errors="surrogateescape")
    return Mended(stored.decode(errors="replace"), lone + count_replaced(stored), len(stored))


def clean(pieces: Iterable[str]) -> Iterator[str]:
    """These pieces, lone surrogates replaced."""
    return (mended(piece).text if not piece.isascii() and SURROGATE.search(piece) else piece for piece in pieces)


def piece_of(text: str, ends_document: bool, report: Report) -> Piece:
    """Return a text as a piece, repaired if `report` counts anything to repair."""
    if not report.replaced:
        return Piece(text, ends_document)
    found = mended(text)
    return Piece(found.text, ends_document, found.replaced, len(found.text.encode()) - found.bytes)


# --- lines and cuts -------------------------------------------------------------------------------


def split_pieces(text: str) -> list[str]:
    """The lines of a text, those over `LONGEST` characters cut, after a blank if they have one."""
    lines = text.split("\n")
    last = lines.pop()
    pieces = [line + "\n" for line in lines]
    if last:
        pieces.append(last)
    if len(text) > LONGEST and max(map(len, pieces)) > LONGEST:
        pieces = [piece for line in pieces for piece in cut_line(line)]
    return pieces


def cut_line(line: str) -> Iterator[str]:
    """Cuts of at most `LONGEST` characters, each as long as can be while ending in a blank."""
    start = 0
    while len(line) - start > LONGEST:
        blank = line.rfind(" ", start, start + LONGEST)
        end = blank + 1 if blank >= 0 else start + LONGEST
        yield line[start:end]
        start = end
    yield line[start:]


def join_blocks(blocks: Iterable[str]) -> Iterator[str]:
    """The pieces of a text that comes in blocks; the same for every way to cut it into blocks."""
    rest = ""
    for block in blocks:
        pieces = split_pieces(rest + block)
        rest = pieces.pop() if pieces and not pieces[-1].endswith("\n") else ""
        yield from pieces
    if rest:
        yield rest


def document_pieces(text: str, report: Report) -> Iterator[Piece]:
    """The pieces of a text that is a string already and may hold lone surrogates, as JSON's and Python's may."""
    found = mended(text)
    report.bytes += found.bytes
    report.characters += len(found.text)
    report.replaced += found.replaced
    report.nul += text.count("\0")
    return mark_documents(split_pieces(text), report)


def mark_documents(pieces: Iterable[str], report: Report) -> Iterator[Piece]:
    """Pieces with their documents' ends; `<|endofdoc|>` lines, and the end of the text, end one."""
    held = ""  # one piece is held back, as only the next shows whether it ends its document
    for piece in pieces:
        starts_line = not held or held.endswith("\n")
        if starts_line and piece.startswith(BOUNDARY) and piece.rstrip() == BOUNDARY:
            report.bytes -= len(piece)
            report.characters -= len(piece)
            if held:
                report.documents += 1
                yield piece_of(held, True, report)
            held = ""
            continue
        if held:
            yield piece_of(held, False, report)
        held = piece
    if held:
        report.documents += 1
        yield piece_of(held, True, report)


# --- files ----------------------------------------------------------------------------------------


def is_text_file(path: Path) -> bool:
    """Whether a file found in a folder is read: `.txt`, `.tokens`, `.jsonl` (plain or packed) or `.parquet`."""
    return content_ending(path) in TEXT_ENDINGS


def content_ending(path: Path) -> str:
    """The ending of the format, without that of compression: `.jsonl` for `a.jsonl.gz`."""
    return (Path(path.stem) if compression(path) else path).suffix.lower()


def read_file(path: Path, report: Report, column: str = COLUMN) -> Iterator[Piece]:
    """The pieces of one file; its counts are added to `report`."""
    ending = content_ending(path)
    if ending in FOREIGN_ENDINGS:
        remedy = "write the text as .txt, .jsonl or .parquet"
        if ending in TABLES:
            remedy += f"; to learn its labels: foretell plan {shlex.quote(str(path))}, or train classify"
        raise ConfigError("not a text file", file=path, remedy=remedy)
    if ending == ".parquet" and compression(path):
        raise ConfigError(".parquet files are packed inside", file=path, remedy="unpack this one")
    before = report.documents
    with opened(path) as stream:
        if ending == ".parquet":
            yield from read_parquet(stream, path, report, column)
        elif ending == ".jsonl":
            yield from read_jsonl(stream, path, report, column)
        else:
            yield from read_text(stream, path, report)
    name = printable(str(path))
    if report.documents == before:
        report.empty_files += 1
        log.info("%s: no text in it, skipped", name)
    if report.replaced:
        log.warning("%s: %s, read as U+FFFD", name, counted(report.replaced, "invalid UTF-8 sequence"))
    if report.nul:
        log.warning("%s: %s in the text, kept", name, counted(report.nul, "NUL byte"))


def read_text(stream: IO[bytes], path: Path, report: Report) -> Iterator[Piece]:
    """The pieces of a plain text stream."""
    blocks = (decode(block, report) for block in read_blocks(stream, path))
    return mark_documents(join_blocks(blocks), report)


def read_jsonl(stream: IO[bytes], path: Path, report: Report, column: str) -> Iterator[Piece]:
    """The pieces of a stream of JSON objects, one per line, each with a document under that key."""
    for number, line in numbered_lines(stream, path):
        if not line.strip():
            continue
        value = parse_json(line.decode(errors="surrogateescape"), path, number, lenient=True)
        text = value.get(column) if isinstance(value, dict) else None
        if not isinstance(text, str):
            raise ConfigError(
                f'needs a string under "{column}", as in {{"{column}": "…"}}',
                file=path,
                line=number,
                remedy=f"name another key as {path}#KEY",
            )
        yield from document_pieces(text, report)


def read_parquet(stream: IO[bytes], path: Path, report: Report, column: str) -> Iterator[Piece]:
    """The pieces of a table, each row a document in that column; rows without a value have no text."""
    for rows in parquet_batches(stream, path, [column], f"name one as {path}#COLUMN"):
        yield from read_rows(rows.column(0), str(path), report, column)


def parquet_batches(stream: IO[bytes], path: Path, columns: Sequence[str], hint: str) -> Iterator[Any]:
    """The rows of a table, some at a time, of these columns, which it has to have; `hint`: what to do if not."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(f"{path}: to read .parquet files, pip install 'foretell[parquet]'") from None
    try:
        table = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK)
        require_columns(columns, table.schema_arrow.names, str(path), hint)
        yield from table.iter_batches(batch_size=ROWS, columns=list(columns))
    except (pyarrow.ArrowException, UnicodeDecodeError, OverflowError, MemoryError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise  # it is the system that refused
        described = isinstance(problem, pyarrow.ArrowException)  # others describe the inside of the library
        first = next(iter(str(problem).splitlines() if described else ()), "its pages are not as they were written")
        raise ConfigError(f"damaged or truncated ({first})", file=path, remedy="fetch or write it again") from None


def require_columns(columns: Sequence[str], names: Sequence[str], where: str, hint: str) -> None:
    """Raise `ConfigError` if a table has no such columns."""
    if missing := [column for column in columns if column not in names]:
        listed, near = ", ".join(map(repr, missing)), did_you_mean(missing[0], names)
        raise ConfigError(f"{where}: has no column {listed} (it has {', '.join(names)}){near}; {hint}")


def read_rows(rows: Any, where: str, report: Report, column: str) -> Iterator[Piece]:
    """The pieces of an Arrow array of strings, read as bytes, as Arrow does not check that they are UTF-8."""
    import pyarrow

    try:
        texts = rows.cast(pyarrow.large_binary()).to_pylist()
    except pyarrow.ArrowNotImplementedError:
        raise ConfigError(f"{where}: column {column!r} is {rows.type}, not text; name one as {where}#COLUMN") from None
    for text in texts:
        if text:
            yield from mark_documents(split_pieces(decode(text, report)), report)


def stored_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, plain or packed; see `numbered_lines`."""
    with opened(path) as stream:
        yield from numbered_lines(stream, path)


def numbered_lines(stream: IO[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines with their numbers from 1, newlines kept, a byte-order mark dropped; too long ones are refused."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            size = f"longer than {LONGEST_LINE >> 20} MiB"
            raise ConfigError(size, file=path, line=number, remedy="break it, or make several of it")
        yield number, line if number > 1 else without_mark(line, path)


def read_blocks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Blocks of about a megabyte that end with a line, or at least between two characters."""
    rest, started = b"", False
    while chunk := stream.read(BLOCK):
        chunk = rest + chunk
        if not started and len(chunk) < 4:  # too short to recognise a byte-order mark
            rest = chunk
            continue
        if not started:
            chunk, started = without_mark(chunk, path), True
        end = chunk.rfind(b"\n") + 1 or whole_characters(chunk)
        yield chunk[:end]
        rest = chunk[end:]
    yield rest if started else without_mark(rest, path)


def without_mark(head: bytes, path: Path) -> bytes:
    """The first bytes of a file without a UTF-8 byte-order mark; other encodings are refused."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        name = "UTF-32" if b"\x00\x00" in head[:4] else "UTF-16"
        raise ConfigError(f"{path}: is {name}; convert it to UTF-8 (iconv -f {name} -t UTF-8)")
    return head.removeprefix(b"\xef\xbb\xbf")


def whole_characters(chunk: bytes) -> int:
    """How many bytes come before a UTF-8 sequence that the end of `chunk` cuts in two."""
    for back in range(1, min(3, len(chunk)) + 1):
        byte = chunk[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(chunk) - back if needed > back else len(chunk)
    return len(chunk)


def decode(block: bytes, report: Report) -> str:
    """A block as text, counted in `report`; `mark_documents` repairs invalid UTF-8, kept here as `surrogateescape`."""
    report.bytes += len(block)
    report.nul += block.count(0)
    try:
        text = block.decode()
    except UnicodeDecodeError:
        report.replaced += count_replaced(block)
        report.characters += len(block.decode(errors="replace"))
        return block.decode(errors="surrogateescape")
    report.characters += len(text)
    return text


def count_replaced(block: bytes) -> int:
    """How many replacements a lenient decoding makes, except replacement characters of the text itself."""
    try:
        block.decode()
    except UnicodeDecodeError:
        replaced = block.decode(errors="replace").count("\ufffd")
        return replaced - block.count(b"\xef\xbf\xbd")
    return 0
