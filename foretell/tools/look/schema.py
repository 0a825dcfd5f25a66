"""The JSON schema of recipe files."""

from __future__ import annotations

from typing import Any

from foretell.config import Tree
from foretell.recipe.recipe import Recipe


def schema() -> Tree:
    """The JSON schema of recipe files: editors complete and check them by it.

    Beyond what pydantic makes of the types: amounts are text, a kind may be its bare word, a table
    without `kind` is of the default kind, and `base` names the recipe to begin with.
    """
    made = Recipe.model_json_schema()
    made["$defs"]["Amount"] = {
        "type": "string",
        "pattern": r"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*[a-z]+\s*$",
        "description": made["$defs"]["Amount"]["description"],
    }
    open_unions(made, made["$defs"])
    base = {"type": "string", "description": "the recipe that everything unsaid comes from"}
    made["properties"] = {"base": base} | made["properties"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def open_unions(node: Any, definitions: Tree) -> None:
    """Let every union below a node of a schema be written as short as `Tagged` allows."""
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
