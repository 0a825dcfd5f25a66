"""The table of sizes is up to date, and agrees with what is published."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.tools.sizes import sizes


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sizes", Path(__file__).parents[2] / "scripts" / "sizes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_the_script_computes(script: ModuleType) -> None:
    assert sorted(sizes()) == recipe_names()
    stale = [n for n, size in sizes().items() if script.size_of(load_recipe(n), size.vocabulary) != size]
    assert not stale, "run scripts/sizes.py"


def test_published_numbers() -> None:
    """GPT-2's smallest has 124,439,808 parameters (its checkpoint), ALBERT-base 12M (arXiv:1909.11942, table 1)."""
    assert sizes()["gpt2-124m"].parameters == 124_439_808
    assert round((sizes()["albert-base"].parameters or 0) / 1e6) == 12
    assert sizes()["zaremba-small-ptb"].course == {"epochs": 13}
    assert sizes()["nanogpt-shakespeare"].course == {"tokens": 2000 * 12 * 64}
    assert sizes()["bert-base"].course == {"tokens": 256 * (900_000 * 128 + 100_000 * 512)}
    assert sizes()["classify"].parameters is None and sizes()["ngram-5"].parameters is None
