"""Recipes checked before torch is imported: the names and values of settings, and the files they name.

The JSON schema of the package lists all settings with their kinds and types. Mistakes are reported in the same words as
by the typed recipe, which takes seconds to import.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from foretell import plugins, trees
from foretell.config import Amount, fault, unknown_kind, unknown_setting
from foretell.data.places import check_corpus
from foretell.errors import ConfigError, did_you_mean
from foretell.hub import is_on_hub
from foretell.recipe.files import find_recipe, is_of_run, names_kind, read_tree, recipe_names
from foretell.run import Run
from foretell.trees import Tree

SCHEMA = Path(__file__).with_name("schema.json")
"""the output of `foretell show schema`, which a test keeps up to date"""


def check_recipe(source: str, overrides: Sequence[str]) -> Tree:
    """Raise `ConfigError` if a recipe, a setting or a kind does not exist, or a value has another type.

    Returns the settings without defaults. `load_recipe` finds the same mistakes and more, seconds later.
    """
    path = find_recipe(source)
    tree = trees.read_toml(path) if is_of_run(path) else {"name": path.stem} | read_tree(path)
    tree = trees.override(tree, overrides)
    with trees.blaming(overrides):
        check_names(tree, path)
    return tree


def check_training(source: str, overrides: Sequence[str]) -> Tree:
    """`check_recipe`, and raise `ConfigError` if the run or the texts to train from do not exist."""
    tree = check_recipe(source, overrides)
    # what a run names is opened only if it is trusted
    check_places(trees.override({}, overrides) if is_of_run(find_recipe(source)) else tree)
    return tree


def check_places(tree: Mapping[str, Any]) -> None:
    """Raise `ConfigError` if the run or the texts that these tables name do not exist."""
    init, data = tree.get("init"), tree.get("data")
    if (
        isinstance(init, str)
        and init
        and (is_on_hub(init) or Path(init).exists() or Path(init).name not in recipe_names())
    ):
        Run.find(init)
    corpus = data.get("corpus") if isinstance(data, Mapping) else None
    for place in corpus.values() if isinstance(corpus, Mapping) else [corpus]:
        if isinstance(place, str):
            check_corpus(place)


def check_word(what: str) -> None:
    """Raise `ConfigError` for a word that is neither a recipe nor a section nor a kind."""
    known = words()
    if not ({what.rpartition(".")[2], what.removesuffix(".toml")} & {*known} or plugins.path_of(what)):
        raise no_such_word(what)


def no_such_word(what: str) -> ConfigError:
    """The error for such a word."""
    hint = did_you_mean(what, words(), most=5)
    return ConfigError(
        f"no recipe, run, section or kind {what!r:.200}{hint} (`foretell show` lists recipes, `foretell show schema` "
        "settings; name a run or a recipe of your own by its path)"
    )


def words() -> list[str]:
    """The words that `show` knows: recipes, sections and kinds."""
    found: dict[str, None] = dict.fromkeys(["recipes", "schema", *recipe_names()])
    tables = [schema(), *schema()["$defs"].values()]
    for name, node in (item for table in tables for item in table.get("properties", {}).items()):
        options = [resolved(option) for option in (node, *node.get("anyOf", ()), node.get("items", {}))]
        options += [resolved(inner) for option in options for inner in option.get("anyOf", ())]
        if any("properties" in option for option in options):
            found |= {name: None, singular(name): None} if "items" in node else {name: None}
            found |= {kind: None for option in options for kind in option.get("enum", ())}
    return [*found, *plugins.installed(plugins.KINDS)]


def singular(name: str) -> str:
    """The name of one item of a list of settings."""
    return {"ies": name[:-3] + "y"}.get(name[-3:], name.removesuffix("s"))


def check_names(tree: Mapping[str, Any], where: Path | str) -> None:
    """Raise `ConfigError` for settings and kinds of these tables that do not exist, and for values of another type."""
    known = without_inherited(tree) if tree.get("init") else tree
    found = list(dict.fromkeys(faults(known, schema(), "")))
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise trees.wrong(where, "; also ".join(found[:3]) + more)


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


def faults(value: Any, node: Mapping[str, Any], key: str) -> Iterator[str]:
    """Each mistake in a value, by its node of the schema, in a sentence."""
    node = unfolded(node)
    kinds, tables = kinds_of(node), tables_of(node)
    if kinds and tables:
        kind = value.get("kind", kinds[0]) if isinstance(value, Mapping) else value
        if not isinstance(kind, str) or ":" in kind or (kind not in kinds and plugins.path_of(kind)):
            return
        if kind not in kinds:
            yield unknown_kind(key, kind, kinds)
            return
        tables = of_kind(tables, kind)
    for table in tables[:1]:
        if isinstance(value, Mapping):
            yield from faults_of_settings(value, table["properties"], key)
    if isinstance(value, list | tuple) and isinstance(node.get("items"), Mapping):
        for number, item in enumerate(value):
            yield from faults(item, node["items"], f"{key}.{number}")
    yield from fault_of_value(value, node, key)


def faults_of_settings(table: Mapping[str, Any], known: Mapping[str, Any], key: str) -> Iterator[str]:
    """Each mistake in a table and the tables in it, in a sentence."""
    for name, value in table.items():
        inner = f"{key}.{name}" if key else name
        if name in known:
            yield from faults(value, known[name], inner)
        else:
            yield unknown_setting(inner, [field for field in known if field != "base" or key])


PLAIN = {"integer": int, "number": float, "boolean": bool, "string": str}
BOUNDS = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
"""keywords of JSON schema, and the arguments of `Field` that stand for them"""


def fault_of_value(value: Any, node: Mapping[str, Any], key: str) -> Iterator[str]:
    """The mistake in a word, a number or an amount, if there is one; where several types fit, none is looked for."""
    if (expected := type_of(node)) is None:
        return
    try:
        TypeAdapter(expected).validate_python(value)
    except ValidationError as problem:
        yield f"{key}: {fault(problem.errors(include_url=False)[0])}"


def type_of(node: Mapping[str, Any]) -> Any:
    """The type of a setting that is a word, a number or an amount; None for others."""
    options = [found for option in node.get("anyOf", [node]) if (found := resolved(option)).get("type") != "null"]
    if len(options) != 1:
        return None
    if options[0] is schema()["$defs"]["Amount"]:
        return Amount
    if "enum" in options[0]:
        return Literal[tuple(options[0]["enum"])]
    if (plain := PLAIN.get(str(options[0].get("type")))) is None:
        return None
    limits: dict[str, Any] = {BOUNDS[word]: limit for word, limit in options[0].items() if word in BOUNDS}
    if plain is float:
        limits["allow_inf_nan"] = False
    return Annotated[plain, Field(strict=True, **limits)]


def unfolded(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node of the schema, resolved; of an optional union, the union."""
    node = resolved(node)
    return next((found for option in node.get("anyOf", ()) if "anyOf" in (found := resolved(option))), node)


def kinds_of(node: Mapping[str, Any]) -> list[str]:
    """The kinds of a section, or the words that a setting may be."""
    found: list[str] = next((option["enum"] for option in (node, *node.get("anyOf", ())) if "enum" in option), [])
    return found


def tables_of(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tables that a section may be: itself, or one for each kind."""
    if "properties" in node:
        return [node]
    return [found for option in node.get("anyOf", ()) if "properties" in (found := resolved(option))]


def of_kind(tables: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """The tables of a kind."""
    return [table for table in tables if table["properties"]["kind"].get("const") == kind]


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node of the schema, or the one that it refers to."""
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    found: Mapping[str, Any] = schema()["$defs"][name] if name else node
    return found
