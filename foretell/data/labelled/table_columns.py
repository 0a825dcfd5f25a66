"""The columns of a table and what they could be, by a sample of rows from all over it.

Tables are often sorted by class or by split, so every row is read: values are counted as long as they are few, and
`ROWS` random rows are kept.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.sniffing import TAG
from foretell.strict_json import shown
from foretell.units import counted

ROWS = 1000
"""rows that are kept"""
MOST_CLASSES = 100
SEPARATORS = ";|,/ "
"""signs between the labels of a text"""
LABELS = ("label", "labels", "class", "category", "sentiment", "target", "topic", "polarity", "intent", "y")
"""usual names of the column of labels"""
SPLIT_WORDS = {
    "train": "train|trn|learn|lern|entren|entrain|appren|addestr|trein",
    "valid": "val|dev|eval|hold|tun",
    "test": "(public|private|blind)?(test|tst)|prueba|probe|final",
}
"""how words for a split begin, without accents, in several languages"""
SPLIT_NAME = re.compile(
    "(is|in|for)[_ -]?(train|test|val|dev|eval|hold)[a-z_ -]*"
    "|(cv|k|data)?[_ -]?(fold|split|partition|subset|set|teil|aufteilung|teilmenge|particion|conjunto)s?"
    "[_ -]?(id|nr|no|num|index|idx)?"
)
"""names of columns that say which split or fold a row belongs to"""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    values: Sequence[str]
    """of some rows"""
    counts: Counter[str] | None
    """how often each value occurs in the whole table; None for more than `MOST_CLASSES` values"""
    lists: bool = False
    """whether cells are lists of JSON, whose elements are counted"""

    @property
    def classes(self) -> int:
        """Number of different values, as far as they were looked at."""
        return len(set(self.values)) if self.counts is None else len(self.counts)

    @property
    def words(self) -> float:
        """Mean number of words; in scripts without spaces, 12 bytes count as one."""
        return sum(max(len(value.split()), len(value.encode()) / 12) for value in self.values) / len(self.values)

    @property
    def is_number(self) -> bool:
        """Whether nearly all values are numbers."""
        return sum(map(is_number, self.values)) > 0.95 * len(self.values)

    @property
    def is_text(self) -> bool:
        """Whether most values are distinct and several words long."""
        distinct = self.classes > 0.5 * len(self.values)
        return not self.is_number and self.words >= 2.5 and distinct and not (self.separator or self.spells_lists)

    @property
    def is_label(self) -> bool:
        """Whether it has few distinct values, which repeat, or few labels of which cells hold several."""
        few = self.counts is not None and 2 <= self.classes <= max(2, 0.2 * len(self.values))
        return few or self.spells_lists or bool(self.separator)

    @property
    def is_flag(self) -> bool:
        """Whether all values are 0 or 1, or say yes or no."""
        found = {value.strip().lower() for value in self.counts or ()}
        return len(found) == 2 and any(found <= pair for pair in ({"0", "1"}, {"0.0", "1.0"}, {"true", "false"}))

    @property
    def is_tag(self) -> bool:
        """Whether it holds tags of words, such as B-PER, one or a list of them in each row."""
        counts = self.counts or Counter()
        fitting = sum(number for value, number in counts.items() if TAG.fullmatch(value))
        return fitting > 0.9 * counts.total() and any("-" in value for value in counts)

    @property
    def spells_lists(self) -> bool:
        """Whether most cells are texts such as "['a', 'b']"."""
        spelled = (value.strip()[:1] + value.strip()[-1:] == "[]" for value in self.values)
        return not self.lists and sum(spelled) > 0.5 * len(self.values)

    @cached_property
    def separator(self) -> str:
        """The sign between labels where cells hold several; "" where they hold one."""
        if self.lists or self.is_number:
            return ""
        whole = {value.strip() for value in self.counts or self.values}
        for sign in SEPARATORS:
            joined = [value for value in whole if sign in value]
            parts = {part.strip() for value in joined for part in value.split(sign)} - {""}
            alone = parts & whole
            if not joined or not alone or len(parts) > MOST_CLASSES or len(parts) >= max(len(whole), 3):
                continue
            if sign != " " or (alone == parts and len(joined) > 1):
                return sign
        return ""

    @property
    def names_splits(self) -> bool:
        """Whether it says which split or fold each row belongs to."""
        if self.counts is None or len(self.counts) < 2 or self.name.strip().lower() in LABELS:
            return False
        meant = {split_meant(value) for value in self.counts}
        return ("" not in meant and len(meant) > 1) or bool(SPLIT_NAME.fullmatch(plain(self.name)))

    def __str__(self) -> str:
        few = f"more than {MOST_CLASSES} values" if self.counts is None else counted(self.classes, "value")
        return f"{shown(self.name)} ({few})"


@dataclass
class Growing:
    """The values of a column, counted while its table is read."""

    counts: Counter[str] | None = field(default_factory=Counter)
    lists: bool = False

    def add(self, value: Any) -> None:
        """Count a cell."""
        self.lists |= isinstance(value, list)
        if self.counts is not None:
            self.counts.update(map(as_text, value) if isinstance(value, list) else [as_text(value)])
            if len(self.counts) > MOST_CLASSES:
                self.counts = None


def columns_in(rows: Iterable[Any]) -> tuple[list[Column], list[BadRow], int]:
    """The columns of a table that are not empty, its rows that cannot be read, and the number of others."""
    grown: dict[str, Growing] = {}
    kept: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    good, draw = 0, random.Random(0)
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        good += 1
        for name, value in row[1].items():
            if value is not None:
                grown.setdefault(name, Growing()).add(value)
        place = good - 1 if good <= ROWS else draw.randrange(good)
        if place < ROWS:
            kept[place : place + 1] = [row[1]]
    found = []
    for name, all_ in grown.items():
        values = [as_text(row[name]) for row in kept if row.get(name) is not None]
        if any(value.strip() for value in (all_.counts or values)):
            found.append(Column(name, values or [*(all_.counts or ())], all_.counts, all_.lists))
    return found, bad, good


def split_meant(value: str) -> str:
    """The split that a word means, in several languages; "" if none."""
    word = plain(value).replace(" ", "")
    return next((name for name, starts in SPLIT_WORDS.items() if re.match(starts, word)), "")


def plain(text: str) -> str:
    """A text in lower case, without accents and blanks around it."""
    apart = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(sign for sign in apart if not unicodedata.combining(sign))


def as_text(value: object) -> str:
    """A field as text, for comparison."""
    return value if isinstance(value, str) else str(value)


def is_number(text: str) -> bool:
    """Whether a field is a number."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
