"""Examples of tasks: labelled texts, options to choose from, tagged words, questions on passages.

Each has the file and line of its origin (`where`), which equality ignores.
"""

from __future__ import annotations

import logging
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field

from typing_extensions import override

from foretell.data.labelled.tags import OUTSIDE, spans_of
from foretell.errors import CONTROL

log = logging.getLogger("foretell")
UNSEEN = {
    "\u034f",
    "\u115f",
    "\u1160",
    "\u17b4",
    "\u17b5",
    "\u2800",
    "\u3164",
    "\uffa0",
    *map(chr, range(0xFE00, 0xFE10)),
}
"""characters without a shape that are not of Unicode's category for those"""


class Example(ABC):
    """An example of a task; abstract."""

    where: str
    """the file and line of its origin"""

    @property
    @abstractmethod
    def all_texts(self) -> tuple[str, ...]:
        """All its texts, for a vocabulary."""

    @property
    @abstractmethod
    def gold(self) -> object:
        """The prediction that would be right, as something that can be compared and hashed."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its labels; empty where labels are numbers or places."""
        return ()

    @property
    def is_empty(self) -> bool:
        """Whether one of its texts is empty."""
        return not all(text.strip() for text in self.all_texts)

    @property
    def main_text(self) -> str:
        """The text that keeps examples in one split: a premise, a passage, a sentence."""
        return self.all_texts[0]

    @property
    def line(self) -> str:
        """Its texts as a line of `foretell predict`: separated by tabs."""
        return "\t".join(self.all_texts)

    @property
    def prose(self) -> str:
        """Its text for a language model."""
        return self.main_text


@dataclass(frozen=True)
class Labelled(Example):
    """A text or a pair of texts with its label."""

    texts: tuple[str, ...]
    label: str | float | tuple[str, ...] | None
    """the name of a class, a score, the names of all its classes, or None if it is to be predicted"""
    where: str = field(default="", compare=False, repr=False)

    @property
    @override
    def all_texts(self) -> tuple[str, ...]:
        return self.texts

    @property
    @override
    def gold(self) -> object:
        return self.label

    @property
    @override
    def label_names(self) -> tuple[str, ...]:
        return (self.label,) if isinstance(self.label, str) else self.label if isinstance(self.label, tuple) else ()

    @property
    @override
    def prose(self) -> str:
        """A pair as two paragraphs."""
        return "\n".join(self.texts)


@dataclass(frozen=True)
class Choice(Example):
    """A context and possible continuations."""

    context: str
    options: tuple[str, ...]
    label: int | None
    """index of the right option, from 0"""
    where: str = field(default="", compare=False, repr=False)

    @property
    @override
    def all_texts(self) -> tuple[str, ...]:
        return self.context, *self.options

    @property
    @override
    def gold(self) -> object:
        return self.label

    @property
    @override
    def prose(self) -> str:
        """The context with its right ending."""
        return self.context if self.label is None else f"{self.context} {self.options[self.label]}"


@dataclass(frozen=True)
class Tagged(Example):
    """The words of a sentence and a tag for each: spans in IOB2 whatever the file has, or plain classes."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    where: str = field(default="", compare=False, repr=False)

    @property
    @override
    def all_texts(self) -> tuple[str, ...]:
        return (" ".join(self.words),)

    @property
    @override
    def gold(self) -> object:
        return self.tags

    @property
    @override
    def label_names(self) -> tuple[str, ...]:
        """The kinds of its spans; of plain classes, the tag of each word."""
        tags = self.tags or ()
        spans = all(tag == OUTSIDE or "-" in tag for tag in tags)
        return tuple(span.label for span in spans_of(tags)) if spans else tags


@dataclass(frozen=True)
class Answer:
    """A span of a passage, by its first character: `passage[start : start + len(text)] == text`."""

    text: str
    start: int


@dataclass(frozen=True)
class Question(Example):
    """A question whose answer is a span of a passage."""

    id: str
    question: str
    passage: str
    answers: tuple[Answer, ...]
    """the answers of several annotators; empty if unknown or if there is none"""
    impossible: bool = False
    """whether the passage is known to contain no answer"""
    where: str = field(default="", compare=False, repr=False)

    @property
    @override
    def all_texts(self) -> tuple[str, ...]:
        return self.question, self.passage

    @property
    @override
    def gold(self) -> object:
        return self.answers

    @property
    @override
    def main_text(self) -> str:
        return self.passage


@dataclass(frozen=True)
class BadRow:
    """A part of a file that cannot be read as an example."""

    where: str
    reason: str
    example: str = ""
    """place of the example it belongs to, if several parts may; absent: this one"""
    remedy: str = ""
    """a setting that may help"""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def label_fault(label: str) -> str:
    """Reason a text cannot be a label, or "": predictions are printed one per line with tabs between fields."""
    if not label.strip():
        return "is empty"
    found = CONTROL.search(label)
    return f"holds {found[0]!a}, which no label may" if found else ""


def warn_alike(labels: Iterable[str]) -> None:
    """Warn of labels that may be one; see `alike`."""
    for named, number in alike(labels).items():
        log.warning("the labels %s are %d classes; spell them alike if they are one", named, number)


def alike(labels: Iterable[str]) -> dict[str, int]:
    """Labels that may be one, listed, with their number: equal except for case, blanks and invisible characters."""
    groups: dict[object, list[str]] = {}
    for label in labels:
        groups.setdefault(looks(label), []).append(label)
    return {", ".join(map(visible, group)): len(group) for group in groups.values() if len(group) > 1}


def visible(label: str) -> str:
    """A label in quotes, with its invisible characters spelled out."""
    return "".join(ascii(c)[1:-1] if is_unseen(c) else c for c in repr(label))


def looks(label: str) -> object:
    """The visible part of a label: its number, or its letters regardless of width and case."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", label) if not is_unseen(c))
    try:
        return float(seen)
    except ValueError:
        return " ".join(seen.casefold().split())


def is_unseen(character: str) -> bool:
    """Whether a character has no shape of its own: joiners, marks of direction, soft hyphens, variants, fillers."""
    return unicodedata.category(character) == "Cf" or character in UNSEEN


def one_line(text: str) -> str:
    """A text in one line, with blanks for control characters."""
    return CONTROL.sub(" ", text)
