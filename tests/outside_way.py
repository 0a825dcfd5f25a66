"""A way to learn from outside the package: its own kind of batches, objective, data module and evaluator."""

from typing import Any, ClassVar

import torch

from foretell.data.batches.batches import BatchKind
from foretell.data.batches.streams import CropsConfig
from foretell.learning.data_module import AS_VALIDATION, Options
from foretell.learning.rows import ObjectiveEvaluator, RowsModule
from foretell.objectives.causal import CausalConfig
from foretell.objectives.objective import MeasuredBy, Objective
from foretell.types import OnProgress, no_progress


class PassagesConfig(CropsConfig):
    """Windows under a name of their own."""

    provides: ClassVar[BatchKind] = "passages"


class PassagesObjectiveConfig(CausalConfig):
    """Predicts the next token of passages."""

    requires: ClassVar[BatchKind] = "passages"
    measured_by: ClassVar[MeasuredBy] = "outside_way:PassagesModule"


class PassagesModule(RowsModule):
    """The text of a recipe as passages."""

    def evaluator(
        self, objective: Objective | None, device: torch.device, options: Options = AS_VALIDATION
    ) -> "PassagesEvaluator":
        assert objective is not None
        return PassagesEvaluator(self, objective, device, options.batch)


class PassagesEvaluator(ObjectiveEvaluator):
    """Counts the windows it measures, besides the loss."""

    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        with self.data.open(split) as text:
            return super().evaluate(split, on_progress) | {"windows": len(self.rows(text))}
