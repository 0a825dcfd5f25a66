"""Packed rows of text: what masked models and ELECTRA learn from, measured by the terms of their objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from typing_extensions import override

from foretell.data.batches.batches import Batches
from foretell.data.store.store import Split
from foretell.evaluate import objective_metrics
from foretell.evaluate.evaluator import Evaluator
from foretell.learning.data_module import AS_VALIDATION, Options
from foretell.learning.text import TextModule
from foretell.objectives.objective import Objective
from foretell.types import OnProgress, no_progress


class RowsModule(TextModule):
    """The text of a recipe as rows, whose targets the objective makes."""

    @property
    @override
    def bytes_per_token(self) -> float | None:
        return None

    @override
    def evaluator(
        self, objective: Objective | None, device: torch.device, options: Options = AS_VALIDATION
    ) -> ObjectiveEvaluator:
        self.check_options(options)
        assert objective is not None  # counted models are measured by likelihood
        return ObjectiveEvaluator(self, objective, device, options.batch)

    @override
    def remarks(self) -> list[str]:
        return []  # no bits per byte to compare

    @override
    def check_batches(self, objective: Objective, batches: Batches) -> None:
        objective_metrics.check_targets(objective, batches, "train")


@dataclass
class ObjectiveEvaluator(Evaluator):
    """The terms of an objective, on the same rows, masks and pairs each time."""

    data: RowsModule
    objective: Objective
    device: torch.device
    batch: int | None = None
    """rows computed side by side; changes nothing but speed"""
    _last: tuple[Split, Batches] | None = field(default=None, init=False)

    @property
    @override
    def context(self) -> str:
        kind = self.data.recipe.data.batches
        return f"rows of {kind.length} tokens, {kind.kind_name()}"

    @override
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        opened = self.data.open(split)
        with opened as text:
            rows = self.rows(text).part(self.share)
            measured = objective_metrics.measure(self.objective, rows, self.device, on_progress)
            return {
                **opened.note(),
                **measured,
                "lossy": text.lossy,
                "lost": text.lost,
                "unknown_rate": text.counts.unknown / len(text.tokens),
                "tokens": len(text.tokens),
                "tokens_per_second": len(text.tokens) / measured["seconds"],
            }

    @override
    def expected_seconds(self, split: str) -> float:
        with self.data.open(split) as text:
            return objective_metrics.expected_seconds(self.objective, self.rows(text), self.device) * self.share

    @override
    def check(self, split: str) -> None:
        with self.data.open(split) as text:
            objective_metrics.check_targets(self.objective, self.rows(text), split)

    @override
    def refuse_undefined(self, measured: Mapping[str, Any], name: str) -> None:
        objective_metrics.check(measured, name)

    def rows(self, text: Split) -> Batches:
        """One pass over a text."""
        if self._last is None or self._last[0] is not text:  # each validation reads the same
            self._last = text, self._rows(text)
        return self._last[1]

    def _rows(self, text: Split) -> Batches:
        recipe, tokenizer = self.data.recipe, self.data.tokenizer
        kind = recipe.text_batches
        rows = kind.for_evaluation(self.batch).build(text, tokenizer.specials, seed=0)
        return recipe.objective.batches(rows, tokenizer, seed=0)
