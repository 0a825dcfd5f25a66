"""Lines that start with their label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from foretell.data.labelled.examples import BadRow, Example, Labelled
from foretell.data.labelled.readers.lines import LinesReader, Unfit, at
from foretell.data.labelled.readers.values import Names, called, word_in
from foretell.strict_json import shown


class PrefixedConfig(LinesReader):
    """One text per line after its label, `1 a fine film`, or after all its labels, `__label__a __label__b text`."""

    kind: Literal["prefixed"] = "prefixed"
    mark: str = ""
    """prefix of labels, such as "__label__"; absent: the first word is the label"""
    several: bool = False
    """whether a text may have any number of labels; needs `mark`"""
    part: str = ""
    """use the part of a label before this: with ":", NUM of NUM:dist"""
    names: Names = Field(default={})
    """names of labels by their stored form; others are refused"""

    @model_validator(mode="after")
    def _marked(self) -> Self:
        if self.several and not self.mark:
            raise ValueError('several labels need a mark that distinguishes them from the text; set mark = "__label__"')
        if self.mark.split() not in ([], [self.mark]):
            raise ValueError(f"mark {self.mark!r} holds blanks, at which labels end; name a word")
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
            word, text = (*text.split(None, 1), "")[:2]
            labels.append(self.label(word.removeprefix(self.mark)))
        if not labels and not self.several:
            raise Unfit(f"begins with {shown(text.split()[0])}, not with {self.mark + '…'!r}")
        if not text:
            raise Unfit("has no text after its label")
        return Labelled((text,), tuple(labels) if self.several else labels[0], where)

    def label(self, stored: str) -> str:
        """The name of a label."""
        return called(word_in(stored.split(self.part)[0] if self.part else stored, "label"), self.names)
