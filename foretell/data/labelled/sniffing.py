"""Recognises labelled data by the ending of a file, and words with tags in columns by its first lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from foretell.data.compressed import compression
from foretell.data.text_files import content_ending, stored_lines
from foretell.errors import ConfigError

LINES = 2000
"""lines that are looked at"""
WORDS = 5
"""words from which a file is recognised"""
SEPARATOR = "-DOCSTART-"
"""the word on lines between documents"""
TAG = re.compile(r"O|[BIESLUM]-\S+")
TAGGED = (".conll", ".conllu", ".iob", ".iob2", ".bio")
TASKS_OF = {
    **dict.fromkeys((".csv", ".tsv", ".jsonl"), "classification"),
    **dict.fromkeys(TAGGED, "tagging"),
    ".json": "answering",
}
"""the task that a file is for, by its ending"""


def task_of_file(path: Path) -> str:
    """The task that a file is for; "" where nothing shows one."""
    return "tagging" if has_tags(path) else TASKS_OF.get(content_ending(path).lower(), "")


def first_lines(path: Path, most: int = LINES) -> list[str]:
    """The first lines of a file that are not blank; empty where it cannot be read."""
    try:
        head = list(itertools.islice(stored_lines(path), most))
    except (ConfigError, OSError):
        return []
    return [text for _, line in head if (text := line.decode(errors="replace")).strip()]


def first_words(path: Path) -> list[list[str]]:
    """The columns of the first words of a file; empty where its lines differ in their number, or have only one."""
    lines = first_lines(path)
    comment = comment_in(lines)
    skipped = (SEPARATOR, comment) if comment else SEPARATOR
    words = [line.rstrip("\r\n") for line in lines if not line.startswith(skipped)]
    tabbed = all("\t" in line for line in words)
    rows = [line.split("\t") if tabbed else line.split() for line in words]
    return rows if len(rows) >= WORDS and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 else []


def comment_in(lines: Iterable[str]) -> str:
    """The prefix of lines that are comments in a file of words with tags, "# " or "#"; "" if there are none.

    The word `#` has as many columns as other words, and a tag that others have.
    """
    lines = [line for line in lines if not line.startswith(SEPARATOR)]
    words = [line.split() for line in lines if not line.startswith("#")]
    shapes = {(len(row), row[-1]) for row in words}
    comments = {line for line in lines if line.startswith("#") and (len(line.split()), line.split()[-1]) not in shapes}
    others = [line for line in lines if line not in comments]
    for prefix in ("# ", "#"):
        if comments and words and all(line.startswith(prefix) for line in comments):
            return prefix if not any(line.startswith(prefix) for line in others) else ""
    return ""


def has_columns(path: Path) -> bool:
    """Whether the lines of a file have the same number of words, and more than one."""
    return path.is_file() and not compression(path) and bool(first_words(path))


def has_tags(path: Path) -> bool:
    """Whether the lines of a file are words with tags of spans in a column, as in the CoNLL shared tasks."""
    columns = zip(*(first_words(path) if has_columns(path) else ()), strict=True)
    return any(len(tags) > 1 and all(map(TAG.fullmatch, tags)) for tags in map(set, columns))
