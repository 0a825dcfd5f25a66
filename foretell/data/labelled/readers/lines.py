"""Lines of files, the base of all readers of text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pydantic import field_validator

from foretell.config import Config
from foretell.data.labelled.examples import BadRow, Example
from foretell.data.text_files import stored_lines

Line = tuple[int, str]
"""its number, from 1, and its text without the line ending"""


class Reader(Protocol):
    """The contract of readers."""

    @property
    def task(self) -> str:
        """Kind of the objective that learns from its examples by default."""

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """The examples of a file in order, and the parts that are not examples.

        Where labels are to be predicted (not `labelled`) they may be absent, and are left out.
        """


class Unfit(ValueError):
    """The reason something is not an example."""


class LinesReader(Config):
    """Base of the settings of readers."""

    encoding: str = "utf-8"
    """encoding: "utf-8", "latin-1", "cp1252" or another"""

    @field_validator("encoding")
    @classmethod
    def _keeps_lines(cls, name: str) -> str:
        try:
            plain = "a\n".encode(name)
        except LookupError:
            raise ValueError(f'there is no encoding {name!r}; write "utf-8", "latin-1" or another') from None
        if codecs.lookup(name).name == "utf-8-sig":
            return "utf-8"  # drops the byte-order mark
        if plain != b"a\n":
            raise ValueError(f"{codecs.lookup(name).name} is not read; convert the files to UTF-8")
        return name

    @property
    def task(self) -> str:
        """Kind of the objective that learns from its examples by default."""
        return "classification"

    def lines(self, path: Path) -> Iterator[Line | BadRow]:
        """The lines of a file, plain or compressed; lines in another encoding are bad."""
        for number, line in stored_lines(path):
            yield self.decoded(line.removesuffix(b"\n").removesuffix(b"\r"), path, number)

    def decoded(self, stored: bytes, path: Path, number: int) -> Line | BadRow:
        """One line."""
        try:
            return number, stored.decode(self.encoding)
        except UnicodeError as problem:
            place = problem.start if isinstance(problem, UnicodeDecodeError) else 0
            found = f"byte 0x{stored[place]:02x} at place {place + 1}"
            other = 'data.reader.encoding = "cp1252" (files of Windows) or another'
            return BadRow(at(path, number), f"not {self.encoding} ({found})", remedy=other)


def at(path: Path | str, line: int) -> str:
    """A place in a file, as compilers write it."""
    return f"{path}:{line}"
