"""Measuring models that give text no probability by what they were trained for: the terms of their objective."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from foretell.data.batches.batches import Batches
from foretell.errors import ConfigError
from foretell.evaluate.scoring import OnProgress, no_progress
from foretell.objectives.objective import Objective

UNDEFINED = ("loss", "perplexity", "bits_per_character", "bits_per_byte", "top1", "top5")
"""what there is of models that predict the next token only"""


@torch.no_grad()
def measure(
    objective: Objective, batches: Batches, device: torch.device, on_progress: OnProgress = no_progress
) -> dict[str, Any]:
    """One epoch of batches: of each term the mean loss in nats and the share of right guesses, with what else the
    objective tells apart.

    `objective_loss` is their weighted sum, as in training; None where the batches have nothing of a term.
    """
    begin = time.perf_counter()
    nats: defaultdict[str, float] = defaultdict(float)
    counts, number = Counter[str](), Counter[str]()
    weight: dict[str, float] = {}
    terms: set[str] = set()
    for k in range(len(batches)):
        on_progress(k / len(batches))
        batch = batches[k]
        terms |= (every := objective.counts(batch)).keys()
        here = {name: count for name, count in every.items() if count}
        step = objective(batch.to(device), None)
        for name, count in here.items():
            number[name] += count
            nats[name] += float(step.terms[name].total)
            weight[name] = step.terms[name].weight
        for name, count in step.metrics.items():
            counts[name] += int(count)
    seconds = time.perf_counter() - begin
    return {
        **dict.fromkeys(UNDEFINED),
        "objective_loss": sum(weight[name] * nats[name] / number[name] for name in number)
        if terms == number.keys()
        else None,
        **{f"{name}_loss": nats[name] / number[name] for name in number},
        **objective.shares(counts, number),
        **{f"{name}_targets": number[name] for name in number},
        "seconds": seconds,
    }


def check(measured: Mapping[str, Any], name: str) -> None:
    """A `ConfigError` where `measure` found nothing to judge by."""
    loss = measured["objective_loss"]
    if loss is None:
        raise ConfigError(f"{name}: this text has nothing to guess, so there is nothing to measure; name a longer one")
    if not math.isfinite(loss):
        raise ConfigError(
            f"{name}: the losses are no numbers (NaN), so there is nothing to measure; see foretell doctor"
        )


MISSING = {
    "pair": "no document has two texts to pair; end documents with an empty line or <|endofdoc|>, give longer ones, or "
    'take rows without pairs: data.batches.kind = "full"',
}
"""what to say where a term has no target, by its name"""
HIDDEN = (
    'no token is hidden in any row; give it more text, or hide one of each row at least: objective.masking.rounding = "'
    'nearest"'
)


def check_targets(objective: Objective, batches: Batches, split: str) -> None:
    """A `ConfigError` where one epoch of batches has no target for some term of the loss."""
    found = Counter[str]()
    for k in range(len(batches)):
        found.update(objective.counts(batches[k]))
        if all(found.values()):  # mostly at once
            return
    absent = next(name for name, count in found.items() if not count)
    raise ConfigError(f"{split}: {MISSING.get(absent, HIDDEN)}")


@torch.no_grad()
def expected_seconds(objective: Objective, batches: Batches, device: torch.device) -> float:
    """How long that will take, from the second of two batches; the first one is slow."""
    for _ in range(2):
        begin = time.perf_counter()
        step = objective(batches[0].to(device), None)
        float(torch.stack([term.total for term in step.terms.values()]).sum())  # waits for the device
    return (time.perf_counter() - begin) * len(batches)
