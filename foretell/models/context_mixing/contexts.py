"""The contexts of a context-mixing model: what each looks at before it predicts the next byte."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from foretell.config import Config, Tagged


class ContextConfig(Config):
    """Base of the settings of contexts; abstract."""

    @property
    @abstractmethod
    def code(self) -> tuple[int, int]:
        """Number of the kind and its argument, as `hashing.hash_contexts` reads them."""


class OrderConfig(ContextConfig):
    """The last bytes."""

    kind: Literal["order"] = "order"
    length: Annotated[int, Field(ge=0, le=32)] = 3
    """number of bytes; 0: none"""

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 0, self.length


class WordsConfig(ContextConfig):
    """The letters of the word so far, in lower case, and the words before it."""

    kind: Literal["words"] = "words"
    count: Annotated[int, Field(ge=1, le=3)] = 1
    """number of words, the one so far included"""

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 1, self.count


class SkipConfig(ContextConfig):
    """The bytes two and three back."""

    kind: Literal["skip"] = "skip"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 2, 0


class ColumnConfig(ContextConfig):
    """The column in the line, the byte above it and the last byte: tables and source code."""

    kind: Literal["column"] = "column"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 3, 0


class WordAboveConfig(ContextConfig):
    """The word so far and the byte above."""

    kind: Literal["word-above"] = "word-above"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 4, 0


class MatchConfig(ContextConfig):
    """The bytes that the match models expect, and the lengths of their matches."""

    kind: Literal["match"] = "match"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 5, 0


class WordSkipConfig(ContextConfig):
    """The word so far and the word before the last one."""

    kind: Literal["word-skip"] = "word-skip"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 6, 0


class ShapeConfig(ContextConfig):
    """The word so far, the last byte, and which of the last eight bytes are letters."""

    kind: Literal["shape"] = "shape"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 7, 0


class FollowersConfig(ContextConfig):
    """The last byte, and the two bytes that followed the last two bytes when they occurred before."""

    kind: Literal["followers"] = "followers"

    @property
    @override
    def code(self) -> tuple[int, int]:
        return 8, 0


ContextChoice = Annotated[
    OrderConfig
    | WordsConfig
    | SkipConfig
    | ColumnConfig
    | WordAboveConfig
    | MatchConfig
    | WordSkipConfig
    | ShapeConfig
    | FollowersConfig,
    Tagged(),
]
ALL: tuple[ContextChoice, ...] = (
    *(OrderConfig(length=length) for length in (0, 1, 2, 3, 4, 5, 6, 8, 11)),
    *(WordsConfig(count=count) for count in (1, 2, 3)),
    WordSkipConfig(),
    SkipConfig(),
    ColumnConfig(),
    WordAboveConfig(),
    ShapeConfig(),
    FollowersConfig(),
    MatchConfig(),
)
"""the contexts of the shipped model"""
