"""What all objectives have in common: how far below the output parameters lie."""

import re

import pytest
import torch
from builders import members, small

from foretell.models.blueprint import Blueprint
from foretell.models.choice import BackboneChoice
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.causal import CausalConfig
from foretell.objectives.objective import Objective
from foretell.optim.optimizers import AdamWConfig


def objective(model: object, *, tied: bool = False) -> Objective:
    return CausalConfig().build(Blueprint(model, FullHeadConfig(tied=tied), 11))


def test_heights_are_electras() -> None:
    """Rate times d^(L + 2 - depth): embeddings at depth 0, layer i at i + 1, the head at L + 2 (L = 3)."""
    built = objective(small(TransformerConfig, layers=3, embedding=6), tied=False)
    heights, found = built.heights(), {}
    for name, parameter in built.named_parameters():
        part = ".".join(name.split(".")[1:3]) if "blocks" in name else re.sub(r"\.(weight|bias)$", "", name)
        found.setdefault(part, set()).add(heights[parameter])
    assert found == {
        "backbone.embedding.table": {5},
        "backbone.positions": {5},
        "backbone.projection": {5},
        "blocks.0": {4},
        "blocks.1": {3},
        "blocks.2": {2},
        "backbone.norm": {0},
        "head": {0},
    }


@pytest.mark.parametrize("member", members(BackboneChoice))
def test_every_model_has_its_embedding_below_its_layers(member: type) -> None:
    built = objective(small(member, layers=2))
    heights = built.heights()
    assert heights.keys() == set(built.parameters())
    assert {heights[p] for p in built.backbone.embedding.parameters()} == {4}
    assert [{heights[p] for p in block.parameters()} for block in built.backbone.blocks] == [{3}, {2}]


def test_tied_weights_are_the_embeddings() -> None:
    built = objective(small(TransformerConfig, embedding=None), tied=True)
    assert built.heights()[built.head.weight] == 4


def test_rates_by_layer_are_those_trained_with() -> None:
    built = objective(small(TransformerConfig, layers=1))
    optimizer = AdamWConfig(learning_rate=1.0, layer_decay=0.5).build(built.parameters(), built.heights())
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[built.head.weight] == 1
    assert rates[built.backbone.blocks[0].attention.inward.weight] == 0.25
    assert rates[built.backbone.embedding.weight] == 0.125


def test_biases_and_norms_are_what_the_originals_exempt_by_name() -> None:
    """Names with LayerNorm, layer_norm or bias there; here whatever has one dimension."""
    model = small(TransformerConfig, direction="both", segments=2, norm={"kind": "post", "embedding": True})
    with torch.device("meta"):
        named = dict(model.build(11).named_parameters())
    exempt = {name for name, p in named.items() if p.dim() <= 1}
    assert exempt == {name for name in named if "norm" in name or name.endswith("bias")}
