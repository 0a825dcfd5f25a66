"""The data module of each kind of validation."""

from __future__ import annotations

from collections.abc import Mapping

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.learning.data_module import DataModule
from foretell.learning.rows import RowsModule
from foretell.learning.task import TaskModule
from foretell.learning.text import TextModule
from foretell.objectives.objective import MeasuredBy
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.training.monitor import Monitor

MODULES: Mapping[MeasuredBy, type[DataModule]] = {"likelihood": TextModule, "terms": RowsModule, "task": TaskModule}


def data_module(
    recipe: Recipe,
    tokenizer: Tokenizer | None = None,
    monitor: Monitor | None = None,
    *,
    run: Run | None = None,
    labels: tuple[str, ...] | None = None,
) -> DataModule:
    """The data module of a recipe: with the tokenizer it names, or for a `run` with the run's tokenizer and labels."""
    return MODULES[recipe.measured_by](recipe, tokenizer, run, monitor, labels=labels)
