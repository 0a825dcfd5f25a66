"""Recognises labelled data by the ending of a file, and words with tags in columns by its first lines."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from foretell.data.compressed import compression
from foretell.data.text_files import content_ending, stored_lines
from foretell.errors import ConfigError

LINES = 2000
"""lines that are looked at"""
WORDS = 5
"""words from which a file is recognised"""
TAG = re.compile(r"O|[BIESLUM]-\S+")


TAGGED = (".conll", ".iob", ".iob2", ".bio")
TASKS_OF = {
    **dict.fromkeys((".csv", ".tsv", ".jsonl"), "classification"),
    **dict.fromkeys(TAGGED, "tagging"),
    ".json": "answering",
}
"""the task that a file is for, by its ending"""


def task_of_file(path: Path) -> str:
    """The task that a file is for; "" where nothing shows one."""
    return "tagging" if has_tags(path) else TASKS_OF.get(content_ending(path).lower(), "")


def first_words(path: Path) -> list[list[str]]:
    """The columns of the first words of a file; empty where its lines differ in their number, or have only one."""
    try:
        head = list(itertools.islice(stored_lines(path), LINES))
    except (ConfigError, OSError):
        return []
    lines = [line.decode(errors="replace") for _, line in head]
    rows = [line.split() for line in lines if line.strip() and not line.startswith("-DOCSTART-")]
    return rows if len(rows) >= WORDS and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 else []


def has_columns(path: Path) -> bool:
    """Whether the lines of a file have the same number of words, and more than one."""
    return path.is_file() and not compression(path) and bool(first_words(path))


def has_tags(path: Path) -> bool:
    """Whether the lines of a file are words with tags of spans in their last column, as in the CoNLL shared tasks."""
    tags = {row[-1] for row in first_words(path)} if has_columns(path) else set()
    return len(tags) > 1 and all(map(TAG.fullmatch, tags))
