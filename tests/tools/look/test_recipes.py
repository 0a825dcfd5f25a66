"""The list of recipes: every one, in its family, by size."""

from typing import Any

import pytest
from builders import run_command
from rich.console import Console

from foretell.config import Amount
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.tools import machine, speed
from foretell.tools.look.recipes import COUNTED, FAMILIES, list_recipes, render_recipes
from foretell.tools.look.show import describe
from foretell.tools.speed import Speed

RECIPES = list_recipes()["recipes"]


def shown(width: int, listed: Any = None) -> str:
    """The list in a terminal."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render_recipes(listed or list_recipes()))
    return capture.get()


def test_every_recipe_is_listed_once() -> None:
    assert sorted(recipe["name"] for recipe in RECIPES) == recipe_names()
    assert describe("recipes")["recipes"] == RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["name"])
def test_what_is_listed_is_what_the_recipe_says(recipe: dict[str, str]) -> None:
    """Against the typed recipe, which knows bases and defaults."""
    loaded = load_recipe(recipe["name"])
    assert recipe["corpus"] in (None, loaded.data.corpus)
    assert recipe["limit"] is None or Amount.model_validate(recipe["limit"]) == loaded.limit
    family = FAMILIES.index(recipe["family"])
    assert (family == len(FAMILIES) - 1) == loaded.is_task
    if not loaded.is_task and not loaded.init:
        assert (recipe["family"] in COUNTED.values()) == loaded.model.counted
        assert (recipe["family"] == "GPT") == (
            loaded.model.kind == "transformer" and loaded.measured_by == "likelihood"
        )
        assert (recipe["family"] == "BERT family: masked tokens") == (loaded.measured_by == "terms")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_recipe_has_a_line_of_its_own(width: int) -> None:
    lines = shown(width).splitlines()
    assert max(map(len, lines)) <= width
    for name in recipe_names():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1


def test_families_are_sorted_by_size() -> None:
    for family in FAMILIES:
        parameters = [recipe["parameters"] or 0 for recipe in RECIPES if recipe["family"] == family]
        assert parameters == sorted(parameters)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_descriptions_are_whole(width: int) -> None:
    """Every word of every sentence is there, in order."""
    words = " ".join(shown(width).split())
    assert "…" not in words
    for recipe in RECIPES:
        place = 0
        for word in recipe["text"].split():
            place = words.find(word, place) + 1
            assert place


def test_those_that_take_longer_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 50 GFLOP/s nanoGPT's 1,536,000 tokens of 5,163,264 operations take 159 s."""
    monkeypatch.setattr(speed, "speed_here", lambda: Speed({"recurrent": 50e9, "transformer": 50e9}, "cpu", 0.0))
    monkeypatch.setattr(machine, "hardware", lambda: {"memory_available_bytes": 20e9})
    found = {recipe["name"]: recipe for recipe in list_recipes(600.0)["recipes"]}
    assert found["nanogpt-shakespeare"]["course_seconds"] == pytest.approx(1_536_000 * 5_163_264 / 50e9)
    assert found["nanogpt-shakespeare"]["fits"] and found["awd-lstm-small"]["fits"]
    assert found["lstm-ptb-small"]["fits"] is False  # twenty minutes
    assert found["zaremba-small-ptb"]["course_seconds"] == pytest.approx(13 * 929_589 * 15_840_000 / 50e9)
    assert found["megatron-bert-3.9b"]["too_large"] and found["megatron-bert-3.9b"]["fits"] is False
    assert found["classify"]["fits"] is None
    for width in (60, 80, 120):
        assert max(map(len, shown(width, list_recipes(600.0)).splitlines())) <= width
    text = shown(80, list_recipes(600.0))
    marked = {line.split()[0] for line in text.splitlines() if " ! " in line}
    assert {name for name, recipe in found.items() if recipe["fits"] is False} <= marked
    assert not marked & {name for name, recipe in found.items() if recipe["fits"]}


@pytest.mark.parametrize("words", ["show recipes", "show", "runs ."])
def test_lists_need_no_torch(words: str) -> None:
    assert run_command(words)[:2] == ("0", False)
