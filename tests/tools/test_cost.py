"""Parameters, memory and FLOPs of models against their formulas."""

from pathlib import Path
from typing import Any

import pytest
import torch

from foretell.recipe.loading import load_recipe
from foretell.tools.look.show import describe

SMALL = {"model": {"embedding_dim": 8, "hidden": 16, "layers": 2, "output": 8}}
TRANSFORMER: dict[str, Any] = {"kind": "transformer", "hidden": 8, "heads": 2, "layers": 3, "context": 32}


def recipe_file(folder: Path, **tables: Any) -> str:
    path = folder / "mine.toml"
    path.write_text(load_recipe(tables).text(), encoding="utf-8")
    return str(path)


def lstm(inputs: int, hidden: int) -> int:
    """Four gates, each with both weights and both biases of the fused kernels."""
    return 4 * hidden * (inputs + hidden + 2)


def test_parameters_of_the_small_zaremba_model_are_those_of_its_formula() -> None:
    result = describe("zaremba-small-ptb", vocabulary=10_000)
    table, layer, head = 10_000 * 200, lstm(200, 200), 10_000 * 201
    assert result["parameters"] == table + 2 * layer + head == 4_653_200
    assert [part["parameters"] for part in result["parts"]] == [table, layer, layer, head]
    # the table is looked up, the biases are added: neither is a matrix product
    forward = 2 * (2 * 4 * 200 * 400 + 10_000 * 200)
    assert result["flops_per_token"] == {"forward": forward, "training": 3 * forward}


def test_a_learned_start_state_is_a_parameter_but_no_matrix_product(tmp_path: Path) -> None:
    plain = describe(recipe_file(tmp_path, **SMALL), vocabulary=300)
    learned = describe(recipe_file(tmp_path, **SMALL), ["model.cell.learned_state=true"], 300)
    assert learned["parameters"] - plain["parameters"] == 2 * 16 + 2 * 8
    assert learned["flops_per_token"] == plain["flops_per_token"]


def test_attention_and_shared_layers_count_as_often_as_they_are_used(tmp_path: Path) -> None:
    """Each layer 12 x 8^2 weights, and twice 8 x 10 for a token's look at ten; positions are looked up."""
    crops = {"kind": "crops", "length": 10}
    for groups in (3, 1):
        given = recipe_file(tmp_path, model={**TRANSFORMER, "groups": groups}, data={"batches": crops})
        result = describe(given, vocabulary=50)
        assert result["flops_per_token"]["forward"] == 2 * (3 * (12 * 8 * 8 + 2 * 8 * 10) + 50 * 8)
        block = 12 * 8 * 8 + (3 + 1 + 4 + 1) * 8 + 4 * 8  # weights, biases, two norms
        assert result["parameters"] == (50 + 32) * 8 + groups * block + 2 * 8 + 50 * 8 + 50


def test_wide_heads_count_with_their_own_width(tmp_path: Path) -> None:
    """Two heads of 6: queries, keys, values and outputs have 4 x 8 x 12 weights; twice 12 x 10 for attention to ten."""
    wide = {**TRANSFORMER, "head_dim": 6, "biases": False}
    given = recipe_file(tmp_path, model=wide, data={"batches": {"kind": "crops", "length": 10}})
    result = describe(given, vocabulary=50)
    assert result["flops_per_token"]["forward"] == 2 * (3 * (4 * 8 * 12 + 2 * 8 * 32 + 2 * 12 * 10) + 50 * 8)


def test_gpt2_takes_as_many_operations_as_is_known() -> None:
    """6 x 123.65M weights and 12 x 12 x 768 x 1,024: .855 GFLOP."""
    flops = describe("gpt2-124m", vocabulary=50_257)["flops_per_token"]["training"]
    assert flops == 6 * (12 * 12 * 768**2 + 50_257 * 768) + 12 * 12 * 768 * 1024
    assert flops == pytest.approx(0.855e9, rel=1e-3)


def test_hidden_tokens_alone_go_through_the_head(tmp_path: Path) -> None:
    given = recipe_file(
        tmp_path,
        model={**TRANSFORMER, "direction": "both"},
        data={"batches": {"kind": "full", "length": 10}, "tokenizer": {"kind": "wordpiece", "specials": "bert"}},
        objective={"kind": "masked", "masking": {"kind": "token", "rate": 0.25}},
    )
    forward = describe(given, vocabulary=50)["flops_per_token"]["forward"]
    assert forward == 2 * (3 * (12 * 8 * 8 + 2 * 8 * 10) + 0.25 * 50 * 8)


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [({"kind": "sgd"}, 0), ({"kind": "sgd", "momentum": 0.9}, 1), ({"kind": "adamw"}, 2)],
)
def test_memory_of_training_counts_what_the_optimiser_keeps(
    tmp_path: Path, optimizer: dict[str, Any], copies: int
) -> None:
    result = describe(recipe_file(tmp_path, **SMALL, optimizer=optimizer), vocabulary=300)
    memory, weights = result["memory_bytes"], 4 * result["parameters"]
    assert memory["weights"] == memory["gradients"] == weights
    # Adam keeps a step number with each tensor, a few bytes
    assert copies * weights <= memory["optimizer"] <= copies * weights + 4 * 20
    assert memory["total"] == sum(value for key, value in memory.items() if key != "total")


def test_averaging_keeps_one_more_copy(tmp_path: Path) -> None:
    result = describe(recipe_file(tmp_path, **SMALL), ["averaging=nt-asgd"], 300)
    assert result["memory_bytes"]["averages"] == 4 * result["parameters"]


def test_nothing_is_allocated_for_a_huge_model(tmp_path: Path) -> None:
    overrides = ["model.hidden=100000", "model.layers=4"]
    state = torch.get_rng_state()
    result = describe(recipe_file(tmp_path, **SMALL), overrides, 1_000_000)
    assert result["parameters"] > 10**11
    assert torch.equal(state, torch.get_rng_state())
