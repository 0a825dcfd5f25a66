"""A conditional random field over the tags of a sentence.

Lafferty et al. 2001, on the vectors of a network as in Lample et al. 2016 (arXiv:1603.01360). Sums and search over all
tag sequences are pytorch-crf's. B rows, T positions, K words of the longest row, L tags.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from foretell.errors import ConfigError


class Chain(nn.Module):
    """Transition scores between neighbouring words, added to the scores of each word; other positions are skipped."""

    def __init__(self, tags: int):
        super().__init__()
        self.field = library().CRF(tags, batch_first=True)

    def loss(self, scores: Tensor, tags: Tensor, words: Tensor) -> Tensor:
        """Scores [B, T, L], tags [B, T], words [B, T] bool -> the sum over rows of -log p(all tags of its words) []."""
        positions, real = word_positions(words)
        tags = tags.gather(1, positions).masked_fill(~real, 0)
        return -self.field(self.gathered(scores, positions), tags, real)  # type: ignore[no-any-return]

    def likeliest(self, scores: Tensor, words: Tensor) -> Tensor:
        """Scores [B, T, L], words [B, T] bool -> the likeliest tags (Viterbi) and their marginals [B, T, 2].

        The marginal of a tag is 1 - d log p(sequence) / d score. Other positions hold zeros.
        """
        positions, real = word_positions(words)
        scores = self.gathered(scores, positions).detach()
        path = torch.zeros_like(positions)
        for row, tags in zip(path, self.field.decode(scores, real), strict=True):
            row[: len(tags)] = torch.tensor(tags)
        with torch.enable_grad():
            total = self.field(scores.requires_grad_(), path, real)
            (gradient,) = torch.autograd.grad(total, scores)  # [B, K, L]
        marginals = 1 - gradient.gather(2, path[..., None])[..., 0]
        pairs = torch.stack([path.to(marginals.dtype), marginals], -1) * real[..., None]  # [B, K, 2]
        return pairs.new_zeros(*words.shape, 2).scatter(1, positions[..., None].expand(-1, -1, 2), pairs)

    def gathered(self, scores: Tensor, positions: Tensor) -> Tensor:
        """Scores [B, T, L] at positions [B, K] -> [B, K, L], in no lower precision than the weights."""
        dtype = torch.promote_types(scores.dtype, self.field.transitions.dtype)
        return scores.to(dtype).gather(1, positions[..., None].expand(-1, -1, scores.shape[-1]))


def word_positions(words: Tensor) -> tuple[Tensor, Tensor]:
    """Words [B, T] bool -> positions [B, K] of each row's words, then of others, and which of them are words."""
    order = words.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    positions = order[:, : int(words.sum(1).max())]
    return positions, words.gather(1, positions)


def library() -> Any:
    """pytorch-crf, imported only here."""
    try:
        import torchcrf
    except ImportError:
        raise ConfigError("objective.crf: a conditional random field needs pip install 'foretell[crf]'") from None
    return torchcrf
