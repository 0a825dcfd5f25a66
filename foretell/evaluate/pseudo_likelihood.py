"""Pseudo-likelihood of text under a masked language model.

Salazar et al. 2020, "Masked Language Model Scoring" (arXiv:1910.14659): each token of a row is masked in turn and
predicted from all others. That takes one pass per token, so it is measured on a sample of tokens, from rows spread
evenly over the text. It is not a probability of the text and not comparable with a perplexity. T tokens of a row, n of
them masked, D width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foretell.data.batches.batches import RowBatches
from foretell.data.tokenizers.specials import Specials
from foretell.errors import ConfigError
from foretell.evaluate.scoring import perplexity
from foretell.objectives.objective import Objective
from foretell.types import Batch, OnProgress, no_progress

TOKENS_AT_ONCE = 2**13
"""tokens computed side by side"""


@torch.no_grad()
def pseudo_likelihood(
    objective: Objective,
    rows: RowBatches,
    specials: Specials,
    tokens: int,
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """The mean of -log p(token | the others of its row) in nats over `tokens` tokens, or all of the text.

    Special tokens are never masked. `pseudo_rows` is the number of rows the tokens come from.
    """
    assert specials.mask is not None
    begin, marks = time.perf_counter(), torch.tensor(specials.marks)
    nats, done, read = 0.0, 0, 0
    for row in spread(rows.number(), tokens, rows.length):
        if done >= tokens:
            break
        on_progress(done / tokens)
        batch = rows.pick(np.array([row]))
        positions = (~torch.isin(batch.inputs.tokens[0], marks)).nonzero()[:, 0][: tokens - done]  # [n]
        for part in positions.split(max(1, TOKENS_AT_ONCE // batch.inputs.tokens.shape[1])):
            nats += float(masked_loss(objective, batch, part, specials.mask, device).sum())
        done += len(positions)
        read += 1
    if not done or not math.isfinite(nats):
        fault = "has no token to mask" if not done else "gets probabilities that are not numbers (NaN)"
        raise ConfigError(f"pseudo-likelihood: this text {fault}; use another one")
    loss = nats / done
    return {
        "pseudo_loss": loss,
        "pseudo_perplexity": perplexity(loss),
        "pseudo_tokens": done,
        "pseudo_rows": read,
        "pseudo_seconds": time.perf_counter() - begin,
    }


def spread(rows: int, tokens: int, length: int) -> Iterator[int]:
    """All rows, evenly spaced ones with about that many tokens first."""
    step = max(1, rows * length // (2 * max(tokens, 1)))
    for offset in range(step):
        yield from range(offset, rows, step)


def masked_loss(objective: Objective, batch: Batch, positions: Tensor, mask: int, device: torch.device) -> Tensor:
    """-log p [n] of a row's tokens [1, T] at positions [n], each masked alone, in n copies of the row."""
    inputs, copies = batch.inputs.repeat(len(positions)), torch.arange(len(positions))
    targets = batch.inputs.tokens[0, positions]
    inputs.tokens[copies, positions] = mask
    hidden = objective.backbone(inputs.to(device), None).last  # [n, T, D]
    vectors = hidden[copies.to(device), positions.to(device)]
    return objective.head.nll(vectors, targets.to(device)).double()
