"""What a batch's loss is divided by before the backward pass.

Every term of an objective is a sum, and `Objective.counts` says of how many things: their quotient is the mean over
tokens, which is what is reported in any case. The gradient may be that of another mean, with S the sum over all tokens,
N how many there are, R how many rows have any, and L the length of the longest row (padding is no part of it):

    tokens      S / N         every token counts the same in its batch
    sequences   S / R         every sequence counts as much as its tokens together: gradients grow with its length
    longest     S / (R * L)   the mean over the batch of each sequence's sum, divided by the longest sequence's length

"longest" leaves losses as large as those per token wherever all rows are of one length, so that hyper-parameters carry
over between data sets, and lets a short row count less than a long one in its batch. All three are known from the
whole batch before the backward pass, so that micro-batches add up to exactly the same.
"""

from __future__ import annotations

from typing import Literal

from foretell.types import IGNORED, Batch

Normalisation = Literal["tokens", "sequences", "longest"]


def loss_factor(batch: Batch, normalise: Normalisation) -> float:
    """The wanted mean divided by the mean over tokens: 1, N / R or N / (R * L). For the host's copy of a batch."""
    if normalise == "tokens":
        return 1.0
    targets = (batch.targets != IGNORED).sum(1)  # [B]
    tokens, rows = int(targets.sum()), int((targets > 0).sum())
    if rows == 0:  # it has labels instead
        return 1.0
    if normalise == "sequences":
        return tokens / rows
    lengths = batch.inputs.lengths
    longest = batch.targets.shape[1] if lengths is None else int(lengths.max())
    return tokens / (rows * longest)
