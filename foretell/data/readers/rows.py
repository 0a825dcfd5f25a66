"""Rows of tables: tab-separated, comma-separated, JSON lines, Parquet."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from foretell.data.examples import BadRow, Example
from foretell.data.readers.arrow import parquet_rows
from foretell.data.readers.lines import Line, LinesReader, Unfit, at, counted
from foretell.data.readers.values import Fields
from foretell.data.reading import content_ending
from foretell.errors import ConfigError

Record = tuple[int, list[str]]
"""the number of its first line, and its fields"""
Row = tuple[int, Fields]
FORMATS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
REST = "..."
QUOTE = '"'


class RowsReader(LinesReader):
    """What the settings of readers of tables share. Blank lines are no rows."""

    format: Literal["tsv", "csv", "jsonl", "parquet"] | None = None
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

    def needed(self, labelled: bool) -> tuple[str, ...]:
        """The columns that are read."""
        raise NotImplementedError

    def example(self, row: Fields, where: str, labelled: bool) -> Example:
        """The example in a row; `Unfit` says why there is none."""
        raise NotImplementedError

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`."""
        return self.examples(self.rows(path, self.needed(labelled)), path, labelled)

    def examples(
        self, rows: Iterable[Row | BadRow], place: Path | str, labelled: bool = True
    ) -> Iterator[Example | BadRow]:
        """The examples in rows, wherever these come from."""
        for row in rows:
            if isinstance(row, BadRow):
                yield row
                continue
            where = at(place, row[0])
            try:
                yield self.example(row[1], where, labelled)
            except Unfit as problem:
                yield BadRow(where, str(problem))

    def rows(self, path: Path, needed: tuple[str, ...]) -> Iterator[Row | BadRow]:
        """The rows of a file by column; a table without a column that is needed is refused as a whole."""
        form = self.format or FORMATS.get(content_ending(path))
        if form is None:
            *others, last = (f'"{name}"' for name in FORMATS.values())
            known = f"{', '.join(others)} or {last}"
            raise ConfigError(f"{path}: its ending names no format; set data.reader.format to {known}")
        if form == "parquet":
            return parquet_rows(path, needed)
        lines = self.lines(path)
        if form == "jsonl":
            return json_rows(lines, path)
        delimiter = self.delimiter or ("," if form == "csv" else "\t")
        quoted = form == "csv" if self.quoted is None else self.quoted
        records = quoted_records(lines, delimiter, path) if quoted else split_lines(lines, delimiter)
        return named_rows(records, self.columns, needed, path)


def json_rows(lines: Iterable[Line | BadRow], path: Path) -> Iterator[Row | BadRow]:
    """JSON objects, one a line."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line[1].strip():
            try:
                value = json.loads(line[1])
            except json.JSONDecodeError as problem:
                yield BadRow(at(path, line[0]), f"not valid JSON: {problem}")
                continue
            yield (line[0], value) if isinstance(value, dict) else BadRow(at(path, line[0]), "not a JSON object {…}")


def split_lines(lines: Iterable[Line | BadRow], delimiter: str) -> Iterator[Record | BadRow]:
    """Records of tables without quoting: what is between delimiters, as it is."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line[1].strip():
            yield line[0], line[1].split(delimiter)


def quoted_records(lines: Iterable[Line | BadRow], delimiter: str, path: Path) -> Iterator[Record | BadRow]:
    """Records of tables with quoting (RFC 4180), which may go on over several lines.

    A quote that is never closed would swallow all behind it: its line is bad, and reading goes on with the next one.
    """
    csv.field_size_limit(2**31 - 1)  # the library's own limit, 128 kB, is less than a long text
    source, again = iter(lines), deque[Line | BadRow]()

    def following() -> Line | BadRow | None:
        return again.popleft() if again else next(source, None)

    while (line := following()) is not None:
        if isinstance(line, BadRow):
            yield line
            continue
        number, text = line
        if not text.strip():
            continue
        taken: list[Line | BadRow] = []
        fields = fields_of(text, delimiter)
        while fields is None and (line := following()) is not None:
            taken.append(line)
            if isinstance(line, BadRow):
                break
            text += "\n" + line[1]
            fields = fields_of(text, delimiter) if QUOTE in line[1] else None
        if isinstance(fields, list):
            yield number, fields
        else:
            again.extendleft(reversed(taken))
            yield BadRow(at(path, number), fields or "a quote that begins here is never closed")


def fields_of(text: str, delimiter: str) -> list[str] | str | None:
    """The fields of a record, or what is wrong with it, or None where it has to go on over the next line."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as problem:
        return None if "unexpected end" in str(problem) else f"wrongly quoted ({problem})"


def named_rows(
    records: Iterable[Record | BadRow], columns: tuple[str, ...], needed: tuple[str, ...], path: Path
) -> Iterator[Row | BadRow]:
    """Rows by the names of columns that are given, or else in the first record."""
    more = columns[-1:] == (REST,)
    names = list(columns[:-1] if more else columns)
    require(names or list(needed), needed, path)
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
    if missing := [repr(name) for name in needed if name not in names]:
        have = ", ".join(map(repr, names[:20]))
        raise ConfigError(
            f"{path}: has no column {', '.join(missing)} (it has {have}); name those it has in data.reader, "
            "and all of them in data.reader.columns where the first line is a row"
        )
