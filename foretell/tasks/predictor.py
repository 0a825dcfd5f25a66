"""Predictions of a trained task, in batches of similar lengths and in the order of the examples. R rows."""

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
from foretell.tasks.task import Scores, Task, TaskConfig
from foretell.types import OnProgress, no_progress

TOKENS_AT_ONCE = 2**13
"""tokens computed side by side"""
TIMED = 64
"""examples that the time for all is estimated from"""


@dataclass(frozen=True)
class Predictor:
    """A trained task with the framing and labels of its run."""

    config: TaskConfig
    task: Task
    framing: Framing
    labels: tuple[str, ...]
    device: torch.device

    def predict(self, examples: Sequence[Example], on_progress: OnProgress = no_progress) -> list[Any]:
        """The prediction for each example; labels of the examples are ignored."""
        rows = self.config.rows(examples, self.framing, self.labels)
        scores, _ = self.score(rows, on_progress)
        return self.config.predictions(examples, rows, scores, self.labels)

    def evaluate(
        self, examples: Sequence[Example], *, details: bool = False, on_progress: OnProgress = no_progress
    ) -> tuple[dict[str, Any], list[Any]]:
        """Metrics and loss in nats on labelled examples, and the predictions.

        The record's `metric` names the one to judge by. `details` adds what `TaskConfig.details` finds.
        """
        begin = time.perf_counter()
        rows = self.config.rows(examples, self.framing, self.labels)
        scores, loss = self.score(rows, on_progress)
        predictions = self.config.predictions(examples, rows, scores, self.labels)
        metrics = self.config.measure(examples, predictions)
        if details:
            metrics |= self.config.details(examples, predictions)
        record = {
            "metric": self.config.metric,
            **metrics,
            "objective_loss": loss,
            f"{self.task.term}_loss": loss,
            "examples": len(examples),
            "seconds": time.perf_counter() - begin,
        }
        return record, predictions

    def expected_seconds(self, examples: Sequence[Example]) -> float:
        """Expected time of `evaluate`, from the second of two passes over a few examples; the first is slow."""
        sample = examples[:: max(1, len(examples) // TIMED)]
        for _ in range(2):
            begin = time.perf_counter()
            self.evaluate(sample)
        return (time.perf_counter() - begin) * len(examples) / len(sample)

    @torch.no_grad()
    def score(self, rows: Sequence[Row], on_progress: OnProgress) -> tuple[list[Scores], float]:
        """The scores of each row [R], and the mean loss of labelled rows; NaN where there are none."""
        scores_of: list[Scores] = [np.empty(0)] * len(rows)
        nats, decisions, done = 0.0, 0, 0
        sizes = np.array([row.length * len(row.readings) for row in rows], dtype=np.int64)
        total = int(sizes.sum())
        for group in by_length(sizes, TOKENS_AT_ONCE):
            on_progress(done / total)
            done += int(sizes[group].sum())
            chosen = [rows[i] for i in group]
            batch = collate(chosen, self.framing.tokenizer.specials).to(self.device)
            scores = self.task.scores(self.task.read(batch.inputs).last, batch.inputs)
            if batch.labels is not None:
                nats += float(self.task.loss(scores, batch.labels))
                decisions += self.task.decisions(batch.labels)
            for i, row_scores in zip(group, self.task.probabilities(scores, chosen).cpu().numpy(), strict=True):
                scores_of[i] = row_scores
        return scores_of, nats / decisions if decisions else math.nan
