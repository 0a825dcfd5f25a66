"""What is known of the tokens: which tensors have a row for each of them, and how often each occurs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

Counts = NDArray[np.int64]
"""[V] how often each token occurs in the training split"""


class TokenIndexed(nn.Module):
    """A module with tensors whose rows stand for tokens; abstract."""

    @abstractmethod
    def token_rows(self) -> dict[str, Sequence[int]]:
        """By the name of each such tensor the tokens, in order, that its first rows stand for.

        Rows after these stand for something else, such as the clusters of an adaptive softmax. A `ConfigError` where
        what was learnt is of no use to another vocabulary.
        """


def token_rows(module: nn.Module) -> dict[str, Sequence[int]]:
    """The same for a module and all within it, by the names of `named_parameters` (a shared tensor under each)."""
    return {
        f"{place}.{name}" if place else name: tokens
        for place, part in module.named_modules()
        if isinstance(part, TokenIndexed)
        for name, tokens in part.token_rows().items()
    }


def shares(counts: Counts | None, vocabulary: int) -> NDArray[np.float64]:
    """[V] the share of each token in the training split, none of them zero: one more of each is counted.

    Without counts, as Zipf has it for ids that go by falling frequency: proportional to 1 / (id + 1).
    """
    weights = 1.0 / np.arange(1, vocabulary + 1) if counts is None else counts + 1.0
    found: NDArray[np.float64] = weights / weights.sum()
    return found
