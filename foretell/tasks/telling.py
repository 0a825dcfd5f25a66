"""What a trained task says of examples: in batches of like lengths, and in the order they came in.

R rows, B rows of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from foretell.data.examples import Example
from foretell.data.rows import Framing, Row, by_length, collate
from foretell.tasks.task import Scores, Task, TaskConfig

SIDE_BY_SIDE = 2**13
"""tokens that are read at once where nothing is said"""


def tell(
    config: TaskConfig,
    task: Task,
    examples: Sequence[Example],
    framing: Framing,
    names: tuple[str, ...],
    device: torch.device,
    budget: int = SIDE_BY_SIDE,
) -> list[Any]:
    """What the task says of each example; its own labels are not looked at."""
    rows = config.rows(examples, framing, names)
    scores, _ = scored(task, rows, framing, device, budget)
    return config.predictions(examples, rows, scores, names)


def measure(
    config: TaskConfig,
    task: Task,
    examples: Sequence[Example],
    framing: Framing,
    names: tuple[str, ...],
    device: torch.device,
    budget: int = SIDE_BY_SIDE,
    by_label: bool = False,
) -> dict[str, Any]:
    """How right it is of labelled examples, by its metrics, and its loss in nats; `metric` says what to judge by.

    With `by_label` also of each label by itself, where the task has labels.
    """
    begin = time.perf_counter()
    rows = config.rows(examples, framing, names)
    scores, loss = scored(task, rows, framing, device, budget)
    predictions = config.predictions(examples, rows, scores, names)
    found = config.measure(examples, predictions)
    if by_label and (apart := config.by_label(examples, predictions)):
        found |= {"by_label": apart}
    return {
        "metric": config.metric,
        **found,
        "objective_loss": loss,
        f"{task.term}_loss": loss,
        "examples": len(examples),
        "seconds": time.perf_counter() - begin,
    }


def expected_seconds(
    config: TaskConfig,
    task: Task,
    examples: Sequence[Example],
    framing: Framing,
    names: tuple[str, ...],
    device: torch.device,
    tried: int = 64,
) -> float:
    """How long that will take, from the second of two looks at a few examples; the first one is slow."""
    some = examples[:: max(1, len(examples) // tried)]
    for _ in range(2):
        begin = time.perf_counter()
        measure(config, task, some, framing, names, device)
    return (time.perf_counter() - begin) * len(examples) / len(some)


@torch.no_grad()
def scored(
    task: Task, rows: Sequence[Row], framing: Framing, device: torch.device, budget: int = SIDE_BY_SIDE
) -> tuple[list[Scores], float]:
    """What is said of each row [R], and the mean loss of those with labels; not a number where there are none."""
    found: list[Scores] = [np.empty(0)] * len(rows)
    nats, decisions = 0.0, 0
    for group in by_length(np.array([row.length * len(row.readings) for row in rows], dtype=np.int64), budget):
        chosen = [rows[i] for i in group]
        batch = collate(chosen, framing.tokenizer.specials).to(device)
        scores = task.scores(task.read(batch.inputs).last, batch.inputs)
        if batch.labels is not None:
            nats += float(task.loss(scores, batch.labels))
            decisions += task.decisions(batch.labels)
        for i, one in zip(group, task.told(scores, chosen).cpu().numpy(), strict=True):
            found[i] = one
    return found, nats / decisions if decisions else math.nan
