"""Runs over tokens as runs over bytes, which runs with other tokenizers can be mixed with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache

from typing_extensions import override

from foretell.api.trained import Trained
from foretell.data.tokenizers.kinds import ByteConfig
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.byte_scorer import ByteScorer
from foretell.evaluate.scoring import CheckedScorer, Scorer


@cache
def byte_tokenizer() -> Tokenizer:
    """The tokenizer of bytes."""
    return ByteConfig().train([])


class OverBytes(Trained):
    """A run that predicts bytes by the tokens it was trained on; see `evaluate.byte_scorer`. It does not adapt."""

    def __init__(self, run: Trained):
        self.__dict__ |= {name: part for name, part in vars(run).items() if name != "data"}
        self.inner = copy.copy(run)
        if run.adaptation is not None:
            raise ConfigError("a run that is read byte by byte cannot adapt to the text")
        self.tokenizer, self.counted, self._objective = byte_tokenizer(), None, None
        self.scorer()  # raises where that cannot be

    @property
    @override
    def parameters(self) -> int:
        return self.inner.parameters

    @property
    @override
    def learns_as_it_reads(self) -> bool:
        return False

    @property
    @override
    def plain_digest(self) -> bytes:
        return self.inner.plain_digest

    @override
    def scorer(self, *, ranks: bool = True) -> Scorer:
        return CheckedScorer(ByteScorer(self.inner.scorer(ranks=False), self.inner.tokenizer), str(self.run.path))

    @override
    def context(self, columns: int = 1) -> str:
        return f"{self.inner.context(columns)} (tokens read as bytes, without adaptation)"


def in_one_vocabulary(members: Sequence[Trained]) -> list[Trained]:
    """The runs, over bytes where their vocabularies differ; a `ConfigError` for tokens that do not restore text."""
    if len({member.tokenizer.fingerprint for member in members}) == 1:
        return list(members)
    found, over = list[Trained](), byte_tokenizer().fingerprint
    for member in members:
        try:
            found.append(member if member.tokenizer.fingerprint == over else OverBytes(member))
        except ConfigError as error:
            other = next(one for one in members if one.tokenizer.fingerprint != member.tokenizer.fingerprint)
            raise ConfigError(
                f"{member.run.path} and {other.run.path} have different tokenizers, and {error}; train one with the "
                f'tokenizer of the other: data.tokenizer = {{ kind = "file", path = "{other.run.tokenizer_file}" }}'
            ) from None
    return found
