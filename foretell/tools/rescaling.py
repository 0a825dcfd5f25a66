"""Recipes rescaled to fit a budget."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from foretell.config import Amount
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.tools.budget import Budget
from foretell.tools.cost import cost

VALIDATIONS = 2
"""validations per training: they take little of a short budget"""
WAITING = 8
"""validations per training if something waits for validation to stop improving"""
COLUMNS = 50
"""columns that carried text is cut into for measuring: one would be exact, but takes longer than training"""


def limit_of(budget: Budget, recipe: Recipe, vocabulary: int) -> Amount:
    """The budget as `limit` of a recipe."""
    if budget.unit == "flops":
        per_token = cost(recipe, vocabulary)["flops_per_token"]["training"]
        return Amount(value=max(1.0, round(budget.amount / per_token)), unit="tokens")
    return Amount.model_validate({"value": budget.amount, "unit": budget.unit})


def fitted(recipe: Recipe, budget: Budget, vocabulary: int) -> Recipe:
    """The recipe rescaled to the budget, stages and schedules in proportion."""
    tree = recipe.tree()
    if recipe.model.counted:  # reads its text once; only a budget of tokens can cut that
        limit = Amount(value=1, unit="epochs") if budget.unit != "tokens" else limit_of(budget, recipe, vocabulary)
        return load_recipe(tree | {"limit": str(limit), "stages": []})
    stages = recipe.resolved_stages()
    units = {stage.limit.unit for stage, _ in stages}
    if len(units) > 1:
        raise ConfigError(f"recipe {recipe.name}: its stages have limits in {', '.join(sorted(units))}; use one unit")
    whole = Amount.model_validate({"value": sum(stage.limit.value for stage, _ in stages), "unit": units.pop()})
    limit = limit_of(budget, recipe, vocabulary)
    tree = scaled(tree, whole, limit)
    tree["limit"] = str(limit)
    waits = recipe.averaging.waits or recipe.schedule.waits or recipe.training.patience is not None
    share = Amount.model_validate({"value": limit.value / (WAITING if waits else VALIDATIONS), "unit": limit.unit})
    tree["evaluation"] |= {"every": str(share)}
    tree["checkpoint"] |= {"every": str(share)}
    if recipe.data.batches.continues and not recipe.data.batches.resets:
        tree["evaluation"] |= {"columns": max(COLUMNS, recipe.evaluation.columns)}
    return load_recipe(tree)


def scaled(tree: Any, whole: Amount, limit: Amount) -> Any:
    """A tree with every `Amount` in the unit of the whole training rescaled to the limit."""
    if isinstance(tree, dict):
        return {key: scaled(value, whole, limit) for key, value in tree.items()}
    if isinstance(tree, list):
        return [scaled(value, whole, limit) for value in tree]
    if not isinstance(tree, str):
        return tree
    try:
        amount = Amount.model_validate(tree)
    except ValidationError:
        return tree
    if amount.unit != whole.unit:
        return tree
    return str(Amount.model_validate({"value": amount.value / whole.value * limit.value, "unit": limit.unit}))
