"""Compatibility of the sections of a recipe.

Each check takes a recipe and raises a `ValueError` that says what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foretell.recipe.recipe import Recipe


def check_seeds(recipe: Recipe) -> None:
    """Seeds are 63-bit numbers."""
    if recipe.seed + recipe.seeds > 2**63:
        raise ValueError(f"seed = {recipe.seed} leaves no room for {recipe.seeds} seeds; take a smaller one")


def check_windows(recipe: Recipe) -> None:
    """Training windows fit the context of the model."""
    longest, length = recipe.model.longest_window, recipe.data.batches.length
    if longest is not None and length > longest:
        raise ValueError(f"data.batches.length = {length} does not fit model.context = {longest}; make it at most that")


def check_ramp(recipe: Recipe) -> None:
    """Only batches that do not depend on each other can be joined to larger ones."""
    if recipe.data.ramp is not None and recipe.data.batches.continues:
        kind = recipe.data.batches.kind_name()
        raise ValueError(
            f'data.ramp joins batches, and those of data.batches.kind = "{kind}" continue each '
            'other; take "crops" or rows such as "full", or leave it out'
        )


def check_layer_decay(recipe: Recipe) -> None:
    """Learning rates by layer need layers with weights of their own."""
    decay = recipe.optimizer.layer_decay
    if decay < 1 and recipe.model.shares_layers:
        raise ValueError(
            f"optimizer.layer_decay = {decay} gives each layer a rate of its own, but with model.groups layers share "
            "weights; leave layer_decay out"
        )


def check_batches(recipe: Recipe) -> None:
    """The batches are those the objective learns from."""
    provides, requires = recipe.data.batches.provides, recipe.requires
    objective, batches = recipe.objective.kind_name(), recipe.data.batches.kind_name()
    if (recipe.folds or recipe.data.fold) and requires != "examples":
        raise ValueError(
            f'folds are of labelled examples, and objective.kind = "{objective}" learns from text; leave them out'
        )
    if provides == requires:
        return
    if provides == "examples":
        raise ValueError(
            f'objective.kind = "{objective}" learns from text, and data.batches.kind = "examples" gives '
            'labelled examples; set objective.kind = "classification" or another task'
        )
    if requires == "examples":
        raise ValueError(
            f'objective.kind = "{objective}" learns from labelled examples; set data.batches.kind = "examples"'
        )
    if requires == "next tokens":
        raise ValueError(
            f'data.batches.kind = "{batches}" gives rows for masked models; for this one take "streams" or "crops"'
        )
    if requires == "rows":
        raise ValueError(
            f'objective.kind = "{objective}" reads rows of text; set data.batches.kind to "full", "doc", '
            '"segment-pair" or "sentence-pair"'
        )
    raise ValueError(
        f'objective.kind = "{objective}" learns from {requires}, and data.batches.kind = "{batches}" gives {provides}; '
        "name batches that give these"
    )


def check_rows(recipe: Recipe) -> None:
    """Objectives on rows need a mask token and a model that reads both sides."""
    if recipe.requires != "rows":
        return
    objective = recipe.objective.kind_name()
    if recipe.data.tokenizer.lacks_mask:
        raise ValueError(f'objective.kind = "{objective}" needs a mask token; set data.tokenizer.specials = "bert"')
    if not recipe.model.reads_both_sides:
        raise ValueError(f'objective.kind = "{objective}" reads both sides; set model.direction = "both"')
    if recipe.data.batches.separates_documents and not recipe.model.separates_documents:
        raise ValueError(
            'data.batches.documents = "apart" needs attention: a recurrent model reads rows from end to end; '
            'set data.batches.kind = "doc"'
        )


def check_task(recipe: Recipe) -> None:
    """Tasks read hidden vectors, in batches of a fixed size."""
    if not recipe.is_task:
        return
    if recipe.data.ramp is not None:
        raise ValueError('data.ramp joins batches of text; leave it out with data.batches.kind = "examples"')
    if recipe.data.batches.balances and not recipe.objective.has_classes:
        raise ValueError('data.batches.sampling = "balanced" needs texts of one class each; take "all"')
    if recipe.data.batches.balances and recipe.objective.balances:
        raise ValueError(
            'objective.class_weights = "balanced" and data.batches.sampling = "balanced" would balance classes twice; '
            "take one of them"
        )
    if recipe.model.counted:
        raise ValueError(
            f'objective.kind = "{recipe.objective.kind_name()}" reads hidden vectors, and an n-gram model has none; '
            "name another model, or an init that has one"
        )


CHECKS = (check_seeds, check_windows, check_ramp, check_layer_decay, check_batches, check_rows, check_task)
