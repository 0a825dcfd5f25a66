"""The JSON schema of recipe files."""

from __future__ import annotations

from typing import Any

from foretell.recipe.recipe import Recipe
from foretell.trees import Tree


def schema() -> Tree:
    """The JSON schema of recipe files, for completion and checks in editors.

    Differences from pydantic's schema: amounts are strings, a kind may be a bare word, a table without `kind` has the
    default kind, and `base` names the recipe to start from.
    """
    tree = Recipe.model_json_schema()
    tree["$defs"]["Amount"] = {
        "type": "string",
        "pattern": r"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*[a-z]+\s*$",
        "description": tree["$defs"]["Amount"]["description"],
    }
    open_unions(tree, tree["$defs"])
    base = {"type": "string", "description": "recipe that unset values come from"}
    tree["properties"] = {"base": base} | tree["properties"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tree}


def open_unions(node: Any, definitions: Tree) -> None:
    """Allow the short forms of `Tagged` for every union below a node of a schema."""
    if isinstance(node, dict):
        if members := node.pop("oneOf", None):
            names = [item["$ref"].rpartition("/")[2] for item in members if "$ref" in item]
            kinds = [definitions[name]["properties"]["kind"]["const"] for name in names]
            outside = [item | {"required": ["kind"]} for item in members if "$ref" not in item]
            inside = [item for item in members if "$ref" in item]
            node["anyOf"] = [{"type": "string", "enum": kinds}, *inside, *outside]
        for value in list(node.values()):
            open_unions(value, definitions)
    elif isinstance(node, list):
        for value in node:
            open_unions(value, definitions)
