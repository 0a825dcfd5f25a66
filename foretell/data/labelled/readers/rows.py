"""Rows of tables: tab-separated, comma-separated, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from foretell.data.labelled.examples import BadRow, Example
from foretell.data.labelled.readers.arrow import parquet_rows
from foretell.data.labelled.readers.delimited import QUOTE, Dialect, Row, named_rows
from foretell.data.labelled.readers.lines import Line, LinesReader, Unfit, at
from foretell.data.labelled.readers.values import Fields
from foretell.data.text_files import content_ending
from foretell.errors import ConfigError
from foretell.strict_json import parse_json

FORMATS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


class RowsReader(LinesReader):
    """Base of the settings of readers of tables. Blank lines are skipped."""

    format: Literal["tsv", "csv", "jsonl", "parquet"] | None = None
    """absent: by the suffix of the file"""
    columns: tuple[str, ...] = ()
    """column names if the first line does not have them; "..." as the last: more may follow"""
    delimiter: str | None = None
    """delimiter; absent: a comma in csv, a tab in tsv"""
    quoted: bool | None = None
    """whether fields may be quoted, with doubled quotes inside; absent: in csv yes, in tsv no"""
    quote: str | None = None
    """the quote character, such as "'"; absent: a double quote"""

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_character(cls, given: str | None) -> str | None:
        if given is not None and (len(given) != 1 or given in "\n\r\0"):
            raise ValueError('must be one character, such as ";" or "|"')
        return given

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.quote and self.quoted is False:
            raise ValueError("quote needs quoted = true; leave one of them out")
        if self.delimiter is not None and self.delimiter == (self.quote or QUOTE):
            raise ValueError("delimiter and quote must differ")
        return self

    def needed(self, labelled: bool) -> tuple[str, ...]:
        """The columns to read."""
        raise NotImplementedError

    def example(self, row: Fields, where: str, labelled: bool) -> Example:
        """The example in a row. Raises `Unfit` with the reason if there is none."""
        raise NotImplementedError

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """The examples of a file in order, and the rejected rows."""
        return self.examples(self.rows(path, self.needed(labelled)), path, labelled)

    def examples(
        self, rows: Iterable[Row | BadRow], place: Path | str, labelled: bool = True
    ) -> Iterator[Example | BadRow]:
        """The examples in rows of any source."""
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
        """The rows of a file by column. Raises `ConfigError` if a column is missing."""
        form = self.format or FORMATS.get(content_ending(path).lower())
        if form is None:
            *others, last = (f'"{name}"' for name in FORMATS.values())
            known = f"{', '.join(others)} or {last}"
            raise ConfigError(f"{path}: unknown suffix; set data.reader.format to {known}")
        if form == "parquet":
            return parquet_rows(path, needed)
        lines = self.lines(path)
        if form == "jsonl":
            return json_rows(lines, path)
        quoted = form == "csv" or self.quote is not None if self.quoted is None else self.quoted
        delimiter = self.delimiter or ("," if form == "csv" else "\t")
        dialect = Dialect(delimiter, (self.quote or QUOTE) if quoted else None)
        return named_rows(dialect.records(lines, path), self.columns, needed, path)


def json_rows(lines: Iterable[Line | BadRow], path: Path) -> Iterator[Row | BadRow]:
    """JSON objects, one per line."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line[1].strip():
            where = at(path, line[0])
            try:
                value = parse_json(line[1], path, line[0], lenient=True)
            except ConfigError as problem:
                yield BadRow(where, problem.what)
                continue
            yield (line[0], value) if isinstance(value, dict) else BadRow(where, "not a JSON object {…}")
