"""Discriminators of ELECTRA: what the main model predicts of tokens that may be replaced.

arXiv:2003.10555, sections 3.1 and 3.4. B rows, T positions, N masked positions, D width, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

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
    """Output layers of the main model; abstract."""

    term: str
    """name of its loss"""
    all_positions: bool
    """whether it predicts at all positions, or at masked ones only"""

    @abstractmethod
    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        """Vectors [B, T, D] of the tokens `seen` [B, T] -> the sum of losses [], and counts [] for evaluation.

        The counts are the correct predictions, under the name of the term, and what `ratios` needs besides.
        """

    def ratios(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Metrics in addition to the accuracy, from summed counts."""
        return {}


class Discriminator(TokenDiscriminator):
    """Predicts whether a token was replaced: dense, activation, and a logit."""

    term = "replaced"

    def __init__(self, width: int, *, all_positions: bool, activation: ActivationName, initial: NormalConfig):
        super().__init__()
        self.all_positions = all_positions
        self.dense, self.prediction = nn.Linear(width, width), nn.Linear(width, 1)
        self.activate = ACTIVATIONS[activation]
        for layer in (self.dense, self.prediction):
            initial.fill(layer.weight)
            nn.init.zeros_(layer.bias)

    @override
    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        scores = self.prediction(self.activate(self.dense(vectors)))[..., 0]  # [B, T]
        scores = scores.to(softmax_dtype(scores))
        replaced = seen != originals(batch)
        scored = real(batch) if self.all_positions else batch.targets != IGNORED
        losses = F.binary_cross_entropy_with_logits(scores, replaced.to(scores.dtype), reduction="none")
        if self.training:
            return (losses * scored).sum(), {}
        return (losses * scored).sum(), self._counts(replaced & scored, (scores > 0) & scored, scored)

    def _counts(self, replaced: Tensor, predicted: Tensor, scored: Tensor) -> Counts:
        """Confusion counts over replaced, predicted and scored tokens, all [B, T]."""
        return {
            "replaced": (scored & (replaced == predicted)).sum(),
            "replaced_gold": replaced.sum(),
            "replaced_predicted": predicted.sum(),
            "replaced_right": (replaced & predicted).sum(),
        }

    @override
    def ratios(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Precision and recall: predicting "original" everywhere is nearly always right, and finds nothing."""
        gold, predicted, right = (counts[f"replaced_{name}"] for name in ("gold", "predicted", "right"))
        return {"replaced_precision": right / max(predicted, 1), "replaced_recall": right / max(gold, 1)}


class TokenRestorer(TokenDiscriminator):
    """Predicts the original tokens at masked positions: a masked model that reads samples instead of masks."""

    term, all_positions = "original", False

    def __init__(self, head: Head):
        super().__init__()
        self.head = head

    @override
    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        loss, correct = masked_loss(self.head, *gather_targets(vectors, batch), training=self.training)
        return loss, {self.term: correct}


class CopyingRestorer(TokenDiscriminator):
    """Predicts the original token at all positions: p(token) = D [token is the one read] + (1 - D) p_head(token).

    D is the probability that the token was not replaced.
    """

    term, all_positions = "original", True

    def __init__(self, head: Head, width: int, initial: NormalConfig):
        super().__init__()
        self.head, self.copies = head, nn.Linear(width, 1)
        initial.fill(self.copies.weight)
        nn.init.zeros_(self.copies.bias)

    @override
    def forward(self, vectors: Tensor, batch: Batch, seen: Tensor) -> tuple[Tensor, Counts]:
        flat, tokens, targets = vectors.flatten(0, 1), seen.flatten(), originals(batch).flatten()
        scored, score = real(batch).flatten(), self.copies(flat)[:, 0]  # [B * T]
        score = score.to(softmax_dtype(score))
        generated = F.logsigmoid(-score) - self.head.nll(flat, targets)
        log_probs = torch.where(tokens == targets, torch.logaddexp(F.logsigmoid(score), generated), generated)
        if self.training:
            return -(log_probs * scored).sum(), {self.term: score.new_zeros(())}
        correct = (self._predictions(flat, tokens, score) == targets)[scored].sum()
        return -(log_probs * scored).sum(), {self.term: correct}

    def _predictions(self, vectors: Tensor, tokens: Tensor, score: Tensor) -> Tensor:
        """The most probable token at each position [B * T], in chunks of probabilities."""
        predictions = []
        rows = max(CHUNK // int(self.head.log_probs(vectors[:1]).shape[-1]), 1)
        for part, token, copying in zip(vectors.split(rows), tokens.split(rows), score.split(rows), strict=True):
            probabilities = self.head.log_probs(part).exp() * (-copying).sigmoid()[:, None]  # [n, V]
            copied = copying.sigmoid()[:, None].to(probabilities.dtype)
            predictions.append(probabilities.scatter_add(1, token[:, None], copied).argmax(-1))
        return torch.cat(predictions)


def originals(batch: Batch) -> Tensor:
    """The tokens before masking [B, T]."""
    return torch.where(batch.targets != IGNORED, batch.targets, batch.inputs.tokens)


def real(batch: Batch) -> Tensor:
    """[B, T] bool: positions that are not padding."""
    if batch.inputs.lengths is None:
        return torch.ones_like(batch.targets, dtype=torch.bool)
    return real_tokens(batch.targets.shape[1], batch.inputs.lengths)
