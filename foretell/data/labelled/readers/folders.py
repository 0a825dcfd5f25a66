"""A folder or a file for each class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from foretell.data.files import ALIASES, entries, unpacked, walk
from foretell.data.labelled.examples import BadRow, Example, Labelled
from foretell.data.labelled.readers.lines import LinesReader, Unfit, at
from foretell.data.labelled.readers.values import Names, called, word_in


def split_folders(inside: Sequence[Path]) -> dict[Path, str]:
    """The splits that folders are named for. Among folders of other names, one called `train` that holds files only is
    a class itself."""
    named = {entry: ALIASES[entry.name.lower()] for entry in inside if entry.name.lower() in ALIASES}
    if len(named) == len(inside) or any(item.is_dir() for entry in named if entry.is_dir() for item in entries(entry)):
        return named
    return named if len(named) > 1 else {}


class FoldersConfig(LinesReader):
    """A folder for each class with one text per file, or a file for each class with one text per line."""

    kind: Literal["folders"] = "folders"
    names: Names = Field(default={})
    """what to call classes, by the names of their folders or files; there may be no others then. Absent: those names,
    of files without what all in the folder begin with"""

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`; `path` is the folder around those of the classes, the file of one, or unlabelled texts."""
        if not labelled:
            yield from self.texts(path, None)
            return
        inside = sorted(entries(path), key=natural) if path.is_dir() else [path]
        beside = inside if path.is_dir() else entries(path.parent)
        files = all(entry.is_file() for entry in beside)
        shared = shared_start([plain_name(entry) for entry in beside]) if files and not self.names else ""
        for entry in inside:
            try:
                label = called(word_in(plain_name(entry).removeprefix(shared), "the name"), self.names)
            except Unfit as problem:
                yield BadRow(str(entry), str(problem))
                continue
            yield from self.texts(entry, label)

    def texts(self, path: Path, label: str | None) -> Iterator[Example | BadRow]:
        """The files in a folder, in numeric order of their names, or the lines of a file."""
        if path.is_dir():
            for file in sorted((file for file in walk(path) if file.is_file()), key=natural):
                yield from self.whole(file, label)
            return
        for line in self.lines(path):
            if isinstance(line, BadRow):
                yield line
            elif line[1].strip():
                yield Labelled((line[1].strip(),), label, at(path, line[0]))

    def whole(self, path: Path, label: str | None) -> Iterator[Example | BadRow]:
        """A file as a single text."""
        lines = list(self.lines(path))
        bad = [line for line in lines if isinstance(line, BadRow)]
        text = "\n".join(line[1] for line in lines if not isinstance(line, BadRow)).strip()
        if bad or not text:
            yield from bad or [BadRow(at(path, 1), "has no text")]
        else:
            yield Labelled((text,), label, at(path, 1))


def plain_name(file: Path) -> str:
    """The name, without the endings of compression and text for a file."""
    if file.is_dir():
        return file.name
    name = unpacked(file.name)
    return name[: -len(".txt")] if name.lower().endswith(".txt") else name


def shared_start(names: list[str]) -> str:
    """The common prefix of names, up to a dot, a hyphen or an underscore: `rt-polarity.` of `rt-polarity.neg` and
    `rt-polarity.pos`."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    size = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first) - 1)
    return first[: 1 + max(first.rfind(sign, 0, size) for sign in ".-_")]


def natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that compares numbers in names as numbers: `2.txt` before `10.txt`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix()) if part]
