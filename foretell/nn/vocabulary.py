"""Tensors with a row per token, and token frequencies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

Counts = NDArray[np.int64]
"""[V] number of occurrences of each token in the training split"""


class TokenIndexed(nn.Module):
    """A module with tensors that have a row per token; abstract."""

    @abstractmethod
    def token_rows(self) -> dict[str, Sequence[int]]:
        """Map the name of each such tensor to the tokens of its first rows.

        Later rows are for something else, such as the clusters of an adaptive softmax. Raises `ConfigError` if what
        was learned cannot be transferred to another vocabulary.
        """


def token_rows(module: nn.Module) -> dict[str, Sequence[int]]:
    """Collect `TokenIndexed.token_rows` of all submodules, by parameter name; a shared tensor has several."""
    return {
        f"{path}.{name}" if path else name: tokens
        for path, part in module.named_modules()
        if isinstance(part, TokenIndexed)
        for name, tokens in part.token_rows().items()
    }


def shares(counts: Counts | None, vocabulary: int) -> NDArray[np.float64]:
    """[V] share of each token in the training split, with add-one smoothing.

    Without counts, Zipf's law for ids sorted by frequency: proportional to 1 / (id + 1).
    """
    weights = 1.0 / np.arange(1, vocabulary + 1) if counts is None else counts + 1.0
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised
