"""One vector for a text, of one for each of its tokens.

N texts, T places, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from foretell.config import Config, Tagged
from foretell.nn.ragged import real_tokens


class PoolingConfig(Config):
    """What all ways have in common."""

    times: ClassVar[int] = 1
    """how many times as wide the vector is as those of tokens"""
    needs_both_sides: ClassVar[bool] = False
    """whether the chosen token has to have seen the tokens behind it"""
    dense: bool = False
    """whether it goes through a layer of that width and a tanh, as in BERT, whose own goes on if it has one"""

    @abstractmethod
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """vectors [N, T, D], lengths [N] -> [N, times x D]"""


class FirstConfig(PoolingConfig):
    """That of the first token, [CLS] (Devlin et al. 2019, arXiv:1810.04805); of a model that reads from both sides."""

    kind: Literal["first"] = "first"
    needs_both_sides: ClassVar[bool] = True
    dense: bool = True

    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """See `PoolingConfig.pool`."""
        return vectors[:, 0]


class LastConfig(PoolingConfig):
    """That of the last token."""

    kind: Literal["last"] = "last"

    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """See `PoolingConfig.pool`."""
        if lengths is None:
            return vectors[:, -1]
        return vectors[torch.arange(len(vectors), device=vectors.device), (lengths - 1).clamp(min=0)]


class ExtractConfig(LastConfig):
    """That of the token which stands behind the text to be read out there (Radford et al. 2018, GPT)."""

    kind: Literal["extract"] = "extract"  # type: ignore[assignment]


class MeanConfig(PoolingConfig):
    """The mean of all (Reimers and Gurevych 2019, arXiv:1908.10084)."""

    kind: Literal["mean"] = "mean"

    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """See `PoolingConfig.pool`."""
        if lengths is None:
            return vectors.mean(1)
        real = real_tokens(vectors.shape[1], lengths)[..., None]  # [N, T, 1]
        return (vectors * real).sum(1) / lengths.clamp(min=1)[:, None]


class MaxConfig(PoolingConfig):
    """In each dimension the largest of all."""

    kind: Literal["max"] = "max"

    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """See `PoolingConfig.pool`."""
        if lengths is None:
            return vectors.amax(1)
        unreal = ~real_tokens(vectors.shape[1], lengths.clamp(min=1))[..., None]
        return vectors.masked_fill(unreal, -torch.inf).amax(1)


class ConcatConfig(PoolingConfig):
    """The last, the largest and the mean behind each other (Howard and Ruder 2018, ULMFiT, arXiv:1801.06146)."""

    kind: Literal["concat"] = "concat"
    times: ClassVar[int] = 3

    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """See `PoolingConfig.pool`."""
        parts = [way.pool(vectors, lengths) for way in (LastConfig(), MaxConfig(), MeanConfig())]
        return torch.cat(parts, -1)


PoolingChoice = Annotated[
    FirstConfig | LastConfig | MeanConfig | MaxConfig | ConcatConfig | ExtractConfig,
    Tagged(),
]
