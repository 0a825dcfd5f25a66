"""A folder or a file for each class."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from foretell.data.examples import BadRow, Example, Labelled
from foretell.data.readers.lines import LinesReader, Unfit, at
from foretell.data.readers.values import called
from foretell.data.reading import PACKED_ENDINGS


class FoldersConfig(LinesReader):
    """A folder for each class, each file in it a text; or a file for each class, each line a text."""

    kind: Literal["folders"] = "folders"
    names: dict[str, str] = Field(default={})
    """what to call classes, by the names of their folders or files; there may be no others then"""

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`; `path` is the folder around those of the classes, the file of one, or unlabelled texts."""
        if not labelled:
            yield from self.texts(path, None)
            return
        for entry in visible(path.iterdir()) if path.is_dir() else [path]:
            try:
                label = called(entry.name if entry.is_dir() else plain_name(entry), self.names)
            except Unfit as problem:
                yield BadRow(str(entry), str(problem))
                continue
            yield from self.texts(entry, label)

    def texts(self, path: Path, label: str | None) -> Iterator[Example | BadRow]:
        """The files in a folder, in the order of the numbers in their names, or the lines of a file."""
        if path.is_dir():
            for file in visible(p for p in path.rglob("*") if p.is_file()):
                yield from self.whole(file, label)
            return
        for line in self.lines(path):
            if isinstance(line, BadRow):
                yield line
            elif line[1].strip():
                yield Labelled((line[1].strip(),), label, at(path, line[0]))

    def whole(self, path: Path, label: str | None) -> Iterator[Example | BadRow]:
        """A file as one text."""
        lines = list(self.lines(path))
        bad = [line for line in lines if isinstance(line, BadRow)]
        text = "\n".join(line[1] for line in lines if not isinstance(line, BadRow)).strip()
        if bad or not text:
            yield from bad or [BadRow(at(path, 1), "has no text")]
        else:
            yield Labelled((text,), label, at(path, 1))


def plain_name(file: Path) -> str:
    """The name without endings that tell how it is packed, and that it is text."""
    name = file.stem if file.suffix in PACKED_ENDINGS else file.name
    return name.removesuffix(".txt")


def visible(paths: Iterator[Path]) -> list[Path]:
    """Those whose names do not begin with a dot, `2.txt` before `10.txt`."""
    return sorted((path for path in paths if not path.name.startswith(".")), key=natural)


def natural(path: Path) -> list[tuple[int, str]]:
    """What to sort by, so that numbers in names count as such."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix()) if part]
