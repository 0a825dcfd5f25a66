"""Sections that do not go together are refused, and what the message says to write is taken."""

from typing import Any

import pytest

from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe

ROWS = {"kind": "full", "length": 16}
APART = ROWS | {"documents": "apart"}
BOTH = {"kind": "recurrent", "direction": "both"}
BERT = {"kind": "bpe", "specials": "bert"}
MASKED = {"objective": "masked", "model": BOTH, "data": {"batches": ROWS, "tokenizer": BERT}}
TASK = {"objective": "classification", "data": {"batches": {"kind": "examples"}}}
GROUPED = {"kind": "transformer", "direction": "both", "layers": 4, "groups": 1}
RAMP = {"times": 2, "over": "5steps"}

CONFLICTS: list[tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = [
    # tables, what is changed in them, what is said, what is to be written instead
    ({}, {"seed": 2**63 - 1, "seeds": 2}, "leaves no room for 2 seeds; take a smaller one", {"seed": 2**63 - 2}),
    (
        {"model": {"kind": "transformer", "context": 64}, "data": {"batches": {"kind": "crops", "length": 64}}},
        {"data.batches.length": 65},
        r"data.batches.length = 65 does not fit model.context = 64",
        {"data.batches.length": 64},
    ),
    (
        {},
        {"data.ramp": RAMP},
        r'data.ramp joins.*"streams" continue each other',
        {"data.batches.kind": "crops"},
    ),
    (
        {"model": GROUPED},
        {"optimizer.layer_decay": 0.8},
        r"layer_decay = 0.8 gives each layer a rate of its own, but with model.groups layers share weights",
        {"model.groups": 4},
    ),
    ({}, {"folds": 5}, 'folds are of labelled examples, and objective.kind = "causal" learns from text', TASK),
    ({}, {"data.fold": {"number": 1, "of": 5}}, "folds are of labelled examples", TASK),
    ({}, {"data.batches.kind": "examples"}, r"learns from text.*set objective.kind = \"classification\"", TASK),
    (TASK, {"data.batches": {"kind": "streams"}}, 'set data.batches.kind = "examples"', TASK),
    ({}, {"data.batches": ROWS}, r'rows for masked models.*take "streams" or', {"data.batches": {"kind": "crops"}}),
    ({"model": {"kind": "ngram"}}, {"data.batches": ROWS}, "for masked models", {"data.batches": {"kind": "streams"}}),
    (MASKED, {"data.batches": {"kind": "streams"}}, 'reads rows of text; set data.batches.kind to "full"', MASKED),
    (MASKED, {"data.tokenizer.specials": "none"}, 'set data.tokenizer.specials = "bert"', MASKED),
    (MASKED, {"model.direction": "forward"}, 'set model.direction = "both"', MASKED),
    (MASKED, {"data.batches": APART}, "needs attention", {"data.batches": {"kind": "doc"}}),
    (MASKED, {"data.batches": APART}, "needs attention", {"model": GROUPED}),
    (TASK, {"data.ramp": RAMP}, r"leave it out with data.batches.kind = \"examples\"", {}),
    (TASK, {"model": {"kind": "ngram"}}, "an n-gram model has none; name another model", {"model.kind": "recurrent"}),
]


def flat(tables: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Tables as dotted settings, down to those of one kind."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        whole = not isinstance(value, dict) or "kind" in value
        found |= {name + key: value} if whole else flat(value, f"{name}{key}.")
    return found


@pytest.mark.parametrize(("given", "change", "said", "instead"), CONFLICTS)
def test_what_does_not_fit_is_refused_with_what_to_write(
    given: dict[str, Any], change: dict[str, Any], said: str, instead: dict[str, Any]
) -> None:
    load_recipe(given)
    with pytest.raises(ConfigError, match=said) as problem:
        load_recipe(given, change)
    assert "\n" not in str(problem.value)
    if instead:
        load_recipe(given, change | flat(instead))


def test_the_next_seeds_are_seeds_too() -> None:
    assert load_recipe("char-lstm", [f"seed={2**63 - 1}"]).seed == 2**63 - 1
