"""Special tokens of a vocabulary, by what they are for."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it needs torch
    from foretell.types import Opening


@dataclass(frozen=True)
class Specials:
    """The ids of a vocabulary's special tokens by what they are for; None for what it lacks."""

    boundary: int
    """between documents"""
    mask: int | None = None
    """stands for a token that is to be guessed"""
    begin: int | None = None
    """stands before a row: [CLS], <s>"""
    separator: int | None = None
    """after each text of a row, or between two: [SEP], </s>, <delimiter>"""
    padding: int | None = None
    unknown: int | None = None
    extract: int | None = None
    """after a row, where its features are read (GPT)"""
    start: int | None = None
    """what a document begins with, for tokenizers from elsewhere that put such a token there (Llama); None: the
    boundary"""

    @property
    def opening(self) -> Opening | None:
        """The boundary and the token that causal models read in its place; None if they read the boundary."""
        return None if self.start is None else (self.boundary, self.start)

    @property
    def ids(self) -> tuple[int, ...]:
        """All special tokens, in rising order."""
        return tuple(sorted({token for token in astuple(self) if token is not None}))

    @property
    def marks(self) -> tuple[int, ...]:
        """Tokens that never represent text: all except the unknown one."""
        return tuple(token for token in self.ids if token != self.unknown)
