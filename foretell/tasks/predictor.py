"""What a trained task says of examples: in batches of like lengths, and in the order they came in.

R rows, B rows of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foretell.data.batches.framing import Framing, Row, by_length, collate
from foretell.data.labelled.examples import Example
from foretell.evaluate.scoring import OnProgress, no_progress
from foretell.tasks.task import Scores, Task, TaskConfig

SIDE_BY_SIDE = 2**13
"""tokens that are read at once"""
TRIED = 64
"""examples from which the time for all is told"""


@dataclass(frozen=True)
class Predictor:
    """A task that has a model, and how examples become rows of it."""

    config: TaskConfig
    task: Task
    framing: Framing
    names: tuple[str, ...]
    """of the labels"""
    device: torch.device

    def tell(self, examples: Sequence[Example], on_progress: OnProgress = no_progress) -> list[Any]:
        """What the task says of each example; its own labels are not looked at."""
        rows = self.config.rows(examples, self.framing, self.names)
        scores, _ = self.scored(rows, on_progress)
        return self.config.predictions(examples, rows, scores, self.names)

    def measure(self, examples: Sequence[Example]) -> dict[str, Any]:
        """How right it is of labelled examples, by its metrics, and its loss in nats; `metric`: what to judge by."""
        return self.judge(examples)[0]

    def judge(
        self, examples: Sequence[Example], *, by_label: bool = False, on_progress: OnProgress = no_progress
    ) -> tuple[dict[str, Any], list[Any]]:
        """The same, with `by_label` also of each label by itself, where the task has labels; and what `tell` says."""
        begin = time.perf_counter()
        rows = self.config.rows(examples, self.framing, self.names)
        scores, loss = self.scored(rows, on_progress)
        predictions = self.config.predictions(examples, rows, scores, self.names)
        found = self.config.measure(examples, predictions)
        if by_label and (apart := self.config.by_label(examples, predictions)):
            found |= {"by_label": apart}
        measured = {
            "metric": self.config.metric,
            **found,
            "objective_loss": loss,
            f"{self.task.term}_loss": loss,
            "examples": len(examples),
            "seconds": time.perf_counter() - begin,
        }
        return measured, predictions

    def expected_seconds(self, examples: Sequence[Example]) -> float:
        """How long that will take, from the second of two looks at a few examples; the first one is slow."""
        some = examples[:: max(1, len(examples) // TRIED)]
        for _ in range(2):
            begin = time.perf_counter()
            self.measure(some)
        return (time.perf_counter() - begin) * len(examples) / len(some)

    @torch.no_grad()
    def scored(self, rows: Sequence[Row], on_progress: OnProgress) -> tuple[list[Scores], float]:
        """What is said of each row [R], and the mean loss of those with labels; not a number where there are none."""
        found: list[Scores] = [np.empty(0)] * len(rows)
        nats, decisions, read = 0.0, 0, 0
        sizes = np.array([row.length * len(row.readings) for row in rows], dtype=np.int64)
        every = int(sizes.sum())
        for group in by_length(sizes, SIDE_BY_SIDE):
            on_progress(read / every)
            read += int(sizes[group].sum())
            chosen = [rows[i] for i in group]
            batch = collate(chosen, self.framing.tokenizer.specials).to(self.device)
            scores = self.task.scores(self.task.read(batch.inputs).last, batch.inputs)
            if batch.labels is not None:
                nats += float(self.task.loss(scores, batch.labels))
                decisions += self.task.decisions(batch.labels)
            for i, one in zip(group, self.task.told(scores, chosen).cpu().numpy(), strict=True):
                found[i] = one
        return found, nats / decisions if decisions else math.nan
