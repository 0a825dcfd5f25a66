"""The denominator of a batch's loss before the backward pass.

Every term of an objective is a sum, and `Objective.counts` gives its number of targets: their quotient is the mean
over tokens, which is always what is reported. The gradient may be that of another mean, with S the sum over all tokens,
N the number of tokens, R the number of rows that have any, and L the length of the longest row without padding:

    tokens      S / N         every token counts the same in its batch
    sequences   S / R         every sequence counts as much as its tokens together: gradients grow with its length
    longest     S / (R * L)   the mean over the batch of each sequence's sum, divided by the longest sequence's length

"longest" equals the mean over tokens where all rows have the same length, so hyper-parameters carry over between data
sets; a short row counts less than a long one in its batch. All three are known from the whole batch before the backward
pass, so micro-batches add up to exactly the same gradient.
"""

from __future__ import annotations

from typing import Literal

from foretell.types import IGNORED, Batch

Normalisation = Literal["tokens", "sequences", "longest"]


def loss_factor(batch: Batch, normalise: Normalisation) -> float:
    """The chosen mean divided by the mean over tokens: 1, N / R or N / (R * L). Takes the host's copy of a batch."""
    if normalise == "tokens":
        return 1.0
    targets = (batch.targets != IGNORED).sum(1)  # [B]
    tokens, rows = int(targets.sum()), int((targets > 0).sum())
    if rows == 0:  # a batch with labels only
        return 1.0
    if normalise == "sequences":
        return tokens / rows
    lengths = batch.inputs.lengths
    longest = batch.targets.shape[1] if lengths is None else int(lengths.max())
    return tokens / (rows * longest)
