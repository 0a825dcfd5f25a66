"""From files to examples. Nothing is guessed: a reader says what the columns are, how they are quoted and encoded.

A row that is no example comes out as a `BadRow` with file, line and reason, and reading goes on behind it.
"""

from __future__ import annotations

import codecs
import csv
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, field_validator, model_validator

from foretell.config import Config, ConfigError, Tagged
from foretell.data.examples import BadRow, Example, Labelled
from foretell.data.reading import content_ending, damage_errors, open_stream, without_mark

Line = tuple[int, str]
"""its number, counted from 1, and its text without the end of line"""
Record = tuple[int, list[str]]
"""the number of its first line, and its fields"""
Row = tuple[int, Mapping[str, Any]]
"""the number of its first line, and its fields by the names of their columns"""
FORMATS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl"}
REST = "..."
QUOTE = '"'


class Reader(Protocol):
    """What each kind of reader does."""

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """The examples of a file in order; where they are to be predicted (not `labelled`), labels may be absent."""


class Unfit(ValueError):
    """Why a row is no example."""


# --- lines ----------------------------------------------------------------------------------------


class LinesReader(Config):
    """What all readers of text files have."""

    encoding: str = "utf-8"
    """how characters are stored: "utf-8", "latin-1", "cp1252" or another"""

    @field_validator("encoding")
    @classmethod
    def _keeps_lines(cls, name: str) -> str:
        try:
            plain = "a\n".encode(name)
        except LookupError:
            raise ValueError(f'there is no encoding {name!r}; write "utf-8", "latin-1" or another') from None
        if plain != b"a\n":
            raise ValueError(f"{codecs.lookup(name).name} is not read; convert the files to UTF-8")
        return name

    def lines(self, path: Path) -> Iterator[Line | BadRow]:
        """The lines of a file, plain or packed; those that are not in this encoding are bad."""
        try:
            with open_stream(path) as stream:
                for number, line in enumerate(stream, 1):
                    stored = (without_mark(line, path) if number == 1 else line).removesuffix(b"\n").removesuffix(b"\r")
                    try:
                        yield number, stored.decode(self.encoding)
                    except UnicodeDecodeError as problem:
                        found = f"byte 0x{stored[problem.start]:02x}, the {problem.start + 1}th of its line"
                        yield BadRow(at(path, number), f"not {self.encoding} ({found}); set data.reader.encoding")
        except damage_errors() as problem:
            raise ConfigError(f"{path}: damaged or cut short ({problem}); fetch or pack it again") from None
        except OSError as problem:
            raise ConfigError(f"{path}: cannot be read: {problem.strerror or problem}") from None


def at(path: Path, line: int) -> str:
    """Where something is, as editors and compilers write it."""
    return f"{path}:{line}"


# --- tables ---------------------------------------------------------------------------------------


