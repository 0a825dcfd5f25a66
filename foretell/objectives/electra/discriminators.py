"""What the main model of ELECTRA tells of tokens that may have been replaced (arXiv:2003.10555, sections 3.1 and 3.4).

B rows, T places, N chosen places, D width, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.kernels.cross_entropy import CHUNK
from foretell.nn.activation import ACTIVATIONS, ActivationName
from foretell.nn.heads import Head
from foretell.nn.heads.head import softmax_dtype
from foretell.nn.initializers import NormalConfig
from foretell.nn.ragged import real_tokens
from foretell.objectives.masked import gather_targets, masked_loss
from foretell.types import IGNORED, Batch

Counts = dict[str, Tensor]


class TokenDiscriminator(nn.Module):
    """What stands on the main model; abstract: subclasses are final."""

    term: str
    """what its loss is called"""
    everywhere: bool
    """whether it tells of all tokens, or of those the generator had to guess"""

    @abstractmethod
    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        """vectors [B, T, D] of the tokens `seen` [B, T] -> the sum of its losses [], and in evaluation how often it
        was right [] (by the name of its term), with what else `shares` asks for."""

    def shares(self, counts: Mapping[str, int]) -> dict[str, float]:
        """What these counts, added up, say beside how often it was right."""
        return {}


class Discriminator(TokenDiscriminator):
    """Whether a token was replaced: dense, activation, and one number, above zero if so."""

    term = "replaced"

    def __init__(self, width: int, *, everywhere: bool, activation: ActivationName, initial: NormalConfig):
        super().__init__()
        self.everywhere = everywhere
        self.dense, self.prediction = nn.Linear(width, width), nn.Linear(width, 1)
        self.activate = ACTIVATIONS[activation]
        for layer in (self.dense, self.prediction):
            initial.fill(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        """See `TokenDiscriminator.forward`."""
        scores = self.prediction(self.activate(self.dense(vectors)))[..., 0]  # [B, T]
        scores = scores.to(softmax_dtype(scores))
        replaced = seen != originals(batch)
        told = real(batch) if self.everywhere else batch.targets != IGNORED
        losses = F.binary_cross_entropy_with_logits(scores, replaced.to(scores.dtype), reduction="none")
        return (losses * told).sum(), {} if self.training else self._counts(replaced & told, (scores > 0) & told, told)

    def _counts(self, there: Tensor, found: Tensor, told: Tensor) -> Counts:
        """Of what is replaced, what is called so, and what is told of, all [B, T]."""
        return {
            "replaced": (told & (there == found)).sum(),
            "replaced_there": there.sum(),
            "replaced_told": found.sum(),
            "replaced_found": (there & found).sum(),
        }

    def shares(self, counts: Mapping[str, int]) -> dict[str, float]:
        """How many of those it calls replaced are, and how many of the replaced it finds: who says "original" of all
        is nearly always right, and has found nothing."""
        there, told, found = (counts[f"replaced_{name}"] for name in ("there", "told", "found"))
        return {"replaced_precision": found / max(told, 1), "replaced_recall": found / max(there, 1)}


class TokenRestorer(TokenDiscriminator):
    """What the tokens were that the generator had to guess: a masked model that sees samples for masks."""

    term, everywhere = "original", False

    def __init__(self, head: Head):
        super().__init__()
        self.head = head

    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        """See `TokenDiscriminator.forward`."""
        loss, right = masked_loss(self.head, *gather_targets(vectors, batch), training=self.training)
        return loss, {self.term: right}


class CopyingRestorer(TokenDiscriminator):
    """What every token was: with D the probability that it is the one that is there, D * [it is] + (1 - D) * p."""

    term, everywhere = "original", True

    def __init__(self, head: Head, width: int, initial: NormalConfig):
        super().__init__()
        self.head, self.copies = head, nn.Linear(width, 1)
        initial.fill(self.copies.weight)
        nn.init.zeros_(self.copies.bias)

    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        """See `TokenDiscriminator.forward`."""
        flat, shown, targets = vectors.flatten(0, 1), seen.flatten(), originals(batch).flatten()
        told, score = real(batch).flatten(), self.copies(flat)[:, 0]  # [B * T]
        score = score.to(softmax_dtype(score))
        others = F.logsigmoid(-score) - self.head.nll(flat, targets)
        log_probs = torch.where(shown == targets, torch.logaddexp(F.logsigmoid(score), others), others)
        right = score.new_zeros(()) if self.training else (self._guesses(flat, shown, score) == targets)[told].sum()
        return -(log_probs * told).sum(), {self.term: right}

    def _guesses(self, vectors: Tensor, shown: Tensor, score: Tensor) -> Tensor:
        """The most probable token of each place [B * T], without holding V numbers for all of them."""
        guesses = []
        height = max(CHUNK // int(self.head.log_probs(vectors[:1]).shape[-1]), 1)
        for part, token, copying in zip(vectors.split(height), shown.split(height), score.split(height), strict=True):
            probabilities = self.head.log_probs(part).exp() * (-copying).sigmoid()[:, None]  # [n, V]
            copied = copying.sigmoid()[:, None].to(probabilities.dtype)
            guesses.append(probabilities.scatter_add(1, token[:, None], copied).argmax(-1))
        return torch.cat(guesses)


def originals(batch: Batch) -> Tensor:
    """[B, T] the tokens before any were hidden."""
    return torch.where(batch.targets != IGNORED, batch.targets, batch.inputs.tokens)


def real(batch: Batch) -> Tensor:
    """[B, T] bool: the places that are no padding."""
    if batch.inputs.lengths is None:
        return torch.ones_like(batch.targets, dtype=torch.bool)
    return real_tokens(batch.targets.shape[1], batch.inputs.lengths)
