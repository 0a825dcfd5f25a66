"""Examples that are rows of a table: texts with labels, contexts with options."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from foretell.data.labelled.examples import Choice, Labelled
from foretell.data.labelled.readers.lines import Unfit, counted
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


class TableConfig(RowsReader):
    """Texts with labels, one a row of a table."""

    kind: Literal["table"] = "table"
    texts: tuple[str, ...] = ("text",)
    """the column of the text, or the two of a pair"""
    label: str = "label"
    """the column of the label"""
    labels: Literal["one", "several", "score"] = "one"
    """what a label is: the name of a class, those of several with `separator` between them, or a number"""
    separator: str = ","
    names: Names = Field(default={})
    """what to call labels, by how they are stored; there may be no others then"""

    @model_validator(mode="after")
    def _one_or_two(self) -> Self:
        if not 1 <= len(self.texts) <= 2:
            raise ValueError("texts: name one column, or two for pairs")
        if not self.separator:
            raise ValueError('separator: has to stand between labels, as "," does')
        return self

    def needed(self, labelled: bool) -> tuple[str, ...]:
        """See `RowsReader`."""
        return (*self.texts, self.label) if labelled else self.texts

    def example(self, row: Fields, where: str, labelled: bool) -> Labelled:
        """See `RowsReader`."""
        texts = tuple(text_in(row, column) for column in self.texts)
        return Labelled(texts, self.label_in(row) if labelled else None, where)

    def label_in(self, row: Fields) -> str | float | tuple[str, ...]:
        """The label of a row."""
        value = value_in(row, self.label)
        if self.labels == "score":
            return number_in(value, self.label)
        if self.labels == "one":
            return called(word_in(value, self.label), self.names)
        if value is None or isinstance(value, bool | dict):
            raise Unfit(f"{self.label!r} is {as_stored(value)}, not a list of labels")
        parts = value.split(self.separator) if isinstance(value, str) else value if isinstance(value, list) else [value]
        several = [part for part in parts if not isinstance(value, str) or part.strip()]
        return tuple(called(word_in(part, self.label), self.names) for part in several)


class OptionsConfig(RowsReader):
    """Contexts with ways to go on, one a row of a table: stories with endings, questions with answers."""

    kind: Literal["options"] = "options"
    context: tuple[str, ...] = ("context",)
    """the columns of the context, joined by blanks"""
    options: tuple[str, ...] = ("options",)
    """the columns of the options; in JSON one may hold a list of them"""
    label: str = "label"
    """the column that says which option is right"""
    numbers: tuple[str, ...] = ()
    """what stands there for the first option, the second, ...; absent: 0, 1, ..."""

    def needed(self, labelled: bool) -> tuple[str, ...]:
        """See `RowsReader`."""
        return (*self.context, *self.options, *([self.label] if labelled else []))

    def example(self, row: Fields, where: str, labelled: bool) -> Choice:
        """See `RowsReader`."""
        context = " ".join(text_in(row, column) for column in self.context)
        options = tuple(option for column in self.options for option in texts_in(row, column))
        if len(options) < 2:
            raise Unfit(f"has {counted(len(options), 'option')}; a choice is between two at least")
        return Choice(context, options, self.right(row, len(options)) if labelled else None, where)

    def right(self, row: Fields, options: int) -> int:
        """The number of the right option."""
        given = word_in(value_in(row, self.label), self.label)
        known = (self.numbers or tuple(map(str, range(options))))[:options]
        if given not in known:
            raise Unfit(f"{self.label!r} is {given[:40]}, none of {', '.join(known[:LISTED])}")
        return known.index(given)