class RowsReader(LinesReader):
    """What readers of tables have. Blank lines are no rows."""

    format: Literal["tsv", "csv", "jsonl"] | None = None
    """absent: as the file's ending says"""
    columns: tuple[str, ...] = ()
    """names of the columns where the first line does not give them; "..." as the last: there may be more"""
    delimiter: str | None = None
    """what stands between fields; absent: a comma in csv, a tab in tsv"""
    quoted: bool | None = None
    """whether a field may stand between double quotes, with "" for one of its own; absent: in csv it may, in tsv not"""

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, given: str | None) -> str | None:
        if given is not None and (len(given) != 1 or given in '"\n\r'):
            raise ValueError('has to be one character such as ";" or "|"')
        return given

    def example(self, row: Mapping[str, Any], where: str, labelled: bool) -> Example:
        """The example in a row; `Unfit` says why there is none."""
        raise NotImplementedError

    def needed(self, labelled: bool) -> tuple[str, ...]:
        """The columns that are read."""
        raise NotImplementedError

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`."""
        for row in self.rows(path, self.needed(labelled)):
            if isinstance(row, BadRow):
                yield row
                continue
            line, fields = row
            try:
                yield self.example(fields, at(path, line), labelled)
            except Unfit as problem:
                yield BadRow(at(path, line), str(problem))

    def rows(self, path: Path, needed: tuple[str, ...]) -> Iterator[Row | BadRow]:
        """The rows of a file by column; a table without a column that is needed is refused as a whole."""
        form = self.format or FORMATS.get(content_ending(path))
        if form is None:
            raise ConfigError(f'{path}: its ending names no format; set data.reader.format to "tsv", "csv" or "jsonl"')
        if form == "jsonl":
            return json_rows(self.lines(path), path)
        delimiter = self.delimiter or ("," if form == "csv" else "\t")
        quoted = form == "csv" if self.quoted is None else self.quoted
        records = (
            quoted_records(self.lines(path), delimiter, path) if quoted else split_lines(self.lines(path), delimiter)
        )
        return named_rows(records, self.columns, needed, path)


def json_rows(lines: Iterable[Line | BadRow], path: Path) -> Iterator[Row | BadRow]:
    """JSON objects, one a line."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line[1].strip():
            number, text = line
            try:
                value = json.loads(text)
            except json.JSONDecodeError as problem:
                yield BadRow(at(path, number), f"not valid JSON: {problem}")
                continue
            yield (number, value) if isinstance(value, dict) else BadRow(at(path, number), "not a JSON object {…}")


def split_lines(lines: Iterable[Line | BadRow], delimiter: str) -> Iterator[Record | BadRow]:
    """Fields of tables without quoting: what is between delimiters, as it is."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line[1].strip():
            yield line[0], line[1].split(delimiter)


def quoted_records(lines: Iterable[Line | BadRow], delimiter: str, path: Path) -> Iterator[Record | BadRow]:
    """Fields of tables with quoting (RFC 4180), where a record may go on over several lines.

    A quote that is not closed would swallow all behind it: its line is bad, and reading goes on with the next one.
    """
    csv.field_size_limit(2**31 - 1)  # the library's own limit, 128 kB, is less than a long text
    source, again = iter(lines), deque[Line | BadRow]()

    def following() -> Line | BadRow | None:
        return again.popleft() if again else next(source, None)

    while (first := following()) is not None:
        if isinstance(first, BadRow):
            yield first
            continue
        number, text = first
        taken: list[Line | BadRow] = []
        fields = fields_of(text, delimiter)
        while fields is None and (line := following()) is not None:
            taken.append(line)
            if isinstance(line, BadRow):
                break
            text += "\n" + line[1]
            fields = fields_of(text, delimiter) if QUOTE in line[1] else None
        if isinstance(fields, list):
            if fields:
                yield number, fields
            continue
        again.extendleft(reversed(taken))
        yield BadRow(at(path, number), fields or "a quote that begins here is never closed")


def fields_of(text: str, delimiter: str) -> list[str] | str | None:
    """The fields of a record, what is wrong with it, or None where it has to go on over the next line."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as problem:
        return None if "unexpected end" in str(problem) else f"wrongly quoted ({problem})"


def named_rows(
    records: Iterable[Record | BadRow], columns: tuple[str, ...], needed: tuple[str, ...], path: Path
) -> Iterator[Row | BadRow]:
    """Rows by the columns given, or else by those in the first record."""
    names, more = list(columns), columns[-1:] == (REST,)
    names = names[:-1] if more else names
    for record in records:
        if isinstance(record, BadRow):
            yield record
            continue
        number, fields = record
        if not names:
            names = fields
            require(names, needed, path)
        elif len(fields) == len(names) or (more and len(fields) > len(names)):
            yield number, dict(zip(names, fields, strict=False))
        else:
            yield BadRow(at(path, number), f"has {counted(len(fields), 'column')}, not {len(names)}")


def require(names: list[str], needed: tuple[str, ...], path: Path) -> None:
    """A `ConfigError` where a table lacks a column."""
    for name in needed:
        if name not in names:
            have = ", ".join(map(repr, names[:20]))
            raise ConfigError(
                f"{path}:1: has no column {name!r} (it has {have}); name others in data.reader, "
                "or all of them in data.reader.columns where the first line is a row"
            )


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class TableConfig(RowsReader):
    """Texts with labels, one a row: tab-separated, comma-separated or JSON lines."""

    kind: Literal["table"] = "table"
    texts: tuple[str, ...] = ("text",)
    """the column of the text, or the two of a pair"""
    label: str = "label"
    """the column of the label"""
    labels: Literal["one", "several", "score"] = "one"
    """what a label is: the name of a class, those of several with `separator` between them, or a number"""
    separator: str = ","
    names: dict[str, str] = Field(default={})
    """what to call labels, by how they are stored; there may be no others then"""

    @model_validator(mode="after")
    def _one_or_two(self) -> Self:
        if not 1 <= len(self.texts) <= 2:
            raise ValueError("texts: name one column, or two for pairs")
        return self

    def needed(self, labelled: bool) -> tuple[str, ...]:
        """See `RowsReader`."""
        return (*self.texts, self.label) if labelled else self.texts

    def example(self, row: Mapping[str, Any], where: str, labelled: bool) -> Example:
        """See `RowsReader`."""
        texts = tuple(text_in(row, column) for column in self.texts)
        return Labelled(texts, self.label_in(row) if labelled else None, where)

    def label_in(self, row: Mapping[str, Any]) -> str | float | tuple[str, ...]:
        """The label of a row."""
        value = value_in(row, self.label)
        if self.labels == "score":
            return number_in(value, self.label)
        if self.labels == "one":
            return called(word_in(value, self.label), self.names)
        several = value if isinstance(value, list) else [word for word in str(value).split(self.separator) if word]
        return tuple(called(word_in(word, self.label), self.names) for word in several)


def value_in(row: Mapping[str, Any], column: str) -> Any:
    """The field of a column, which JSON objects need not have."""
    if column not in row:
        raise Unfit(f"has no {column!r}")
    return row[column]


def text_in(row: Mapping[str, Any], column: str) -> str:
    """A text, which may not be empty."""
    value = value_in(row, column)
    if not isinstance(value, str):
        raise Unfit(f"{column!r} is {json.dumps(value)[:40]}, not a text")
    if not value.strip():
        raise Unfit(f"{column!r} is empty")
    return value


def word_in(value: Any, column: str) -> str:
    """The name of a class as it is stored: JSON may have it as a number or as a truth value."""
    word = value.strip() if isinstance(value, str) else json.dumps(value)
    if not word or isinstance(value, dict | list | None):
        raise Unfit(f"{column!r} is {'empty' if not word else word[:40] + ', not a label'}")
    return word


def number_in(value: Any, column: str) -> float:
    """A score."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Unfit(f"{column!r} is {value!r}, not a number") from None
    if not math.isfinite(number):
        raise Unfit(f"{column!r} is {value!r}, not a finite number")
    return number


def called(label: str, names: Mapping[str, str]) -> str:
    """What a label is called."""
    if names and label not in names:
        raise Unfit(f"label {label!r} is none of {', '.join(names)}")
    return names.get(label, label)


ReaderChoice = Annotated[TableConfig, Tagged()]
