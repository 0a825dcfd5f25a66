"""The JSON schema against recipes, good and bad ones, with a small validator of its own."""

import re
import tomllib
from typing import Any

import pytest

from foretell.recipe.files import read_tree, recipe_folder, recipe_names
from foretell.recipe.loading import load_recipe
from foretell.tools.look.show import describe


def allows(schema: dict[str, Any], value: Any, whole: dict[str, Any]) -> bool:
    """The part of JSON schema that ours uses, read anew for this test."""
    if "$ref" in schema:
        return allows(whole["$defs"][schema["$ref"].rpartition("/")[2]], value, whole)
    if "anyOf" in schema:
        return any(allows(item, value, whole) for item in schema["anyOf"])
    assert "oneOf" not in schema
    types = {
        **{"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)},
        **{"integer": int, "number": int | float},
    }
    kind = schema.get("type")
    if kind and (not isinstance(value, types[kind]) or (kind != "boolean" and value is True)):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    if isinstance(value, list) and "items" in schema:
        return all(allows(schema["items"], item, whole) for item in value)
    if isinstance(value, dict):
        rest, known = schema.get("additionalProperties", True), schema.get("properties", {})
        inner = rest if isinstance(rest, dict) else {}
        return set(schema.get("required", ())) <= set(value) and all(
            allows(known.get(key, inner), item, whole) and (key in known or rest is not False)
            for key, item in value.items()
        )
    return True


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return describe("schema")


@pytest.mark.parametrize("name", recipe_names())
def test_the_schema_allows_the_shipped_recipes_as_written_and_resolved(name: str, schema: dict[str, Any]) -> None:
    path = recipe_folder() / f"{name}.toml"
    assert allows(schema, tomllib.loads(path.read_text(encoding="utf-8")), schema)
    assert allows(schema, read_tree(path), schema)
    assert allows(schema, load_recipe(name).tree(), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": {"hiden": 3}},
        {"model": {"cell": "lsmt"}},
        {"seed": "one"},
        {"limit": 3},
        {"data": {"batches": {"kind": "lines", "jitter": 1.0}}},
    ],
)
def test_the_schema_finds_mistakes(wrong: dict[str, Any], schema: dict[str, Any]) -> None:
    assert not allows(schema, wrong, schema)
    assert allows(schema, {"base": "awd-lstm-tiny.toml", "data": {"batches": {"jitter": 1.0}}}, schema)
