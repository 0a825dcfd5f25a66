"""A folder or a file for each class."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from foretell.config import ConfigError
from foretell.data.examples import BadRow, Example, Labelled
from foretell.data.readers.lines import LinesReader, Unfit, at
from foretell.data.readers.values import called


class FoldersConfig(LinesReader):
    """A folder for each class, each file in it a text; or a file for each class, each line a text."""

    kind: Literal["folders"] = "folders"
    names: dict[str, str] = Field(default={})
    """what to call classes, by the names of their folders or files; there may be no others then"""

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`; `path` is the folder around those of the classes, or texts without labels."""
        if not labelled:
            return self.texts(path, None)
        if not path.is_dir():
            raise ConfigError(f"{path}: is a file; name the folder that has a folder or a file for each class")
        return self.classes(path)

    def classes(self, path: Path) -> Iterator[Example | BadRow]:
        """The texts of all classes."""
        for entry in visible(path.iterdir()):
            try:
                label = called(entry.name if entry.is_dir() else entry.name.removesuffix(".txt"), self.names)
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


def visible(paths: Iterator[Path]) -> list[Path]:
    """Those whose names do not begin with a dot, `2.txt` before `10.txt`."""
    return sorted((path for path in paths if not path.name.startswith(".")), key=natural)


def natural(path: Path) -> list[tuple[int, str]]:
    """What to sort by, so that numbers in names count as such."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix()) if part]
