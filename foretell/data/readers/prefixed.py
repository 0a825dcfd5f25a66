"""Lines that begin with their label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from foretell.data.examples import BadRow, Example, Labelled
from foretell.data.readers.lines import LinesReader, Unfit, at
from foretell.data.readers.values import called, word_in


class PrefixedConfig(LinesReader):
    """A text a line behind its label, `1 a fine film`, or behind all of them, `__label__a __label__b text`."""

    kind: Literal["prefixed"] = "prefixed"
    mark: str = ""
    """what each label begins with, such as "__label__"; absent: the first word is the label"""
    several: bool = False
    """whether a text has any number of labels; that needs a mark"""
    part: str = ""
    """of labels only what is before this: with ":", NUM of NUM:dist"""
    names: dict[str, str] = Field(default={})
    """what to call labels, by how they are stored; there may be no others then"""

    @model_validator(mode="after")
    def _marked(self) -> Self:
        if self.several and not self.mark:
            raise ValueError('several labels need a mark that tells them from the text; set mark = "__label__"')
        return self

    def read(self, path: Path, labelled: bool = True) -> Iterator[Example | BadRow]:
        """See `Reader`; lines without labels are texts."""
        for line in self.lines(path):
            if isinstance(line, BadRow):
                yield line
            elif line[1].strip():
                where = at(path, line[0])
                try:
                    yield (
                        self.example(line[1].strip(), where) if labelled else Labelled((line[1].strip(),), None, where)
                    )
                except Unfit as problem:
                    yield BadRow(where, str(problem))

    def example(self, text: str, where: str) -> Labelled:
        """The example on a line."""
        labels: list[str] = []
        while text.startswith(self.mark) and text and (self.several or not labels):
            word, _, text = text.partition(" ")
            labels.append(self.label(word.removeprefix(self.mark)))
            text = text.lstrip()
        if not labels and not self.several:
            raise Unfit(f"begins with {text.split()[0]!r}, not with {self.mark + '…'!r}")
        if not text:
            raise Unfit("has no text behind its label")
        return Labelled((text,), tuple(labels) if self.several else labels[0], where)

    def label(self, stored: str) -> str:
        """What a label is called."""
        return called(word_in(stored.split(self.part)[0] if self.part else stored, "label"), self.names)
