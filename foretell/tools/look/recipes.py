"""The list of shipped recipes, by family. It needs no torch, so that it is there at once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.text import Text

from foretell import units
from foretell.recipe.files import find_recipe, first_sentence, kind_in, read_tree, recipe_names
from foretell.tools.sizes import sizes
from foretell.tools.tables import Column, ResponsiveTable
from foretell.trees import Tree

TEXT_OBJECTIVES = ("causal", "masked", "replaced")
"""the objectives that learn from text; all others are tasks"""
FAMILIES = (
    "n-grams",
    "Context mixing",
    "LSTM, AWD-LSTM",
    "QRNN",
    "multiplicative LSTM",
    "GPT",
    "BERT family: masked tokens",
    "ULMFiT: language models on new text",
    "Tasks: fine-tuned from a run",
)
COUNTED = {"ngram": "n-grams", "unbounded-ngram": "n-grams", "context-mixing": "Context mixing"}
CELLS = {"qrnn": "QRNN", "mlstm": "multiplicative LSTM"}
FITTING = (
    "time here: of the whole training as the recipe has it, about. ! longer than {time}, or needs more memory than is "
    "free; limit=TIME makes any training as long as you like."
)
HINT = "foretell train NAME data.corpus=YOUR.txt, foretell show NAME; limits such as 10m are for two cores"


def list_recipes(seconds: float | None = None) -> Tree:
    """Every shipped recipe with its family, size, text and limit, and a sentence about it; small ones first.

    With `seconds` each has its time on this machine (`course_seconds`, None if unknown), and `fits`: whether it ends in
    that time and its training fits into memory (None if unknown).
    """
    recipes = [describe_recipe(name) for name in recipe_names()]
    recipes.sort(key=lambda recipe: (FAMILIES.index(recipe["family"]), recipe["parameters"] or 0))
    listed: Tree = {"what": "recipes"}
    if seconds is not None:
        listed |= {"for_seconds": seconds, "recipes": timed(recipes, seconds)}
    return listed | {"recipes": recipes}


def timed(recipes: list[Tree], seconds: float) -> list[Tree]:
    """Add to recipes how long their courses take here, and whether that is within a time."""
    from foretell.tools.courses import course_seconds
    from foretell.tools.machine import hardware
    from foretell.tools.speed import speed_here

    speed, memory = speed_here(), hardware()["memory_available_bytes"]
    for recipe in recipes:
        size = sizes()[recipe["name"]]
        lasting = course_seconds(read_tree(find_recipe(recipe["name"])), size, speed)
        too_large = bool(memory and size.state_bytes and size.state_bytes > memory)
        fits = False if too_large else None if lasting is None else lasting <= seconds
        recipe |= {"course_seconds": lasting, "too_large": too_large, "fits": fits}
    return recipes


def describe_recipe(name: str) -> Tree:
    """A recipe in a few words."""
    tree = read_tree(find_recipe(name))
    return {
        "name": name,
        "family": family_of(tree),
        "parameters": sizes()[name].parameters,
        "corpus": tree.get("data", {}).get("corpus"),
        "limit": tree.get("limit"),
        "text": first_sentence(name),
    }


def family_of(tree: Mapping[str, Any]) -> str:
    """The family of a recipe, from its objective, model and cell."""
    objective, model = kind_in(tree.get("objective", "causal")), tree.get("model", {})
    if objective not in TEXT_OBJECTIVES:
        return FAMILIES[-1]
    if tree.get("init"):
        return FAMILIES[-2]
    if kind_in(model) in COUNTED:
        return COUNTED[kind_in(model)]
    if kind_in(model) == "transformer":
        return "GPT" if objective == "causal" else FAMILIES[-3]
    return CELLS.get(kind_in(model.get("cell", "lstm")), "LSTM, AWD-LSTM")


def render_recipes(shown: Mapping[str, Any]) -> ResponsiveTable:
    """The recipes of every family."""
    seconds = shown.get("for_seconds")
    table = ResponsiveTable(
        Column.words("recipe"),
        Column("parameters", 2),
        Column.words("corpus", 4),
        *([Column.words("limit", 3)] if seconds is None else [Column("time here")]),
        Column.texts(least=22),
        notes=[HINT] if seconds is None else [FITTING.format(time=units.duration(seconds)), HINT],
    )
    for family, recipes in groupby(shown["recipes"], key=lambda recipe: recipe["family"]):
        table.section(family)
        for recipe in recipes:
            size = "" if recipe["parameters"] is None else units.count(recipe["parameters"])
            course = str(recipe["limit"] or "") if seconds is None else time_here(recipe)
            words = (recipe["name"], size, recipe["corpus"] or "your own", course)
            table.add(*words, Text(recipe["text"], "dim"), style="dim" if recipe.get("fits") is False else "")
    return table


def time_here(recipe: Mapping[str, Any]) -> str:
    """The time of a recipe on this machine, marked if it does not fit."""
    if recipe["too_large"]:
        return "! too large"
    lasting = recipe["course_seconds"]
    return "" if lasting is None else f"{'! ' * (recipe['fits'] is False)}{units.duration(lasting)}"
