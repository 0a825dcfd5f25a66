"""The list of recipes: every one, in its family, in one line."""

import pytest
from builders import run_command
from rich.console import Console

from foretell.config import Amount
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.tools.look.recipes import FAMILIES, first_clause, list_recipes, render_recipes
from foretell.tools.look.show import describe

RECIPES = list_recipes()["recipes"]


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
        assert (family == 0) == loaded.model.counted
        assert (recipe["family"] == "GPT") == (
            loaded.model.kind == "transformer" and loaded.measured_by == "likelihood"
        )
        assert (recipe["family"] == FAMILIES[5]) == (loaded.measured_by == "terms")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_recipe_takes_a_line(width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render_recipes(list_recipes()))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    for name in recipe_names():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1


@pytest.mark.parametrize(
    ("comment", "clause"),
    [
        ("A small GPT, after nanoGPT (karpathy/nanoGPT). More.", "A small GPT, after nanoGPT"),
        ("LSTM (after Zaremba et al. 2014, arXiv:1) on PTB: as there.", "LSTM on PTB"),
        ("After Mikolov et al. 2010. More.", "After Mikolov et al. 2010"),
        ("", ""),
    ],
)
def test_the_first_clause(comment: str, clause: str) -> None:
    assert first_clause(comment) == clause


@pytest.mark.parametrize("words", ["show recipes", "show", "runs ."])
def test_lists_need_no_torch(words: str) -> None:
    assert run_command(words)[:2] == ("0", False)
