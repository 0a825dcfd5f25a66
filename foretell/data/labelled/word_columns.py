"""Guesses which columns of a file hold words and their tags, and reports the guess with the first of them.

Known are the files of the CoNLL shared tasks, CoNLL-U and GermEval (numbered words, comments), columns before or after
the tag, and a header.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell.data.files import tell
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.sniffing import TAG, comment_in
from foretell.data.labelled.tags import OUTSIDE
from foretell.data.text_files import stored_lines
from foretell.errors import ConfigError
from foretell.strict_json import shown
from foretell.units import counted

LINES = 20_000
"""lines that are looked at"""
MOST = 0.9
"""share of the words whose tags show what a column is"""
MOST_TAGS = 200
UNIVERSAL = 10, 3
"""the number of columns of CoNLL-U, and the one of the part of speech"""
NUMBER = re.compile(r"\d+([-.]\d+)?")
OTHER_SPELLING = re.compile(r"O|[BIESLUM][_:/]\S+|\S+[-_][BIESLUM]")
HEADERS = {"word", "words", "token", "tokens", "form", "wort", "mot", "palabra", "parola"}
"""first fields of a header"""

Rows = Sequence[Sequence[str]]
"""the columns of words; empty between sentences"""


def guess_columns(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The reader of words with tags in columns. Raises `ConfigError` where no column could be the tag."""
    lines = [line.decode(errors="replace").rstrip("\r\n") for _, line in itertools.islice(stored_lines(path), LINES)]
    settings: dict[str, Any] = {}
    if comment := given.get("comment", comment_in(filter(str.strip, lines))):
        settings["comment"] = comment
        lines = [line for line in lines if not line.startswith(comment)]
    if delimiter := given.get("delimiter", delimiter_of(lines)):
        settings["delimiter"] = delimiter
    skipped = given.get("skipped", ColumnsConfig().skipped)
    rows = [line.split(delimiter) if delimiter else line.split() for line in lines]
    rows = [[] if len(row) < 2 or any(field in skipped for field in row[:2]) else row for row in rows]
    width = next(iter(Counter(len(row) for row in rows if row).most_common(1)), (2, 0))[0]
    rows = [row if len(row) == width else [] for row in rows]  # others are reported when they are read
    first = index_in(rows)
    if first:
        settings["index"] = 0
        rows = [row if not row or row[0].isdecimal() else [] for row in rows]
    tag = int(given.get("tag", tag_column(path, rows, first))) % width
    word = int(given.get("word", first if first != tag else first + 1)) % width
    if header := header_in(rows, word, tag):
        settings["skipped"] = (*skipped, header)
        rows = [[] if row[word : word + 1] == [header] else row for row in rows]
    settings |= ({"word": word} if word else {}) | ({"tag": tag} if tag != width - 1 else {})
    scheme = given.get("scheme") or scheme_of(path, rows, tag)
    settings = {"kind": "columns", "scheme": scheme, **settings, **given}
    report(path, rows, word, tag, settings)
    return settings


def report(path: Path, rows: Rows, word: int, tag: int, settings: Mapping[str, Any]) -> None:
    """Report the guess, with the first word of a span."""
    words = [row for row in rows if row]
    first = next((row for row in words if row[tag] != OUTSIDE), words[0] if words else None)
    notes = []
    if comment := settings.get("comment"):
        notes.append(f"lines that begin with {shown(comment)} are comments")
    if settings["scheme"] != "none" and (odd := Counter(row[tag] for row in words if not TAG.fullmatch(row[tag]))):
        notes.append(f"{counted(odd.total(), 'word')} with another kind of tag, such as {shown(next(iter(odd)))}")
    if skipped := [name for name in settings.get("skipped", ()) if name not in ColumnsConfig().skipped]:
        notes.append(f"the line of {shown(skipped[-1])} is a header")
    if others := [place for place in entity_columns(rows) if place not in (word, tag)]:
        notes.append(f"column {others[0]} holds tags, too")
    classes = "each a class" if settings["scheme"] == "none" else settings["scheme"].upper()
    begin = f"the word {shown(first[word])} (column {word}), the tag {shown(first[tag])}" if first else "no words"
    tell(
        f"{path}: {begin} (column {tag}, {classes}); {''.join(f'{note}; ' for note in notes)}data.reader.word=N and "
        "data.reader.tag=N, from 0, name others"
    )


