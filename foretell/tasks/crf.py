"""Tags that depend on those of the words around them: a conditional random field over a sentence.

Lafferty et al. 2001, on the vectors of a network as in Lample et al. 2016 (arXiv:1603.01360). The sums and the search
over all sequences of tags are pytorch-crf's. B rows, T places, K words of the longest row, L tags.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from foretell.errors import ConfigError


class Chain(nn.Module):
    """What is said of words by themselves, and besides which tags follow each other; other places are passed over."""

    def __init__(self, tags: int):
        super().__init__()
        self.field = library().CRF(tags, batch_first=True)

    def loss(self, scores: Tensor, tags: Tensor, words: Tensor) -> Tensor:
        """scores [B, T, L], tags [B, T], words [B, T] bool -> [] the sum over rows of -log p(all tags of its words)"""
        at, real = places(words)
        return -self.field(self.gathered(scores, at), tags.gather(1, at).masked_fill(~real, 0), real)  # type: ignore[no-any-return]

    def likeliest(self, scores: Tensor, words: Tensor) -> Tensor:
        """scores [B, T, L], words [B, T] bool -> [B, T, 2] the tags of the likeliest sequence (Viterbi), and how
        probable each is over all sequences, which is 1 - d log p(sequence) / d score; zeros elsewhere"""
        at, real = places(words)
        scores = self.gathered(scores, at).detach()
        path = torch.zeros_like(at)
        for row, found in zip(path, self.field.decode(scores, real), strict=True):
            row[: len(found)] = torch.tensor(found)
        with torch.enable_grad():
            total = self.field(scores.requires_grad_(), path, real)
            (gradient,) = torch.autograd.grad(total, scores)  # [B, K, L]
        sure = 1 - gradient.gather(2, path[..., None])[..., 0]
        told = torch.stack([path.to(sure.dtype), sure], -1) * real[..., None]  # [B, K, 2]
        return told.new_zeros(*words.shape, 2).scatter(1, at[..., None].expand(-1, -1, 2), told)

    def gathered(self, scores: Tensor, at: Tensor) -> Tensor:
        """scores [B, T, L], at [B, K] -> [B, K, L], no less precise than the weights"""
        softmax_dtype = torch.promote_types(scores.dtype, self.field.transitions.dtype)
        return scores.to(softmax_dtype).gather(1, at[..., None].expand(-1, -1, scores.shape[-1]))


def places(words: Tensor) -> tuple[Tensor, Tensor]:
    """words [B, T] bool -> [B, K] the places of the words of each row, then others; and which of them are words"""
    order = words.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    at = order[:, : int(words.sum(1).max())]
    return at, words.gather(1, at)


def library() -> Any:
    """pytorch-crf, imported only here."""
    try:
        import torchcrf
    except ImportError:
        raise ConfigError("objective.crf: to compare the tags of a sentence, pip install 'foretell[crf]'") from None
    return torchcrf
