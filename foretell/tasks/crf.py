"""A conditional random field over the tags of a sentence.

Lafferty et al. 2001, on the vectors of a network as in Lample et al. 2016 (arXiv:1603.01360). B rows, T positions, K
words of the longest row, L tags.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Chain(nn.Module):
    """Transition scores between neighbouring words, added to the scores of each word; other positions are skipped."""

    def __init__(self, tags: int):
        super().__init__()
        self.start = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        """score of each first tag"""
        self.end = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        """score of each last tag"""
        self.transitions = nn.Parameter(torch.empty(tags, tags).uniform_(-0.1, 0.1))
        """score of the tag in the column after the one in the row"""

    def loss(self, scores: Tensor, tags: Tensor, words: Tensor) -> Tensor:
        """Scores [B, T, L], tags [B, T], words [B, T] bool -> the sum over rows of -log p(all tags of its words) []."""
        positions, real = word_positions(words)
        tags = tags.gather(1, positions).masked_fill(~real, 0)
        return -self.log_probability(self.gathered(scores, positions), tags, real).sum()

    def likeliest(self, scores: Tensor, words: Tensor) -> Tensor:
        """Scores [B, T, L], words [B, T] bool -> the likeliest tags (Viterbi) and their marginals [B, T, 2].

        The marginal of a tag is 1 - d log p(sequence) / d score. Other positions hold zeros.
        """
        positions, real = word_positions(words)
        scores = self.gathered(scores, positions).detach()
        path = self.viterbi(scores, real)
        with torch.enable_grad():
            total = self.log_probability(scores.requires_grad_(), path, real).sum()
            (gradient,) = torch.autograd.grad(total, scores)  # [B, K, L]
        marginals = 1 - gradient.gather(2, path[..., None])[..., 0]
        pairs = torch.stack([path.to(marginals.dtype), marginals], -1) * real[..., None]  # [B, K, 2]
        return pairs.new_zeros(*words.shape, 2).scatter(1, positions[..., None].expand(-1, -1, 2), pairs)

    def log_probability(self, scores: Tensor, tags: Tensor, real: Tensor) -> Tensor:
        """Scores [B, K, L], tags [B, K], real words [B, K] bool -> log p of each row's tags [B]; 0 without words."""
        emitted = scores.gather(2, tags[..., None])[..., 0] * real
        moves = self.transitions[tags[:, :-1], tags[:, 1:]] * real[:, 1:]
        last = tags.gather(1, (real.sum(1, keepdim=True) - 1).clamp(min=0))[:, 0]
        path = self.start[tags[:, 0]] + emitted.sum(1) + moves.sum(1) + self.end[last]
        return (path - self.log_partition(scores, real)).where(real[:, 0], 0)

    def log_partition(self, scores: Tensor, real: Tensor) -> Tensor:
        """Scores [B, K, L], real words [B, K] bool -> log of the sum over all tag sequences [B] (forward algorithm)."""
        total = self.start + scores[:, 0]  # [B, L] of sequences that end in each tag
        for k in range(1, scores.shape[1]):
            longer = (total[:, :, None] + self.transitions).logsumexp(1) + scores[:, k]
            total = longer.where(real[:, k, None], total)
        return (total + self.end).logsumexp(1)

    def viterbi(self, scores: Tensor, real: Tensor) -> Tensor:
        """Scores [B, K, L], real words [B, K] bool -> the likeliest tags [B, K], zeros after the words of a row."""
        best, back = self.start + scores[:, 0], []
        stay = torch.arange(scores.shape[2], device=scores.device).expand_as(best)
        for k in range(1, scores.shape[1]):
            longer, before = (best[:, :, None] + self.transitions).max(1)
            now = real[:, k, None]
            best, before = (longer + scores[:, k]).where(now, best), before.where(now, stay)
            back.append(before)
        tags = [(best + self.end).argmax(1, keepdim=True)]
        for before in reversed(back):
            tags.append(before.gather(1, tags[-1]))
        return torch.cat(tags[::-1], 1) * real

    def gathered(self, scores: Tensor, positions: Tensor) -> Tensor:
        """Scores [B, T, L] at positions [B, K] -> [B, K, L], in no lower precision than the weights."""
        dtype = torch.promote_types(scores.dtype, self.transitions.dtype)
        return scores.to(dtype).gather(1, positions[..., None].expand(-1, -1, scores.shape[-1]))


def word_positions(words: Tensor) -> tuple[Tensor, Tensor]:
    """Words [B, T] bool -> positions [B, K] of each row's words, then of others, and which of them are words."""
    order = words.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    positions = order[:, : int(words.sum(1).max())]
    return positions, words.gather(1, positions)
