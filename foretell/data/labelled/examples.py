"""What tasks learn from: texts with labels, options to choose from, words with tags, questions on passages.

Each knows the file and the line it comes from (`where`), which is no part of what it says: equality leaves it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from foretell.errors import CONTROL


@dataclass(frozen=True)
class Labelled:
    """One text or a pair of texts, and what is said of it."""

    texts: tuple[str, ...]
    label: str | float | tuple[str, ...] | None
    """the name of a class, a score, the names of all classes it belongs to, or nothing: to be predicted"""
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Choice:
    """A context and ways to go on from it."""

    context: str
    options: tuple[str, ...]
    label: int | None
    """which option is right, counted from 0"""
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Tagged:
    """The words of a sentence and a tag for each: spans in IOB2 whatever the file has, or plain classes."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Answer:
    """A stretch of a passage, by its first character: `passage[start : start + len(text)] == text`."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question whose answer is a stretch of a passage."""

    id: str
    question: str
    passage: str
    answers: tuple[Answer, ...]
    """what several people answered; empty where none is known or there is none"""
    impossible: bool = False
    """whether the passage is known to hold no answer"""
    where: str = field(default="", compare=False, repr=False)


Example = Labelled | Choice | Tagged | Question


@dataclass(frozen=True)
class BadRow:
    """A part of a file that is no example."""

    where: str
    reason: str
    example: str = ""
    """the place of the example that is lost by it, where several parts may lose one; absent: this one"""
    remedy: str = ""
    """a setting that would help, if one is known"""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def main_text(example: Example) -> str:
    """What an example is about; examples that share it belong into one split: a premise, a passage, a sentence."""
    if isinstance(example, Labelled):
        return example.texts[0]
    if isinstance(example, Choice):
        return example.context
    return " ".join(example.words) if isinstance(example, Tagged) else example.passage


def prose_of(example: Example) -> str:
    """What a language model reads of an example: its text, a pair as two paragraphs, a story with its right ending."""
    if isinstance(example, Labelled):
        return "\n".join(example.texts)
    if isinstance(example, Choice) and example.label is not None:
        return f"{example.context} {example.options[example.label]}"
    return main_text(example)


def label_fault(label: str) -> str:
    """Why a text cannot be a label, if so: predictions are printed one a line, with tabs between their parts."""
    if not label.strip():
        return "is empty"
    found = CONTROL.search(label)
    return f"holds {found[0]!a}, which no label may" if found else ""


def one_line(text: str) -> str:
    """A text in one line, blanks in place of what is not printed."""
    return CONTROL.sub(" ", text)
