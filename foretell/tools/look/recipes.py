"""The list of shipped recipes, by family. It needs no torch, so that it is there at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.text import Text

from foretell.recipe.files import find_recipe, kind_in, read_tree, recipe_names
from foretell.tools.tables import Column, ResponsiveTable
from foretell.trees import Tree

TEXT_OBJECTIVES = ("causal", "masked", "replaced")
"""the objectives that learn from text; all others are tasks"""
FAMILIES = (
    "n-grams",
    "LSTM, AWD-LSTM",
    "QRNN",
    "multiplicative LSTM",
    "GPT",
    "BERT family: masked tokens",
    "ULMFiT: language models on new text",
    "Tasks: fine-tuned from a run",
)
CELLS = {"qrnn": "QRNN", "mlstm": "multiplicative LSTM"}
HINT = "foretell train NAME data.corpus=YOUR.txt, foretell show NAME; limits such as 10m are for two cores"


def list_recipes() -> Tree:
    """Every shipped recipe with its family, its text, its limit, and the first sentence about it."""
    recipes = [describe_recipe(name) for name in recipe_names()]
    return {"what": "recipes", "recipes": sorted(recipes, key=lambda recipe: FAMILIES.index(recipe["family"]))}


def describe_recipe(name: str) -> Tree:
    """A recipe in a few words."""
    path = find_recipe(name)
    tree = read_tree(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in lines[: next(i for i, x in enumerate(lines) if x[:1] != "#")])
    return {
        "name": name,
        "family": family_of(tree),
        "corpus": tree.get("data", {}).get("corpus"),
        "limit": tree.get("limit"),
        "text": first_clause(comment),
    }


def first_clause(comment: str) -> str:
    """The first clause of a comment, without references in brackets."""
    return re.split(r"(?<!et al)\.(?: |$)|[:;] ", re.sub(r"\s*\([^()]*\)", "", comment))[0]


def family_of(tree: Mapping[str, Any]) -> str:
    """The family of a recipe, from its objective, model and cell."""
    objective, model = kind_in(tree.get("objective", "causal")), tree.get("model", {})
    if objective not in TEXT_OBJECTIVES:
        return FAMILIES[-1]
    if tree.get("init"):
        return FAMILIES[-2]
    if kind_in(model) == "ngram":
        return FAMILIES[0]
    if kind_in(model) == "transformer":
        return "GPT" if objective == "causal" else FAMILIES[-3]
    return CELLS.get(kind_in(model.get("cell", "lstm")), FAMILIES[1])


def render_recipes(shown: Mapping[str, Any]) -> ResponsiveTable:
    """The recipes of every family."""
    table = ResponsiveTable(
        Column.words("recipe"),
        Column.words("corpus", 3),
        Column.words("limit", 2),
        Column.texts(least=30, cut=True),
        notes=[HINT],
    )
    for family, recipes in groupby(shown["recipes"], key=lambda recipe: recipe["family"]):
        table.section(family)
        for recipe in recipes:
            corpus, limit = recipe["corpus"] or "your own", recipe["limit"] or ""
            table.add(recipe["name"], corpus, str(limit), Text(recipe["text"], "dim"))
    return table
