"""Words with tags in columns, as in the CoNLL shared tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from foretell.data import tags
from foretell.data.examples import BadRow, Example, Tagged
from foretell.data.readers.lines import LinesReader, at, counted
from foretell.data.readers.rows import Record


class Row(NamedTuple):
    """A line with a word."""

    word: str
    tag: str
    width: int
    """how many columns it has"""
    where: str


Column = Annotated[int, Field(ge=-1000, le=1000)]
"""one of them, counted from 0, or from the end: -1"""


class ColumnsConfig(LinesReader):
    """Words with tags, one a line, and a blank line between sentences."""

    kind: Literal["columns"] = "columns"
    word: Column = 0
    """the column of the word, counted from 0"""
    tag: Column = -1
    """the column of the tag; -1: the last"""
    scheme: Literal["iob2", "iob1", "io", "bioes", "none"] = "iob2"
    """how the tags write spans of words; "none": each is a class by itself, as parts of speech are"""
    delimiter: str | None = None
    """what stands between columns; absent: blanks and tabs, as many as there are"""
    skipped: tuple[str, ...] = ("-DOCSTART-",)
    """what stands in place of a word on lines that are left out"""
    comment: str = ""
    """what lines that are left out begin with, such as "# " """

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`. Sentences with a bad line are no examples; spans come as IOB2, whatever scheme the file has."""
        width = 0
        for lines in self.sentences(path):
            rows: list[Row] = []
            bad: list[BadRow] = []
            for line in lines:
                row = line if isinstance(line, BadRow) else self.row(*line, width, path, labelled)
                if isinstance(row, BadRow):
                    bad.append(row)
                else:
                    rows.append(row)
                    width = row.width
            if labelled and not bad and self.scheme != "none":
                found = tags.faults([row.tag for row in rows], self.scheme)
                bad = [BadRow(rows[place].where, problem) for place, problem in found]
            if bad:
                yield from bad
            elif rows:
                yield Tagged(tuple(row.word for row in rows), self.iob2(rows) if labelled else None, rows[0].where)

    def iob2(self, rows: list[Row]) -> tuple[str, ...]:
        """The tags of a sentence as examples have them."""
        given = tuple(row.tag for row in rows)
        return given if self.scheme == "none" else tags.convert(given, "iob2")

    def sentences(self, path: Path) -> Iterator[list[Record | BadRow]]:
        """The lines of each sentence, in columns."""
        lines: list[Record | BadRow] = []
        for line in self.lines(path):
            if isinstance(line, BadRow):
                lines.append(line)
            elif not line[1].strip():
                yield lines
                lines = []
            elif not (self.comment and line[1].startswith(self.comment)):
                fields = self.fields(line[1])
                if not any(field in self.skipped for field in fields[self.word :][:1]):
                    lines.append((line[0], fields))
        yield lines

    def fields(self, text: str) -> list[str]:
        """The columns of a line."""
        return text.split(self.delimiter) if self.delimiter else re.split(r"[ \t]+", text.rstrip(" \t"))

    def row(self, number: int, fields: list[str], width: int, path: Path, labelled: bool) -> Row | BadRow:
        """The word of a line and its tag; `width`: how many columns the lines before had, 0 for none."""
        where = at(path, number)
        places = (self.word, self.tag) if labelled else (self.word,)
        if labelled and len(fields) == 1:
            return BadRow(where, lonely(fields[0]))
        if len(fields) != (width or len(fields)) or not all(-len(fields) <= place < len(fields) for place in places):
            return BadRow(where, f"has {counted(len(fields), 'column')}, {f'not {width}' if width else 'too few'}")
        found = [fields[place].strip() for place in places]
        if not all(found):
            return BadRow(where, lonely("".join(found)) if any(found) else "has no word in its column")
        return Row(found[0], found[-1] if labelled else "", len(fields), where)


def lonely(field: str) -> str:
    """What is wrong where there is only a tag, or only a word."""
    mark, label = tags.split_tag(field)
    is_tag = field == tags.OUTSIDE or (mark in tags.MARKS["bioes"] and label)
    return f"tag {field!r} without a word" if is_tag else f"word {field!r} without a tag"
