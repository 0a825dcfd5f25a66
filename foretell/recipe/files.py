"""Recipe files: shipped ones by name, and files with a base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell import trees
from foretell.checksums import FILE as CHECKSUMS
from foretell.checksums import damaged
from foretell.errors import ConfigError, did_you_mean
from foretell.run import Run
from foretell.run_names import RECIPE
from foretell.trees import Tree
from foretell.trust import refuse

TOKENIZER = "tokenizer.json"
"""the file of a run's own tokenizer"""


def recipe_folder() -> Path:
    """The folder of shipped recipes: in the installed package, or next to it in a checkout."""
    inside = Path(__file__).parents[1] / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"


def recipe_names() -> list[str]:
    """The names of shipped recipes."""
    return sorted(path.stem for path in recipe_folder().glob("*.toml"))


def find_recipe(name: str) -> Path:
    """The file of a recipe, by path or by shipped name."""
    shipped = recipe_folder() / f"{name.removesuffix('.toml')}.toml"
    for path in (Path(name), Path(name) / RECIPE, shipped):
        if path.is_file():
            return path
    if (Path(name) / CHECKSUMS).is_file():
        raise damaged(Path(name) / RECIPE, "is missing")
    hint = did_you_mean(name, recipe_names(), most=5)
    raise ConfigError(f"no recipe {name!r:.200}{hint} (give a path, or a name that `foretell show` lists)")


def first_sentence(name: str) -> str:
    """The sentence that a recipe begins with, without its full stop."""
    with find_recipe(name).open(encoding="utf-8") as file:
        return file.readline().strip("# \n.")


FINE_TUNING = "fine-tuning"
"""a base that `init` decides: the recipe that its model is fine-tuned with"""
LONGEST_CHAIN = 20
"""largest number of recipes that extend each other"""


def read_tree(path: Path, seen: tuple[Path, ...] = ()) -> Tree:
    """The tables of a recipe file merged over those of its `base`, recursively."""
    if path.resolve() in seen:
        raise ConfigError("its base refers back to it", file=path)
    if len(seen) >= LONGEST_CHAIN:
        raise ConfigError(f"a chain of more than {LONGEST_CHAIN} recipes, each the base of the next", file=path)
    tree = trees.read_toml(path)
    find_tokenizer(tree, path.parent)
    base = tree.pop("base", None)
    if base is None:
        return tree
    if base == FINE_TUNING:
        return tree | {"base": base}
    if not isinstance(base, str):
        raise ConfigError(f"base should be the name of a recipe, not {base!r:.80}", file=path)
    beside = path.parent / base
    origin = beside if beside.is_file() else find_recipe(base)
    if is_of_run(origin) and not Run.open(origin.parent).is_trusted:
        raise refuse(origin, "decide the settings of a recipe that names it as its base", "copy what you need from it")
    return trees.merge(read_tree(origin, (*seen, path.resolve())), tree)


def find_tokenizer(tree: Tree, folder: Path) -> None:
    """Resolve a `tokenizer.json` next to the recipe, as in a run, from any working folder."""
    data = tree.get("data")
    tokenizer = data.get("tokenizer") if isinstance(data, dict) else None
    if isinstance(tokenizer, dict) and tokenizer.get("kind") == "file" and tokenizer.get("path") == TOKENIZER:
        beside = folder / TOKENIZER
        tokenizer["path"] = str(beside) if beside.is_file() else TOKENIZER


def is_of_run(path: Path) -> bool:
    """Whether a file is the recipe of a run."""
    return path.name == RECIPE and any((path.parent / name).exists() for name in (CHECKSUMS, "checkpoints"))


def names_kind(table: Any) -> bool:
    """Whether a section names its kind."""
    return isinstance(table, str) or (isinstance(table, Mapping) and "kind" in table)


def kind_in(section: Any) -> str:
    """The kind that a section names; "" if none."""
    return str(section.get("kind", "")) if isinstance(section, Mapping) else str(section or "")
