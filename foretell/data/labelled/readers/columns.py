"""Words with tags in columns, as in the CoNLL shared tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from typing_extensions import override

from foretell.data.labelled import tags
from foretell.data.labelled.examples import BadRow, Example, Tagged, label_fault
from foretell.data.labelled.readers.delimited import Record
from foretell.data.labelled.readers.lines import LinesReader, at
from foretell.strict_json import shown
from foretell.units import counted


class Row(NamedTuple):
    """A line with a word."""

    word: str
    tag: str
    width: int
    """number of columns"""
    where: str


Column = Annotated[int, Field(ge=-1000, le=1000)]
"""index of a column, from 0, or from the end: -1"""


class Sentence(NamedTuple):
    """The words of a sentence and its faults."""

    rows: list[Row]
    bad: list[BadRow]
    """lines that are not a word with its tag"""
    wrong: list[tuple[int, str]]
    """numbers of lines whose tags break the scheme, and how"""
    where: str


class ColumnsConfig(LinesReader):
    """Words with tags, one per line, with a blank line between sentences."""

    kind: Literal["columns"] = "columns"
    word: Column = 0
    """column of the word, from 0"""
    tag: Column = -1
    """column of the tag; -1: the last"""
    scheme: Literal["iob2", "iob1", "io", "bioes", "bilou", "bmes", "none"] = "iob2"
    """scheme of the tags for spans of words; "none": each tag is a class, such as a part of speech"""
    delimiter: str | None = None
    """delimiter of columns; absent: any blanks and tabs"""
    skipped: tuple[str, ...] = ("-DOCSTART-",)
    """the word on lines to skip"""
    index: Column | None = None
    """column of the words' numbers; lines with a range (1-2) or a decimal (1.1) are skipped, as CoNLL-U has them"""
    comment: str = ""
    """prefix of lines to skip, such as "# " """

    @property
    @override
    def task(self) -> str:
        return "tagging"

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """Sentences with a bad line are left out; spans come as IOB2, whatever scheme the file has."""
        found = list(self.parsed(path, labelled))
        remedy = ""
        if self.scheme != "none" and any(sentence.wrong for sentence in found):
            readable = [[row.tag for row in sentence.rows] for sentence in found if not sentence.bad]
            remedy = tags.better_scheme(readable, self.scheme)
        for rows, bad, wrong, where in found:
            if bad or wrong:
                against = [BadRow(rows[place].where, problem, remedy=remedy) for place, problem in wrong]
                yield from (replace(row, example=where) for row in [*bad, *against])
            elif rows:
                yield Tagged(tuple(row.word for row in rows), self.iob2(rows) if labelled else None, where)

    def parsed(self, path: Path, labelled: bool) -> Iterator[Sentence]:
        """The sentences of a file."""
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
            wrong: list[tuple[int, str]] = []
            if labelled and not bad and self.scheme != "none":
                wrong = list(tags.faults([row.tag for row in rows], self.scheme))
            begin = lines[0] if lines else (0, [])
            yield Sentence(rows, bad, wrong, begin.where if isinstance(begin, BadRow) else at(path, begin[0]))

    def iob2(self, rows: list[Row]) -> tuple[str, ...]:
        """The tags of a sentence in IOB2, or as they are."""
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
                if any(field in self.skipped for field in fields[self.word :][:1]):
                    yield lines  # it separates documents
                    lines = []
                elif self.is_word(fields):
                    lines.append((line[0], fields))
        yield lines

    def is_word(self, fields: list[str]) -> bool:
        """Whether a line holds a word, and not several words at once or one that is not in the text."""
        numbers = [] if self.index is None else fields[self.index :][:1]
        return not any(re.fullmatch(r"\d+[-.]\d+", number) for number in numbers)

    def fields(self, text: str) -> list[str]:
        """The columns of a line."""
        return text.split(self.delimiter) if self.delimiter else re.split(r"[ \t]+", text.rstrip(" \t"))

    def row(self, number: int, fields: list[str], width: int, path: Path, labelled: bool) -> Row | BadRow:
        """The word and the tag of a line; `width` is the number of columns so far, 0 at the start."""
        where = at(path, number)
        places = (self.word, self.tag) if labelled else (self.word,)
        if labelled and len(fields) == 1:
            return BadRow(where, lonely(fields[0]))
        if len(fields) != (width or len(fields)) or not all(-len(fields) <= place < len(fields) for place in places):
            return BadRow(where, f"has {counted(len(fields), 'column')}, {f'not {width}' if width else 'too few'}")
        found = [fields[place].strip() for place in places]
        if not all(found):
            return BadRow(where, lonely("".join(found)) if any(found) else "has no word in its column")
        if labelled and (fault := tag_fault(found[-1])):
            return BadRow(where, fault)
        return Row(found[0], found[-1] if labelled else "", len(fields), where)


def lonely(field: str) -> str:
    """The reason for a line with a single column."""
    mark, label = tags.split_tag(field)
    is_tag = field == tags.OUTSIDE or (mark in (*"BIES", *tags.MEANING) and label)
    return f"tag {shown(field)} without a word" if is_tag else f"word {shown(field)} without a tag"


@lru_cache(maxsize=4096)
def tag_fault(tag: str) -> str:
    """Reason a field is not a tag of any scheme, or ""."""
    if fault := label_fault(tag):
        return f"the tag {fault}"
    return f"the tag {shown(tag)} holds a blank; write an underscore in its place" if len(tag.split()) > 1 else ""
