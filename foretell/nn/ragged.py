"""Windows whose rows are texts of different lengths, or several texts packed behind each other.

B rows, T places of a row, N real tokens, S texts. A text is a row up to its length, or a run of one document's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from foretell.types import Inputs


@dataclass(frozen=True)
class Ragged:
    """The real tokens alone, in order of the lengths of their texts: no padding is computed, no mask is needed.

    Texts of one length lie side by side as rectangles. Making it reads sizes on the host, which on an accelerator
    would wait for the device; there masks do the same (`visible`).
    """

    index: Tensor
    """[N] int64: where each token is in the window, rows one after the other"""
    places: Tensor
    """[N] int64: place of each token in its text"""
    rectangles: tuple[tuple[int, int], ...]
    """(n, t): first n texts of t tokens each, and so on"""
    shape: tuple[int, int]
    """B and T"""

    @classmethod
    def of(cls, tokens: Tensor, lengths: Tensor | None, documents: Tensor | None) -> Self:
        """Of a window of tokens [B, T]."""
        rows, steps = tokens.shape
        firsts = first_tokens(tokens, documents)
        if lengths is None:
            index = torch.arange(tokens.numel(), device=tokens.device)
        else:
            index = real_tokens(steps, lengths).flatten().nonzero()[:, 0]  # [N]
        number = firsts.flatten()[index].cumsum(0) - 1  # [N] which text
        sizes = number.bincount()  # [S]
        begins = index[firsts.flatten()[index]]  # [S]
        places = index - begins[number]
        order = sizes[number].argsort(stable=True)
        lengths_there, texts = sizes.unique(return_counts=True)
        rectangles = tuple(zip(texts.tolist(), lengths_there.tolist(), strict=True))
        return cls(index[order], places[order], rectangles, (rows, steps))

    def pick(self, inputs: Inputs) -> Inputs:
        """The tokens of a window, their places and segments, as one row [1, N]."""
        return Inputs(
            tokens=self._picked(inputs.tokens),
            positions=self.places[None] if inputs.positions is None else self._picked(inputs.positions),
            segments=None if inputs.segments is None else self._picked(inputs.segments),
        )

    def _picked(self, window: Tensor) -> Tensor:
        """[B, T] -> [1, N]"""
        return window.flatten().index_select(0, self.index)[None]

    def spread(self, outputs: Tensor) -> Tensor:
        """[1, N, D] -> [B, T, D], zeros where there is no token"""
        rows, steps = self.shape
        window = outputs.new_zeros(rows * steps, outputs.shape[-1])
        return window.index_copy(0, self.index, outputs[0]).view(rows, steps, -1)


def real_tokens(steps: int, lengths: Tensor) -> Tensor:
    """lengths [B] -> [B, T] bool"""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def first_tokens(tokens: Tensor, documents: Tensor | None) -> Tensor:
    """Where a text begins, of tokens and documents [B, T] -> [B, T] bool."""
    firsts = torch.zeros_like(tokens, dtype=torch.bool)
    firsts[:, 0] = True
    if documents is not None:
        firsts[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return firsts


def places_in_texts(tokens: Tensor, documents: Tensor) -> Tensor:
    """[B, T] int64: place of each token in its document."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    begins = torch.where(first_tokens(tokens, documents), place, 0).cummax(1).values
    return place - begins


def visible(tokens: Tensor, lengths: Tensor | None, documents: Tensor | None, causal: bool) -> Tensor:
    """[B, 1, 1 or T, T] bool: who may look at whom in a window of tokens [B, T].

    Nobody is left without anything to look at, which would be 0 / 0: where a row is empty, its first place is seen.
    """
    steps = tokens.shape[1]
    seen = torch.ones_like(tokens, dtype=torch.bool)[:, None]  # [B, 1, T]
    if lengths is not None:
        seen = real_tokens(steps, lengths.clamp(min=1))[:, None]
    if documents is not None:
        number = first_tokens(tokens, documents).cumsum(1)
        seen = seen & (number[:, :, None] == number[:, None])  # [B, T, T]
    if causal:
        seen = seen & torch.ones(steps, steps, dtype=torch.bool, device=tokens.device).tril()
    if documents is not None and lengths is not None:  # padding may have a number of its own
        seen = seen | torch.eye(steps, dtype=torch.bool, device=tokens.device)
    return seen[:, None]
