"""Examples that are rows of a table: texts with labels, contexts with options."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from foretell.data.labelled.examples import Choice, Labelled
from foretell.data.labelled.readers.lines import Unfit
from foretell.data.labelled.readers.rows import RowsReader
from foretell.data.labelled.readers.values import (
    LISTED,
    Fields,
    Names,
    as_stored,
    called,
    number_in,
    text_in,
    texts_in,
    value_in,
    word_in,
)
from foretell.units import counted


class TableConfig(RowsReader):
    """Texts with labels, one per row."""

    kind: Literal["table"] = "table"
    texts: tuple[str, ...] = ("text",)
    """the column of the text, or two columns of a pair"""
    label: str = "label"
    """the column of the label"""
    labels: Literal["one", "several", "score"] = "one"
    """type of the label: the name of a class, the names of several with `separator` between them, or a number"""
    separator: str = ","
    decimal: Literal[".", ","] = "."
    """the sign before the decimals of a score"""
    names: Names = Field(default={})
    """names of labels by their stored form; others are refused"""

    @model_validator(mode="after")
    def _one_or_two(self) -> Self:
        if not 1 <= len(self.texts) <= 2:
            raise ValueError("texts: name one column, or two for pairs")
        if not self.separator:
            raise ValueError('separator must not be empty; write one such as ","')
        return self

    @property
    @override
    def task(self) -> str:
        return "similarity" if self.labels == "score" else "classification"

    @override
    def needed(self, labelled: bool) -> tuple[str, ...]:
        return (*self.texts, self.label) if labelled else self.texts

    @override
    def example(self, row: Fields, where: str, labelled: bool) -> Labelled:
        texts = tuple(text_in(row, column) for column in self.texts)
        return Labelled(texts, self.label_in(row) if labelled else None, where)

    def label_in(self, row: Fields) -> str | float | tuple[str, ...]:
        """The label of a row."""
        value = value_in(row, self.label)
        if self.labels == "score":
            written = value.replace(",", ".") if self.decimal == "," and isinstance(value, str) else value
            return number_in(written, self.label)
        if self.labels == "one":
            return called(word_in(value, self.label), self.names)
        if value is None or isinstance(value, bool | dict):
            raise Unfit(f"{self.label!r} is {as_stored(value)}, not a list of labels")
        parts = value.split(self.separator) if isinstance(value, str) else value if isinstance(value, list) else [value]
        several = [part for part in parts if not isinstance(value, str) or part.strip()]
        return tuple(called(word_in(part, self.label), self.names) for part in several)


class OptionsConfig(RowsReader):
    """Contexts with options, one per row: stories with endings, questions with answers."""

    kind: Literal["options"] = "options"
    context: tuple[str, ...] = ("context",)
    """columns of the context, joined by blanks"""
    options: tuple[str, ...] = ("options",)
    """columns of the options; in JSON one column may hold a list"""
    label: str = "label"
    """column of the right option"""
    numbers: tuple[str, ...] = ()
    """its values for the first option, the second, ...; absent: 0, 1, ..."""

    @property
    @override
    def task(self) -> str:
        return "choice"

    @override
    def needed(self, labelled: bool) -> tuple[str, ...]:
        return (*self.context, *self.options, *([self.label] if labelled else []))

    @override
    def example(self, row: Fields, where: str, labelled: bool) -> Choice:
        context = " ".join(text_in(row, column) for column in self.context)
        options = tuple(option for column in self.options for option in texts_in(row, column))
        if len(options) < 2:
            raise Unfit(f"has {counted(len(options), 'option')}; a choice needs at least two")
        return Choice(context, options, self.right(row, len(options)) if labelled else None, where)

    def right(self, row: Fields, options: int) -> int:
        """The index of the right option."""
        given = word_in(value_in(row, self.label), self.label)
        known = (self.numbers or tuple(map(str, range(options))))[:options]
        if given not in known:
            raise Unfit(f"{self.label!r} is {given[:40]}, none of {', '.join(known[:LISTED])}")
        return known.index(given)
