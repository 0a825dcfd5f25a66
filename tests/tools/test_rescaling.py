"""Recipes squeezed or stretched into a budget."""

import pytest

from foretell.config import Amount
from foretell.recipe.loading import load_recipe
from foretell.tools.budget import Budget
from foretell.tools.cost import cost
from foretell.tools.rescaling import VALIDATIONS, fitted, limit_of, scaled


def test_flops_become_tokens_by_the_cost_of_one() -> None:
    recipe = load_recipe("zaremba-small-ptb")
    per_token = cost(recipe, 10_000)["flops_per_token"]["training"]
    limit = limit_of(Budget.parse("1e12flops"), recipe, 10_000)
    assert limit.unit == "tokens"
    assert limit.value * per_token == pytest.approx(1e12, rel=1e-5)


def test_a_course_keeps_its_shape_in_any_budget() -> None:
    """zaremba-small-ptb: 13 epochs, from epoch 4 on half the rate each epoch."""
    small = fitted(load_recipe("zaremba-small-ptb"), Budget.parse("130s"), 10_000)
    assert small.limit == Amount(value=130, unit="seconds")
    assert small.schedule.kind == "steps"
    before = load_recipe("zaremba-small-ptb").schedule
    for name in ("after", "every"):
        moment, was = getattr(small.schedule, name), getattr(before, name)
        assert moment.unit == "seconds"
        assert moment.value == pytest.approx(10 * was.value)
    assert small.evaluation.every.value == pytest.approx(130 / VALIDATIONS)


def test_stages_share_the_budget() -> None:
    small = fitted(load_recipe("awd-lstm-ptb"), Budget.parse("1e6tokens"), 10_000)
    assert [str(stage.limit) for stage in small.stages] == ["500000tokens", "500000tokens"]


def test_only_moments_in_the_unit_of_the_course_move() -> None:
    whole, limit = Amount(value=10, unit="epochs"), Amount(value=60, unit="seconds")
    tree = {"a": "5epochs", "b": ["1epochs", "100steps"], "c": "5 bananas", "d": 3}
    assert scaled(tree, whole, limit) == {"a": "30s", "b": ["6s", "100steps"], "c": "5 bananas", "d": 3}
