"""The mixers of a context-mixing model: each is many rows of weights, of which the place in the text selects one."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from foretell.config import Config, Tagged
from foretell.models.context_mixing.tables import MATCH_STATES, MATCHES


class MixerConfig(Config):
    """Base of the settings of mixers; abstract."""

    rows: ClassVar[int]
    """rows of weights"""

    @property
    @abstractmethod
    def code(self) -> int:
        """Number of the kind, as `compiled.select` reads it."""


class BitsConfig(MixerConfig):
    """Selected by the bits of the byte so far, and by what the matches expect."""

    kind: Literal["bits"] = "bits"
    rows = 256 * MATCH_STATES

    @property
    @override
    def code(self) -> int:
        return 0


class HighestConfig(MixerConfig):
    """Selected by the longest context of last bytes that was seen before."""

    kind: Literal["highest"] = "highest"
    rows = 32 * 8

    @property
    @override
    def code(self) -> int:
        return 1


class ByteConfig(MixerConfig):
    """Selected by one of the last bytes and the bits of the byte so far."""

    kind: Literal["byte"] = "byte"
    back: Annotated[int, Field(ge=1, le=3)] = 1
    """how far back: 1 is the last byte"""
    rows = 256 * 256

    @property
    @override
    def code(self) -> int:
        return 1 + self.back


class MatchLengthConfig(MixerConfig):
    """Selected by the lengths of the matches and what they expect."""

    kind: Literal["match-length"] = "match-length"
    rows = 8**MATCHES * MATCH_STATES

    @property
    @override
    def code(self) -> int:
        return 5


class ExpectedConfig(MixerConfig):
    """Selected by the byte that the longest match expects."""

    kind: Literal["expected"] = "expected"
    rows = 256 * 8

    @property
    @override
    def code(self) -> int:
        return 6


class WordLengthConfig(MixerConfig):
    """Selected by the letters of the word so far and the bits of the byte so far."""

    kind: Literal["word-length"] = "word-length"
    rows = 16 * 256

    @property
    @override
    def code(self) -> int:
        return 7


class CountsConfig(MixerConfig):
    """Selected by how often five of the contexts were seen: the third to the seventh."""

    kind: Literal["counts"] = "counts"
    rows = 4**5 * 8

    @property
    @override
    def code(self) -> int:
        return 8


class WordConfig(MixerConfig):
    """Selected by the word so far and the bits of the byte so far, hashed."""

    kind: Literal["word"] = "word"
    rows = 1 << 16

    @property
    @override
    def code(self) -> int:
        return 9


MixerChoice = Annotated[
    BitsConfig
    | HighestConfig
    | ByteConfig
    | MatchLengthConfig
    | ExpectedConfig
    | WordLengthConfig
    | CountsConfig
    | WordConfig,
    Tagged(),
]
ALL: tuple[MixerChoice, ...] = (
    BitsConfig(),
    HighestConfig(),
    ByteConfig(back=1),
    ByteConfig(back=2),
    MatchLengthConfig(),
    ExpectedConfig(),
    WordLengthConfig(),
    CountsConfig(),
    WordConfig(),
)
"""the mixers of the shipped model"""
