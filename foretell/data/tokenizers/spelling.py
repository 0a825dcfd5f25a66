"""Tokens to text one by one, as they come: what a stream of tokens spells."""

from __future__ import annotations

import codecs
from collections.abc import Collection
from functools import lru_cache
from typing import Protocol, final

import tokenizers
from tokenizers.decoders import DecodeStream


class Stream(Protocol):
    """Decodes token by token; what it has given never changes."""

    def feed(self, token: int) -> str:
        """The text that is certain after one more token; a character comes when it is complete."""

    def finish(self) -> str:
        """The rest of the text: U+FFFD for a truncated character, else nothing."""


@final
class Spelling:
    """A stream of tokens whose bytes depend on the token before at most."""

    def __init__(self, spell: SpellingRule) -> None:
        self.spell = spell
        self.before: int | None = None
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The characters that this token completes."""
        text = self.decoder.decode(self.spell(token, self.before))
        self.before = token
        return text

    def finish(self) -> str:
        """U+FFFD when a character is not complete."""
        return self.decoder.decode(b"", True)


class SpellingRule(Protocol):
    """The bytes of a token after another (None at the start)."""

    def __call__(self, token: int, before: int | None) -> bytes:
        """The bytes."""


@final
class LibraryStream:
    """The stream of a tokenizer that only the library can decode; each line is decoded separately."""

    def __init__(self, library: tokenizers.Tokenizer, ends: Collection[int]) -> None:
        self.library = library
        self.ends = ends
        """the tokens after which a line begins"""
        self.state = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        """The characters that this token completes."""
        text = self.state.step(self.library, token) or ""
        if token in self.ends:
            self.state = DecodeStream(skip_special_tokens=True)
        return text

    def finish(self) -> str:
        """Nothing: the library does not report it."""
        return ""


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """The byte for each character of byte-level BPE: itself if printable, else from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(0x100 + index): byte for index, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted
