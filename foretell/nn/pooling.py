"""Pooling: one vector per text from one per token.

N texts, T tokens, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from foretell.config import Config, Tagged
from foretell.nn.ragged import real_tokens


class PoolingConfig(Config):
    """Base of the kinds of pooling."""

    times: ClassVar[int] = 1
    """width of the result relative to the tokens' vectors"""
    needs_both_sides: ClassVar[bool] = False
    """whether the chosen token has to see the tokens after it"""
    dense: bool = False
    """apply a dense layer of the same width and a tanh, as BERT does, starting from the model's own if it has one"""

    @abstractmethod
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        """vectors [N, T, D], lengths [N] -> [N, times x D]"""


class FirstConfig(PoolingConfig):
    """The vector of the first token, [CLS] (Devlin et al. 2019, arXiv:1810.04805); for bidirectional models."""

    kind: Literal["first"] = "first"
    needs_both_sides: ClassVar[bool] = True
    dense: bool = True

    @override
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        return vectors[:, 0]


class LastConfig(PoolingConfig):
    """The vector of the last token."""

    kind: Literal["last"] = "last"

    @override
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return vectors[:, -1]
        return vectors[torch.arange(len(vectors), device=vectors.device), (lengths - 1).clamp(min=0)]


class ExtractConfig(LastConfig):
    """The vector of a special token at the end of the text (Radford et al. 2018, GPT)."""

    kind: Literal["extract"] = "extract"  # type: ignore[assignment]


class MeanConfig(PoolingConfig):
    """The mean over tokens (Reimers and Gurevych 2019, arXiv:1908.10084)."""

    kind: Literal["mean"] = "mean"

    @override
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return vectors.mean(1)
        real = real_tokens(vectors.shape[1], lengths)[..., None]  # [N, T, 1]
        return (vectors * real).sum(1) / lengths.clamp(min=1)[:, None]


class MaxConfig(PoolingConfig):
    """The maximum over tokens, in each dimension."""

    kind: Literal["max"] = "max"

    @override
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return vectors.amax(1)
        padding = ~real_tokens(vectors.shape[1], lengths.clamp(min=1))[..., None]
        return vectors.masked_fill(padding, -torch.inf).amax(1)


class ConcatConfig(PoolingConfig):
    """Last, maximum and mean concatenated (Howard and Ruder 2018, ULMFiT, arXiv:1801.06146)."""

    kind: Literal["concat"] = "concat"
    times: ClassVar[int] = 3

    @override
    def pool(self, vectors: Tensor, lengths: Tensor | None) -> Tensor:
        parts = [pooling.pool(vectors, lengths) for pooling in (LastConfig(), MaxConfig(), MeanConfig())]
        return torch.cat(parts, -1)


PoolingChoice = Annotated[
    FirstConfig | LastConfig | MeanConfig | MaxConfig | ConcatConfig | ExtractConfig,
    Tagged(),
]
