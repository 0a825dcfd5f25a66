"""Which tensors have a row for each token: what has to change when the vocabulary does."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn


class TokenIndexed(nn.Module):
    """A module with tensors whose rows stand for tokens; abstract."""

    @abstractmethod
    def token_rows(self) -> dict[str, range]:
        """By the name of each such tensor the tokens, in order, that its first rows stand for.

        Rows after these stand for something else, such as the clusters of an adaptive softmax.
        """


def token_rows(module: nn.Module) -> dict[str, range]:
    """The same for a module and all within it, by the names of `named_parameters` (a shared tensor under each)."""
    return {
        f"{place}.{name}" if place else name: tokens
        for place, part in module.named_modules()
        if isinstance(part, TokenIndexed)
        for name, tokens in part.token_rows().items()
    }
