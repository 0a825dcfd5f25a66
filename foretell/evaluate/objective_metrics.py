"""Evaluation by the terms of the objective, for models that give text no probability."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from foretell.data.batches.batches import Batches
from foretell.errors import ConfigError
from foretell.objectives.objective import Objective
from foretell.types import Batch, OnProgress, no_progress

UNDEFINED = ("loss", "perplexity", "bits_per_character", "bits_per_byte", "top1", "top5")
"""metrics that only causal language models have"""


@torch.no_grad()
def measure(
    objective: Objective, batches: Sequence[Batch], device: torch.device, on_progress: OnProgress = no_progress
) -> dict[str, Any]:
    """Mean loss in nats and accuracy of each term over some batches, and what else `Objective.ratios` gives.

    `objective_loss` is the weighted sum of the losses, as in training; None where a term has no targets.
    """
    begin = time.perf_counter()
    nats: defaultdict[str, float] = defaultdict(float)
    sums, targets = Counter[str](), defaultdict[str, float](int)
    weight: dict[str, float] = {}
    terms: set[str] = set()
    for k in range(len(batches)):
        on_progress(k / len(batches))
        batch = batches[k]
        terms |= (counts := objective.counts(batch)).keys()
        present = {term: count for term, count in counts.items() if count}
        step = objective(batch.to(device), None)
        for term, count in present.items():
            targets[term] += count
            nats[term] += float(step.terms[term].total)
            weight[term] = step.terms[term].weight
        for name, value in step.metrics.items():
            sums[name] += int(value)
    seconds = time.perf_counter() - begin
    return {
        **dict.fromkeys(UNDEFINED),
        "objective_loss": sum(weight[term] * nats[term] / targets[term] for term in targets)
        if terms == targets.keys()
        else None,
        **{f"{term}_loss": nats[term] / targets[term] for term in targets},
        **objective.ratios(sums, targets),
        **{f"{term}_targets": targets[term] for term in targets},
        "seconds": seconds,
    }


def check(measured: Mapping[str, Any], name: str) -> None:
    """Raise `ConfigError` where the objective's loss is undefined."""
    loss = measured["objective_loss"]
    if loss is None:
        raise ConfigError(f"{name}: this text has no targets; use a longer one")
    if not math.isfinite(loss):
        raise ConfigError(f"{name}: the losses are not numbers (NaN); see foretell doctor")


MISSING = {
    "pair": "no document has two texts to pair; end documents with an empty line or <|endofdoc|>, give longer ones, or "
    'take rows without pairs: data.batches.kind = "full"',
}
"""messages for terms without targets"""
UNMASKED = (
    "no token is masked in any row; give it more text, or mask at least one token per row: "
    'objective.masking.rounding = "nearest"'
)


def check_targets(objective: Objective, batches: Batches, split: str) -> None:
    """Raise `ConfigError` where an epoch of batches has no targets for some term."""
    targets = defaultdict[str, float](int)
    for k in range(len(batches)):
        for term, count in objective.counts(batches[k]).items():
            targets[term] += count
        if all(targets.values()):  # usually with the first batch
            return
    missing = next(term for term, count in targets.items() if not count)
    raise ConfigError(f"{split}: {MISSING.get(missing, UNMASKED)}")


@torch.no_grad()
def expected_seconds(objective: Objective, batches: Batches, device: torch.device) -> float:
    """Expected time of `measure`, from the second of two passes over a batch; the first is slow."""
    for _ in range(2):
        begin = time.perf_counter()
        step = objective(batches[0].to(device), None)
        float(torch.stack([term.total for term in step.terms.values()]).sum())  # waits for the device
    return (time.perf_counter() - begin) * len(batches)
