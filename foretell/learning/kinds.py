"""The data module of each kind of validation."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping

from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.learning.data_module import DataModule
from foretell.learning.rows import RowsModule
from foretell.learning.task import TaskModule
from foretell.learning.text import TextModule
from foretell.objectives.objective import MeasuredBy
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.training.monitor import Monitor

MODULES: Mapping[MeasuredBy, type[DataModule]] = {"likelihood": TextModule, "terms": RowsModule, "task": TaskModule}


def module_class(measured_by: MeasuredBy) -> type[DataModule]:
    """The class of a way to learn: one of `MODULES`, or one from outside, "package.module:Class"."""
    if measured_by in MODULES:
        return MODULES[measured_by]
    try:
        named = pkgutil.resolve_name(measured_by) if ":" in measured_by else None
    except (ImportError, AttributeError, ValueError) as problem:
        raise ConfigError(f"measured_by = {measured_by!r} cannot be loaded: {problem}") from None
    if isinstance(named, type) and issubclass(named, DataModule):
        return named
    raise ConfigError(
        f"measured_by = {measured_by!r} is not a data module; write {', '.join(MODULES)}, "
        'or the path of a DataModule as "package.module:Class"'
    )


def data_module(
    recipe: Recipe, tokenizer: Tokenizer | None = None, monitor: Monitor | None = None, *, run: Run | None = None
) -> DataModule:
    """The data module of a recipe: with the tokenizer it names, or for a `run` with the run's tokenizer and labels."""
    return module_class(recipe.measured_by)(recipe, tokenizer, run, monitor)
