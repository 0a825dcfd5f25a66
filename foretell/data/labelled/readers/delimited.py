"""Delimited tables: records of fields, quoted or not, and the names of their columns."""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.readers.lines import Line, at
from foretell.data.labelled.readers.values import Fields
from foretell.errors import ConfigError, did_you_mean
from foretell.strict_json import shown
from foretell.units import counted

Record = tuple[int, list[str]]
"""the number of its first line, and its fields"""
Row = tuple[int, Fields]
REST = "..."
QUOTE = '"'
DELIMITERS = ";\t|,"
"""common delimiters"""
LONGEST_FIELD = 2**31 - 1
"""longest field; the default of the csv library, 128 kB, is less than a long text"""


@dataclass(frozen=True)
class Dialect:
    """How fields are delimited and quoted."""

    delimiter: str
    quote: str | None = QUOTE
    """the quote, doubled inside a quoted field; None: no quoting"""

    def records(self, lines: Iterable[Line | BadRow], path: Path) -> Iterator[Record | BadRow]:
        """The records of a table."""
        if self.quote is None:
            return split_lines(lines, self.delimiter)
        return quoted_records(lines, self.delimiter, path, self.quote)


def split_lines(lines: Iterable[Line | BadRow], delimiter: str) -> Iterator[Record | BadRow]:
    """Records without quoting: the text between delimiters, unchanged."""
    for line in lines:
        if isinstance(line, BadRow):
            yield line
        elif line[1].strip():
            yield line[0], line[1].split(delimiter)


def quoted_records(
    lines: Iterable[Line | BadRow], delimiter: str, path: Path, quote: str = QUOTE
) -> Iterator[Record | BadRow]:
    """Records with quoting (RFC 4180), which may span several lines. Blanks before a quote are not part of a field.

    A quote that is never closed would swallow the rest of the file: its line is bad, and reading continues after it.
    """
    csv.field_size_limit(LONGEST_FIELD)
    source, again = iter(lines), deque[Line | BadRow]()
    blanks_ahead = re.compile(f" +{re.escape(quote)}")

    def following() -> Line | BadRow | None:
        return again.popleft() if again else next(source, None)

    def parsed(first: str, skip_blanks: bool) -> tuple[list[str] | str, list[Line | BadRow]]:
        """The record that starts at a line, or what is wrong with it, and the number of further lines it takes."""
        taken: list[Line | BadRow] = []

        def texts() -> Iterator[str]:
            yield f"{first}\n"
            while (line := following()) is not None:
                taken.append(line)
                if isinstance(line, BadRow):
                    return
                yield f"{line[1]}\n"

        try:
            reader = csv.reader(
                texts(), delimiter=delimiter, quotechar=quote, skipinitialspace=skip_blanks, strict=True
            )
            return next(reader, []), taken
        except csv.Error as problem:
            return wrong_quoting(str(problem)), taken

    while (line := following()) is not None:
        if isinstance(line, BadRow):
            yield line
            continue
        number, text = line
        if not text.strip():
            continue
        found, taken = parsed(text, False)
        if delimiter != " " and (isinstance(found, str) or any(map(blanks_ahead.match, found))):
            again.extendleft(reversed(taken))
            skipped, taken = parsed(text, True)
            found = found if isinstance(found, str) and isinstance(skipped, str) else skipped
        if isinstance(found, list):
            yield number, found
        else:
            again.extendleft(reversed(taken))
            yield BadRow(at(path, number), found)


def wrong_quoting(problem: str) -> str:
    """The reason for an error of the csv library."""
    if "unexpected end" in problem:
        return "a quote that begins here is never closed"
    if "new-line character" in problem:
        return "holds a carriage return outside quotes; end lines with a newline"
    return f"has bad quoting ({problem})"


# --- columns ----------------------------------------------------------------------------------------


def named_rows(
    records: Iterable[Record | BadRow], columns: tuple[str, ...], needed: tuple[str, ...], path: Path
) -> Iterator[Row | BadRow]:
    """Rows by column names, those given or those of the first record."""
    more = columns[-1:] == (REST,)
    names = list(columns[:-1] if more else columns)
    require(names or list(needed), needed, path)
    for record in records:
        if isinstance(record, BadRow):
            yield record
            continue
        number, fields = record
        if not names:
            names = [name.strip() for name in fields]
            require(names, needed, path, number)
        elif len(fields) == len(names) or (more and len(fields) > len(names)):
            yield number, dict(zip(names, fields, strict=False))
        else:
            yield BadRow(at(path, number), f"has {counted(len(fields), 'column')}, not {len(names)}")


def require(names: list[str], needed: tuple[str, ...], path: Path, line: int | None = None) -> None:
    """Raise `ConfigError` if a table lacks a column or has it twice; `line` is where it names them."""
    if twice := next((name for name in needed if names.count(name) > 1), None):
        raise ConfigError(f"has the column {twice!r} twice", file=path, line=line, remedy="rename one of them")
    if missing := [name for name in needed if name not in names]:
        have, near = ", ".join(map(shown, names[:20])), did_you_mean(missing[0], names)
        raise ConfigError(
            f"has no column {', '.join(map(repr, missing))} (it has {have}){near}",
            file=path,
            remedy=remedy_for(names, line is not None),
        )


def remedy_for(names: list[str], from_file: bool) -> str:
    """The delimiter and quote that the first line seems to have, as advice for missing columns."""
    named = "name those it has in data.reader, and all of them in data.reader.columns where the first line is a row"
    delimiter = next((sign for sign in DELIMITERS if sign in names[0]), None)
    if not from_file or delimiter is None:
        return named
    settings = {"delimiter": delimiter} | ({"quote": "'"} if f"{delimiter}'" in names[0] else {})
    written = " and ".join(f"data.reader.{name} = {json.dumps(sign)}" for name, sign in settings.items())
    return f"set {written}, or {named}"
