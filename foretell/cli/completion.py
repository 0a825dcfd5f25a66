"""Completion in shells: recipes, runs, settings and their values, without torch."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from foretell.errors import ConfigError
from foretell.trees import Tree

Suggestion = tuple[str, str]
"""text, and help"""


def recipes(incomplete: str) -> list[Suggestion]:
    """Shipped recipes, and files of recipes."""
    from foretell.recipe.files import first_sentence, recipe_names

    names = [name for name in recipe_names() if name.startswith(incomplete)]
    return [*((name, first_sentence(name)) for name in names), *files(incomplete, ".toml")]


def runs(incomplete: str) -> list[Suggestion]:
    """Runs in `runs`, or below the folder that is typed."""
    from foretell.tools.run_folders import find_runs

    folder = Path(incomplete) if os.path.isdir(incomplete) else Path(incomplete).parent
    found = find_runs(Path("runs") if str(folder) == "." else folder)
    return [(str(path), "") for path in found if str(path).startswith(incomplete)]


def recipes_and_runs(incomplete: str) -> list[Suggestion]:
    """Recipes and runs."""
    return [*recipes(incomplete), *runs(incomplete)]


def recipes_and_settings(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Recipes, and settings for all of them."""
    return [*recipes(incomplete), *settings(ctx, incomplete)]


def words_to_show(incomplete: str) -> list[Suggestion]:
    """Recipes, sections, kinds and runs."""
    from foretell.recipe.names import words

    return [*((word, "") for word in words() if word.startswith(incomplete)), *runs(incomplete)]


def settings(ctx: typer.Context, incomplete: str) -> list[Suggestion]:
    """Settings of the recipe on the command line, or the values of one.

    Bash makes three words of `key=value`; only the value is completed then.
    """
    from foretell.recipe.completing import node_at, settings_from

    given = [str(word) for name in ("overrides", "recipes") for word in ctx.params.get(name) or ()]
    tree = recipe_given(ctx.params, given)
    key, equals, value = incomplete.partition("=")
    if equals:
        return [(f"{key}={text}", about) for text, about in values(key, value, tree)]
    if given[-1:] == ["="]:
        return values(given[-2], incomplete, tree)
    if given and node_at(given[-1], tree) is not None:
        return values(given[-1], incomplete, tree)
    return list(settings_from(incomplete, tree))


def recipe_given(params: Mapping[str, Any], given: Sequence[str]) -> Tree:
    """The recipe that a command line names, with the settings so far; empty if there is none."""
    from foretell import trees
    from foretell.recipe.files import find_recipe, read_tree, recipe_names

    shipped = {*recipe_names()}
    named = [params.get("recipe"), params.get("what"), *(word for word in given if word in shipped)]
    tree: Tree = {}
    with contextlib.suppress(ConfigError):
        tree = read_tree(find_recipe(next(str(name) for name in [*named, ""] if name is not None)))
    for item in " ".join(given).replace(" = ", "=").split():
        with contextlib.suppress(ConfigError):
            tree = trees.override(tree, [item]) if "=" in item else tree
    return tree


def values(key: str, incomplete: str, tree: Tree) -> list[Suggestion]:
    """The values of a setting that begin so; for texts and runs, their places."""
    if key == "init":
        return runs(incomplete)
    if key == "data.corpus":
        from foretell.data.text.builtin import BUILTIN

        return [*((name, "") for name in BUILTIN if name.startswith(incomplete)), *files(incomplete)]
    from foretell.recipe.completing import values_of

    return [(value, "") for value in values_of(key, tree) if value.startswith(incomplete)]


def files(incomplete: str, ending: str = "") -> list[Suggestion]:
    """Files with this ending, and folders, that begin so."""
    if not incomplete and ending:
        return []
    found = sorted(glob.glob(f"{glob.escape(incomplete)}*"))
    return [
        (f"{path}/" if os.path.isdir(path) else path, "")
        for path in found
        if path.endswith(ending) or os.path.isdir(path)
    ]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """The completion of an option that takes one of these words, or something else."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete
