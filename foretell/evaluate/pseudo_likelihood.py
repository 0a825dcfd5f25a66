"""The pseudo-likelihood of text under a model that guesses hidden tokens.

Salazar et al. 2020, "Masked Language Model Scoring" (arXiv:1910.14659): each token of a row is hidden in turn and
guessed from all the others. That takes a pass for each token, so it is measured on so many tokens, from rows spread
evenly over the text. It is no probability of the text, and not to be compared with a perplexity.
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
from foretell.data.tokenizers.tokenizer import Specials
from foretell.errors import ConfigError
from foretell.evaluate.scoring import OnProgress, no_progress, perplexity
from foretell.objectives.objective import Objective
from foretell.types import Batch

SIDE_BY_SIDE = 2**13
"""tokens computed at once"""


@torch.no_grad()
def pseudo_likelihood(
    objective: Objective,
    rows: RowBatches,
    specials: Specials,
    tokens: int,
    device: torch.device,
    on_progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """The mean of -log p(token | the others of its row) in nats over `tokens` tokens, or all there are.

    Tokens that stand for no text are never hidden. `pseudo_rows` tells how many rows they are from.
    """
    assert specials.mask is not None
    begin, marks = time.perf_counter(), torch.tensor(specials.marks)
    nats, done, read = 0.0, 0, 0
    for row in spread(rows.number(), tokens, rows.length):
        if done >= tokens:
            break
        on_progress(done / tokens)
        batch = rows.pick(np.array([row]))
        places = (~torch.isin(batch.inputs.tokens[0], marks)).nonzero()[:, 0][: tokens - done]  # [n]
        for part in places.split(max(1, SIDE_BY_SIDE // batch.inputs.tokens.shape[1])):
            nats += float(masked_loss(objective, batch, part, specials.mask, device).sum())
        done += len(places)
        read += 1
    if not done or not math.isfinite(nats):
        wrong = "has no token to hide" if not done else "gets probabilities that are no numbers (NaN)"
        raise ConfigError(f"pseudo-likelihood: this text {wrong}, so there is nothing to measure; name another one")
    loss = nats / done
    return {
        "pseudo_loss": loss,
        "pseudo_perplexity": perplexity(loss),
        "pseudo_tokens": done,
        "pseudo_rows": read,
        "pseudo_seconds": time.perf_counter() - begin,
    }


def spread(rows: int, tokens: int, length: int) -> Iterator[int]:
    """All rows, first some that are evenly apart and hold about as many tokens."""
    step = max(1, rows * length // (2 * max(tokens, 1)))
    for offset in range(step):
        yield from range(offset, rows, step)


def masked_loss(objective: Objective, batch: Batch, places: Tensor, mask: int, device: torch.device) -> Tensor:
    """-log p [n] of a row's tokens [1, T] at places [n], each hidden alone: n copies of the row side by side."""
    inputs, copies = batch.inputs.repeat(len(places)), torch.arange(len(places))
    targets = batch.inputs.tokens[0, places]
    inputs.tokens[copies, places] = mask
    hidden = objective.backbone(inputs.to(device), None).last  # [n, T, D]
    vectors = hidden[copies.to(device), places.to(device)]
    return objective.head.nll(vectors, targets.to(device)).double()
