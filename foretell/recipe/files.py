"""Recipe files: shipped ones by name, files with a base, and names of settings checked before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from foretell import plugins, trees
from foretell.checksums import FILE as CHECKSUMS
from foretell.checksums import damaged
from foretell.errors import ConfigError, did_you_mean
from foretell.run import RECIPE, Run
from foretell.trees import Tree
from foretell.trust import refuse

TOKENIZER = "tokenizer.json"
"""the file of a run's own tokenizer"""
SCHEMA = Path(__file__).with_name("schema.json")
"""the output of `foretell show schema`, which a test keeps up to date"""


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
    for path in (Path(name), Path(name) / "recipe.toml", shipped):
        if path.is_file():
            return path
    if (Path(name) / CHECKSUMS).is_file():
        raise damaged(Path(name) / RECIPE, "is missing")
    hint = did_you_mean(name, recipe_names(), most=5)
    raise ConfigError(f"no recipe {name!r:.200}{hint} (give a path, or a name that `foretell show` lists)")


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


# --- names of settings ----------------------------------------------------------------------------


def check_names(source: str, overrides: Sequence[str]) -> None:
    """Raise `ConfigError` if a recipe, or a setting or kind that it or the overrides name, does not exist.

    `load_recipe` finds the same and more, seconds later: it needs torch.
    """
    path = find_recipe(source)
    tree = trees.read_toml(path) if is_of_run(path) else {"name": path.stem} | read_tree(path)
    tree = trees.override(tree, overrides)
    if tree.get("init"):
        tree = without_inherited(tree)
    found = list(dict.fromkeys(unknown_names(tree, schema(), "")))
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise trees.wrong(path, "; also ".join(found[:3]) + more)


def without_inherited(tree: Mapping[str, Any]) -> Tree:
    """The tables but those of model, head and tokenizer that name no kind: theirs is that of the run `init` names."""
    found = {name: table for name, table in tree.items() if name not in ("model", "head") or names_kind(table)}
    if isinstance(data := tree.get("data"), Mapping) and not names_kind(data.get("tokenizer")):
        found["data"] = {name: value for name, value in data.items() if name != "tokenizer"}
    return found


@lru_cache(1)
def schema() -> Tree:
    """The JSON schema of recipes."""
    found: Tree = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


def unknown_names(value: Any, node: Mapping[str, Any], key: str) -> Iterator[str]:
    """Each setting and kind of a value that its node of the schema does not know, in a sentence."""
    node = resolved(node)
    for option in node.get("anyOf", ()):
        if "anyOf" in (inner := resolved(option)):  # an optional union
            node = inner
    kinds = next((option["enum"] for option in node.get("anyOf", ()) if "enum" in option), None)
    tables = [found for option in node.get("anyOf", ()) if "properties" in (found := resolved(option))]
    if kinds is not None and tables:
        kind = value.get("kind", kinds[0]) if isinstance(value, Mapping) else value
        if not isinstance(kind, str) or ":" in kind or (kind not in kinds and plugins.path_of(kind)):
            return
        if kind not in kinds:
            yield f"{key}: unknown kind {kind!r}{did_you_mean(kind, kinds)} (known: {', '.join(kinds)})"
            return
        tables = [table for table in tables if table["properties"]["kind"].get("const") == kind]
    for table in [node] if "properties" in node else tables[:1]:
        if isinstance(value, Mapping):
            yield from unknown_settings(value, table["properties"], key)
    if isinstance(value, list | tuple) and isinstance(node.get("items"), Mapping):
        for number, item in enumerate(value):
            yield from unknown_names(item, node["items"], f"{key}.{number}")


def unknown_settings(table: Mapping[str, Any], known: Mapping[str, Any], key: str) -> Iterator[str]:
    """Each unknown setting of a table and of the tables in it, in a sentence."""
    for name, value in table.items():
        inner = f"{key}.{name}" if key else name
        if name in known:
            yield from unknown_names(value, known[name], inner)
        else:
            fields = [field for field in known if field != "base" or key]
            hint = did_you_mean(name, fields) or f" (known: {', '.join(fields)})"
            yield f"{inner}: no such setting{hint}"


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node of the schema, or the one that it refers to."""
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    found: Mapping[str, Any] = schema()["$defs"][name] if name else node
    return found
