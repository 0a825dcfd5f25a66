"""Sections, kinds and settings as they are described."""

import tomllib
from typing import Any

import pytest
from builders import members
from rich.console import Console

from foretell import trees
from foretell.config import Config, configs_in
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import LearntChoice, Recipe
from foretell.tasks.task import TaskConfig
from foretell.tools.look.sections import sections
from foretell.tools.look.show import describe, render


def shown(what: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(render(what))
    return [line.rstrip() for line in capture.get().splitlines()]


def kinds() -> list[tuple[str, type[Config]]]:
    return [(place.key, member) for place in sections() for member in place.members]


def test_sections_are_all_places_of_configs_in_a_recipe() -> None:
    keys = {place.key for place in sections()}
    assert {"model", "model.cell", "head", "data.tokenizer", "objective.penalties"} <= keys
    direct = {name for name, field in Recipe.model_fields.items() if configs_in(field.annotation)}
    assert direct <= keys


# What belongs to tasks, or to models that read from both sides, is valid beside such a one.
EXAMPLES: dict[str, Any] = {"data": {"batches": "examples"}, "objective": "classification"}
ROWS = {
    "data": {"tokenizer": {"kind": "bpe", "specials": "bert"}, "batches": "full"},
    "model": {"kind": "transformer", "direction": "both"},
    "objective": "masked",
}
TASKS = {member.kind_name() for member in members(LearntChoice) if issubclass(member, TaskConfig)}


def beside(tree: dict[str, Any]) -> dict[str, Any]:
    """What an excerpt of a recipe needs to be one, where that is not what a recipe is where nothing is said."""
    data, objective = tree.get("data", {}), tree.get("objective", {})
    named = {part.get("kind") for part in (data.get("batches", {}), objective)}
    if named & {"examples", *TASKS} or "fold" in data:
        return EXAMPLES
    return (
        ROWS if named & {"masked", "replaced", "full", "doc", "segment-pair", "sentence-pair"} or "ramp" in data else {}
    )


@pytest.mark.parametrize(("key", "member"), kinds())
def test_every_kind_is_described_and_its_toml_is_valid(key: str, member: type[Config]) -> None:
    has_kind = "kind" in member.model_fields
    result = describe(f"{key}.{member.kind_name()}" if has_kind else key)
    if result["what"] == "kinds":  # tables of one name that belong to different kinds
        wanted = set(member.model_fields)
        (result,) = [kind for kind in result["kinds"] if {item["name"] for item in kind["fields"]} == wanted]
    assert result["section"] == key and result["text"]
    names = {field["name"] for field in result["fields"]}
    assert names == set(member.model_fields) - {"kind"}
    tree = tomllib.loads(result["toml"])
    assert load_recipe(trees.merge(beside(tree), tree))
    for part in key.split("."):
        tree = tree[part]
    mine = tree[0] if isinstance(tree, list) else tree
    assert not has_kind or mine["kind"] == member.kind_name()
    assert max(map(len, shown(result))) <= 80


@pytest.mark.parametrize(
    ("word", "section", "default"),
    [
        ("model", "model", "recurrent"),
        ("cell", "model.cell", "lstm"),
        ("tokenizer", "data.tokenizer", "bpe"),
        ("batches", "data.batches", "streams"),
        ("optimizer", "optimizer", "adamw"),
        ("penalty", "objective.penalties", None),
        ("penalties", "objective.penalties", None),
    ],
)
def test_a_section_lists_its_kinds(word: str, section: str, default: str | None) -> None:
    result = describe(word)
    assert (result["section"], result["default"]) == (section, default)
    lines = shown(result)
    assert all(any(item["kind"] in line for line in lines) for item in result["kinds"])
    assert default is None or any(line.startswith(f"{default} *") for line in lines)


def test_the_settings_of_a_kind_say_type_default_and_meaning() -> None:
    fields = {field["name"]: field for field in describe("bpe")["fields"]}
    assert fields["size"]["type"] == "whole number >= 257"
    assert fields["size"]["default"] == "16384"
    fields = {field["name"]: field for field in describe("cosine")["fields"]}
    assert fields["warmup"]["default"] == "absent"
    assert fields["warmup"]["text"] == "duration of the linear rise from zero"
    fields = {field["name"]: field for field in describe("recurrent")["fields"]}
    assert (fields["cell"]["default"], fields["cell"]["type"][:9]) == ("lstm", "lstm, gru")
    assert {f["name"]: f for f in describe("file")["fields"]}["path"]["default"] == "required"


def test_types_with_limits_inside_a_choice() -> None:
    fields = {field["name"]: field["type"] for field in describe("training")["fields"]}
    assert fields["micro_batches"] == 'whole number > 0 or "auto"'
    fields = {field["name"]: field["type"] for field in describe("adamw")["fields"]}
    assert fields["betas"] == "[number >= 0, < 1, number >= 0, < 1]"