def delimiter_of(lines: Sequence[str]) -> str | None:
    """A tab, where some columns hold blanks or nothing; None where any blanks and tabs will do."""
    full = [line for line in lines if line.strip()]
    tabbed = bool(full) and all("\t" in line for line in full)
    return "\t" if tabbed and any(len(line.split("\t")) != len(line.split()) for line in full) else None


def index_in(rows: Rows) -> int:
    """1 where the first column numbers the words of a sentence, else 0."""
    numbers = [row[0] for row in rows if len(row) > 2]
    if not numbers or not all(map(NUMBER.fullmatch, numbers)):
        return 0
    steps = itertools.pairwise(["0", *numbers])
    counting = sum(number_of(later) in (0, 1, number_of(one), number_of(one) + 1) for one, later in steps)
    return int(counting > MOST * len(numbers))


def number_of(field: str) -> int:
    """The first number in a field, -1 if there is none."""
    found = re.match(r"\d{1,9}", field)
    return int(found[0]) if found else -1


def entity_columns(rows: Rows) -> list[int]:
    """The columns in which nearly all words have a tag of a span, or none."""
    words = [row for row in rows if row]
    found = []
    for place in range(min(map(len, words), default=0)):
        counts = Counter(row[place] for row in words)
        fitting = sum(number for value, number in counts.items() if TAG.fullmatch(value))
        if fitting > MOST * len(words) and any(value != OUTSIDE and TAG.fullmatch(value) for value in counts):
            found.append(place)
    return found


def tag_column(path: Path, rows: Rows, first: int) -> int:
    """The column of the tag: that of spans, or else the last with few values that are not numbers."""
    words = [row for row in rows if row]
    width = len(words[0]) if words else 2
    if found := entity_columns(rows):
        return (
            found[0] if first else found[-1]
        )  # numbered words: GermEval, nested spans after the others; else CoNLL-2003
    classes = [place for place in range(first + 1, width) if is_class([row[place] for row in words])]
    if first and width == UNIVERSAL[0] and UNIVERSAL[1] in classes:
        return UNIVERSAL[1]
    if not classes and any(row[-1] != words[0][-1] for row in words):
        listed = ", ".join(f"{place} ({shown(words[0][place])}, …)" for place in range(width))
        raise ConfigError(
            f"which column is the tag: {listed}?", file=path, remedy="write data.reader.tag=N, and data.reader.word=N"
        )
    return classes[-1] if classes else width - 1


def is_class(values: Sequence[str]) -> bool:
    """Whether a column could hold classes of words."""
    found = set(values)
    numbers = sum(value.replace(".", "", 1).isdecimal() for value in values)
    return (
        1 < len(found) <= max(MOST_TAGS, 1)
        and (len(values) < 20 or len(found) <= len(values) / 2)
        and (numbers <= MOST * len(values))
    )


def header_in(rows: Rows, word: int, tag: int) -> str:
    """The word of a header in the first line; "" if there is none."""
    if not rows or not rows[0]:
        return ""
    name, rest = rows[0][word], [row for row in rows[1:] if row]
    odd = tag in entity_columns(rest) and not TAG.fullmatch(rows[0][tag])
    once = all(row[word] != name for row in rest) and all(row[tag] != rows[0][tag] for row in rest)
    return name if once and (odd or name.lower() in HEADERS) else ""


def scheme_of(path: Path, rows: Rows, tag: int) -> str:
    """The scheme of the tags of most words, from their prefixes; "none" where they are classes."""
    words = [row[tag] for row in rows if row]
    if tag not in entity_columns(rows):
        spelled = [value for value in words if OTHER_SPELLING.fullmatch(value)]
        marked = [value for value in spelled if value != OUTSIDE]
        if marked and len(spelled) > MOST * len(words) and OUTSIDE in spelled:
            raise ConfigError(
                f"its tags are spelled like {shown(marked[0])}, not like B-PER",
                file=path,
                remedy='write them as B-PER, or set data.reader.scheme = "none" if each is a class',
            )
        return "none"
    marks, begins_inside, before = set[str](), False, OUTSIDE
    for row in rows:
        given = row[tag] if row and TAG.fullmatch(row[tag]) else OUTSIDE
        mark, _, kind = given.partition("-")
        if given != OUTSIDE:
            marks.add(mark)
            begins_inside |= mark == "I" and before[2:] != kind
        before = given
    if marks <= {"B", "I"}:
        return "iob1" if begins_inside and "B" in marks else "io" if marks == {"I"} else "iob2"
    return "bilou" if marks & {"L", "U"} else "bmes" if "M" in marks else "bioes"
