"""Settings and their values that continue what a user has typed, for the completion of shells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from foretell.recipe.files import kind_in
from foretell.recipe.names import kinds_of, of_kind, resolved, schema, tables_of, unfolded

Suggestion = tuple[str, str]
"""text, and help"""


def settings_from(typed: str, tree: Mapping[str, Any]) -> Iterator[Suggestion]:
    """The settings that begin so, `model.hidden=` and `model.dropout.`, for a recipe given as a tree.

    A single section is continued by its settings, and a single setting by its values, so that a shell that puts a blank
    after the only continuation does not put one there.
    """
    parent, _, begun = typed.rpartition(".")
    if (table := table_at(parent, tree)) is None:
        return
    nodes = {name: node for name, node in table["properties"].items() if name.startswith(begun)}
    for name, node in nodes.items():
        path, help_text = f"{parent}.{name}" if parent else name, str(node.get("description", ""))
        found = unfolded(node)
        if len(nodes) == 1 and tables_of(found):
            yield from settings_from(f"{path}.", tree)
        elif tables_of(found):
            yield f"{path}.", help_text
        if kinds_of(found) or not tables_of(found):
            yield f"{path}=", help_text
            if len(nodes) == 1:
                yield from ((f"{path}={value}", "") for value in values_of(path, tree))


def values_of(path: str, tree: Mapping[str, Any]) -> list[str]:
    """The values of a setting: its kinds, the words it may be, or what it is in the recipe or by default."""
    parent, _, name = path.rpartition(".")
    table = table_at(parent, tree)
    if table is None or name not in table["properties"]:
        return []
    node = unfolded(table["properties"][name])
    if found := kinds_of(node):
        return found
    if "boolean" in [resolved(option).get("type") for option in (node, *node.get("anyOf", ()))]:
        return ["true", "false"]
    if name == "kind":
        return kinds_of(unfolded(node_at(parent, tree) or {}))
    value = inside(parent, tree).get(name, table["properties"][name].get("default"))
    return [] if value is None else [value if isinstance(value, str) else json.dumps(value)]


def node_at(path: str, tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The node of a setting in the schema; None if there is none."""
    parent, _, name = path.rpartition(".")
    table = table_at(parent, tree)
    found: Mapping[str, Any] | None = None if table is None else table["properties"].get(name)
    return found


def table_at(path: str, tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The table of a section in the schema, of the kind that the recipe has there; None if it is none."""
    if not path:
        return schema()
    if (node := node_at(path, tree)) is None:
        return None
    node = unfolded(node)
    tables, kinds = tables_of(node), kinds_of(node)
    if kinds:
        parent, _, name = path.rpartition(".")
        tables = of_kind(tables, kind_in(inside(parent, tree).get(name)) or kinds[0])
    return tables[0] if tables else None


def inside(path: str, tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section of a recipe at a path; empty if it has none."""
    for part in path.split(".") if path else []:
        tree = value if isinstance(value := tree.get(part), Mapping) else {}
    return tree
