"""Measuring models that give text no probability by what they were trained for: the terms of their objective."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

import torch

from foretell.data.batches import Batches
from foretell.evaluate.scoring import Watch, unwatched
from foretell.objectives.objective import Objective

UNDEFINED = ("loss", "perplexity", "bits_per_character", "bits_per_byte", "top1", "top5")
"""what there is of models that predict the next token only"""


@torch.no_grad()
def measure(objective: Objective, batches: Batches, device: torch.device, watch: Watch = unwatched) -> dict[str, Any]:
    """One epoch of batches: of each term the mean loss in nats and the share of right guesses, with what else the
    objective tells apart.

    `objective_loss` is their weighted sum, as in training. A term of which the batches have nothing is None.
    """
    begin = time.perf_counter()
    nats: defaultdict[str, float] = defaultdict(float)
    counts, number = Counter[str](), Counter[str]()
    weight: dict[str, float] = {}
    for k in range(len(batches)):
        watch(k / len(batches))
        batch = batches[k]
        here = {name: count for name, count in objective.counts(batch).items() if count}
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
        "objective_loss": sum(weight[name] * nats[name] / number[name] for name in number),
        **{f"{name}_loss": nats[name] / number[name] for name in number},
        **objective.shares(counts, number),
        **{f"{name}_targets": number[name] for name in number},
        "seconds": seconds,
    }


@torch.no_grad()
def expected_seconds(objective: Objective, batches: Batches, device: torch.device) -> float:
    """How long that will take, from the second of two batches; the first one is slow."""
    for _ in range(2):
        begin = time.perf_counter()
        step = objective(batches[0].to(device), None)
        float(torch.stack([term.total for term in step.terms.values()]).sum())  # waits for the device
    return (time.perf_counter() - begin) * len(batches)
