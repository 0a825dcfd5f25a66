"""Windows whose rows are texts of different lengths, or several documents packed into a row.

B rows, T steps, N real tokens, S texts. A text is a row up to its length, or one document of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from foretell.types import Inputs


@dataclass(frozen=True)
class Ragged:
    """The real tokens alone, sorted by the length of their text: no padding is computed and no mask is needed.

    Texts of one length form a rectangle. Building it reads sizes on the host, so an accelerator would wait; there
    `attention_mask` is used instead.
    """

    index: Tensor
    """[N] int64: index of each token in the flattened window"""
    positions: Tensor
    """[N] int64: position of each token in its text"""
    rectangles: tuple[tuple[int, int], ...]
    """(n, t): first n texts of t tokens each, and so on"""
    shape: tuple[int, int]
    """B and T"""

    @classmethod
    def of(cls, tokens: Tensor, lengths: Tensor | None, documents: Tensor | None) -> Self:
        """Sort the texts of a window of tokens [B, T]."""
        rows, steps = tokens.shape
        firsts = first_tokens(tokens, documents)
        if lengths is None:
            index = torch.arange(tokens.numel(), device=tokens.device)
        else:
            index = real_tokens(steps, lengths).flatten().nonzero()[:, 0]  # [N]
        number = firsts.flatten()[index].cumsum(0) - 1  # [N] number of the text
        sizes = number.bincount()  # [S]
        begins = index[firsts.flatten()[index]]  # [S]
        positions = index - begins[number]
        order = sizes[number].argsort(stable=True)
        distinct, texts = sizes.unique(return_counts=True)
        rectangles = tuple(zip(texts.tolist(), distinct.tolist(), strict=True))
        return cls(index[order], positions[order], rectangles, (rows, steps))

    def pick(self, inputs: Inputs) -> Inputs:
        """Flatten the tokens of a window, their positions and segments into one row [1, N]."""
        return Inputs(
            tokens=self._picked(inputs.tokens),
            positions=self.positions[None] if inputs.positions is None else self._picked(inputs.positions),
            segments=None if inputs.segments is None else self._picked(inputs.segments),
        )

    def _picked(self, window: Tensor) -> Tensor:
        """[B, T] -> [1, N]"""
        return window.flatten().index_select(0, self.index)[None]

    def spread(self, outputs: Tensor) -> Tensor:
        """[1, N, D] -> [B, T, D], with zeros for padding"""
        rows, steps = self.shape
        window = outputs.new_zeros(rows * steps, outputs.shape[-1])
        return window.index_copy(0, self.index, outputs[0]).view(rows, steps, -1)


def real_tokens(steps: int, lengths: Tensor) -> Tensor:
    """lengths [B] -> [B, T] bool, false for padding"""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def first_tokens(tokens: Tensor, documents: Tensor | None) -> Tensor:
    """tokens and documents [B, T] -> [B, T] bool, true where a text begins"""
    firsts = torch.zeros_like(tokens, dtype=torch.bool)
    firsts[:, 0] = True
    if documents is not None:
        firsts[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return firsts


def positions_in_documents(tokens: Tensor, documents: Tensor) -> Tensor:
    """[B, T] int64: position of each token in its document"""
    position = torch.arange(tokens.shape[1], device=tokens.device)
    begins = torch.where(first_tokens(tokens, documents), position, 0).cummax(1).values
    return position - begins
