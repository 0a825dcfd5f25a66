"""Checks of what a command line names, before torch is imported: runs, texts, splits, files, recipes.

An argument declares its check next to its type, `Annotated[Path, typer.Argument(), Check(check_run)]`. Imports are
deferred so that help is fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from foretell.errors import ConfigError


@dataclass(frozen=True)
class Check:
    """A function that raises `ConfigError` for a wrong value, called for each item of a list."""

    function: Callable[[Any], object]


def check_all(verb: Callable[..., None], given: Mapping[str, Any]) -> None:
    """Call the checks of a verb's arguments, then check its recipes with their settings."""
    for name, annotation in get_type_hints(verb, include_extras=True).items():
        value = given.get(name)
        for check in (extra for extra in get_args(annotation)[1:] if isinstance(extra, Check)):
            for item in value if isinstance(value, list | tuple) else [value]:
                if item is not None:
                    check.function(item)
    if {"recipe", "recipes", "overrides"} & given.keys():
        check_recipes(given)


def check_recipes(given: Mapping[str, Any]) -> None:
    """Check the recipes of `train`, `race` and `show`, and for `train` that its folder is free."""
    from foretell.recipe.names import check_recipe, check_training
    from foretell.run import Run
    from foretell.trees import split_overrides

    overrides: Sequence[str] = given.get("overrides") or ()
    if (recipe := given.get("recipe")) is not None:
        tree = check_training(recipe, overrides)
        if given.get("resume") is False and not ({"seeds", "folds"} & tree.keys()):
            run = Run(given["out"] or Path("runs") / str(tree.get("name", "")))
            if not (run.path.is_dir() and run.is_busy()):  # reported when it is to be trained
                run.check_room()
    items = given.get("recipes") or ()
    for name in (item for item in items if "=" not in item):
        for variation in ("", *(given.get("vary") or ())):
            check_training(name, [*(item for item in items if "=" in item), *split_overrides(variation)])
    if (word := given.get("what")) is not None and overrides and not is_data(word):
        check_recipe(word, overrides)


def is_data(word: str) -> bool:
    """Whether a word names data to examine, or a run, rather than a recipe."""
    return word.startswith("{") or os.path.isdir(word) or (os.path.exists(word) and not word.endswith(".toml"))


def check_run(path: Path) -> None:
    """Raise `ConfigError` if there is no run."""
    from foretell.run import Run

    Run.find(path)


def check_run_or_race(path: Path) -> None:
    """Raise `ConfigError` if there is neither a run nor a race."""
    from foretell.tools.look.plot_races import is_race

    if not is_race(path):
        check_run(path)


def check_hub_name(name: str) -> None:
    """Raise `ConfigError` for text that is not a name on the hub."""
    from foretell.hub import parsed

    parsed(name)


def check_mixture(names: str) -> None:
    """Raise `ConfigError` if there is no run of this name, nor all of a mixture `A+B`."""
    from foretell.run import Run

    for name in [names] if Path(names).exists() else names.split("+"):
        Run.find(name)


def check_file(path: Path) -> None:
    """Raise `ConfigError` with the nearest name if there is no file; `-` is stdin."""
    from foretell.data.files import missing

    if str(path) != "-" and not path.exists():
        raise missing(path)


def check_compressed(path: Path) -> None:
    """Raise `ConfigError` if a file is not one of `foretell compress`, or damaged."""
    from foretell.coding.container import opened

    check_file(path)
    opened(path.read_bytes(), str(path))


def check_import(path: Path) -> None:
    """Raise `ConfigError` if there is nothing to import."""
    from foretell.data.files import nearest
    from foretell.hub import local

    if not local(path).exists():
        raise ConfigError(nearest(path), file=path)


def check_labelled(on: str) -> None:
    """Raise `ConfigError` if there is no labelled set of this name and no file; `{train = ...}` names several."""
    from foretell.trees import table_or_text

    places = table_or_text(on)
    for place in places.values() if isinstance(places, Mapping) else [places]:
        check_corpus(str(place))


def check_set(item: str) -> None:
    """Raise `ConfigError` if there is no labelled set of this name; a setting is none."""
    from foretell.data.labelled.datasets import available_sets

    if "=" not in item:
        available_sets([item])


def check_examined(what: str) -> None:
    """Raise `ConfigError` if `doctor` has nothing of this name to examine."""
    from foretell.recipe.files import recipe_names

    if not os.path.exists(what) and what.removesuffix(".toml") not in recipe_names():
        check_labelled(what)


def check_shown(what: str) -> None:
    """Raise `ConfigError` if `show` has nothing of this name to show."""
    from foretell.recipe.names import check_word

    if not os.path.exists(what):
        check_word(what)


def check_corpus(place: str) -> None:
    """Raise `ConfigError` if there is no corpus of this name and no file."""
    from foretell.data import places

    places.check_corpus(place)


def check_split(name: str) -> None:
    """Raise `ConfigError` if a split is neither one of the known names nor a file."""
    from foretell.data import places

    places.check_split(name)


def check_budget(text: str) -> None:
    """Raise `ConfigError` for text that does not name a budget."""
    from foretell.tools.budget import Budget

    Budget.parse(text)


def seconds_of(text: str) -> float:
    """The seconds of a time such as 10m; raises `ConfigError` for any other text."""
    from pydantic import ValidationError

    from foretell.config import Amount

    try:
        amount = Amount.model_validate(text)
    except ValidationError:
        amount = None
    if amount is None or amount.unit != "seconds":
        raise ConfigError(f"{text!r:.80} is not a time; write one such as 10m, 90s or 1h30m")
    return amount.value


def ends_in(option: str, *endings: str) -> Check:
    """A check that the file to write of an option has one of these endings."""

    def check(path: Path) -> None:
        if path.suffix.lower() not in endings:
            raise ConfigError(f"{option} {path}: name a file that ends in {' or '.join(endings)}")

    return Check(check)


def new(option: str) -> Check:
    """A check that nothing is at the path to write of an option, or an empty folder. Pictures may be replaced."""

    def check(path: Path) -> None:
        from foretell.artifacts import is_free

        if not is_free(path):
            raise ConfigError("exists", file=path, remedy=f"choose another {option}")

    return Check(check)
