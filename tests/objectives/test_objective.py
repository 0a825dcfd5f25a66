"""What all objectives have in common: how far below the output parameters lie."""

import re

import pytest
import torch
from builders import members, small

from foretell.models.kinds import BackboneChoice
from foretell.models.model_spec import ModelSpec
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.causal import CausalConfig
from foretell.objectives.objective import Objective
from foretell.optim.optimizers import AdamWConfig


def objective(model: object, *, tied: bool = False) -> Objective:
    return CausalConfig().build(ModelSpec(model, FullHeadConfig(tied=tied), 11))


def test_heights_count_layers_from_the_top() -> None:
    built = objective(small(TransformerConfig, layers=3, embedding_dim=6), tied=False)
    layer_depths, found = built.layer_depths(), {}
    for name, parameter in built.named_parameters():
        part = ".".join(name.split(".")[1:3]) if "blocks" in name else re.sub(r"\.(weight|bias)$", "", name)
        found.setdefault(part, set()).add(layer_depths[parameter])
    assert found == {
        "backbone.embedding.table": {4},
        "backbone.positions": {4},
        "backbone.projection": {4},
        "blocks.0": {3},
        "blocks.1": {2},
        "blocks.2": {1},
        "backbone.norm": {0},
        "head": {0},
    }


@pytest.mark.parametrize("member", members(BackboneChoice))
def test_every_model_has_its_embedding_below_its_layers(member: type) -> None:
    built = objective(small(member, layers=2))
    layer_depths = built.layer_depths()
    assert layer_depths.keys() == set(built.parameters())
    assert {layer_depths[p] for p in built.backbone.embedding.parameters()} == {3}
    assert [{layer_depths[p] for p in block.parameters()} for block in built.backbone.blocks] == [{2}, {1}]


def test_tied_weights_are_the_heads() -> None:
    built = objective(small(TransformerConfig, embedding_dim=None), tied=True)
    assert built.layer_depths()[built.head.weight] == 0


def rates_by_part(model: object, **optimizer: object) -> list[float]:
    """Of the head, the layers from above and the embedding; within each of these they are the same."""
    built = objective(model)
    made = AdamWConfig(**optimizer).build(built.parameters(), built.layer_depths())
    rates = {p: group["lr"] for group in made.param_groups for p in group["params"]}
    parts = [built.head, *reversed(built.backbone.blocks), built.backbone.embedding]
    found = [{rates[p] for p in part.parameters()} for part in parts]
    assert all(len(alike) == 1 for alike in found)
    return [alike.pop() for alike in found]


def test_rates_by_layer_are_ulmfits() -> None:
    """eta of a layer is that of the one above divided by 2.6; fastai's groups: head, three LSTMs, embedding."""
    found = rates_by_part(small(RecurrentConfig, layers=3), learning_rate=0.01, layer_decay=1 / 2.6)
    assert found == pytest.approx([0.01 / 2.6**n for n in range(5)])


def test_rates_by_layer_are_electras() -> None:
    """Rate times d^(L + 2 - depth): embeddings at depth 0, layer i at i + 1, the head at L + 2 (L = 3)."""
    model = small(TransformerConfig, layers=3)
    found = rates_by_part(model, learning_rate=1.0, layer_decay=0.8, layer_decay_gap=2)
    assert found == pytest.approx([0.8 ** (5 - depth) for depth in (5, 3, 2, 1, 0)])


def test_biases_and_norms_are_what_the_originals_exempt_by_name() -> None:
    """Names with LayerNorm, layer_norm or bias there; here whatever has one dimension."""
    model = small(TransformerConfig, direction="both", segments=2, norm={"kind": "post", "embedding": True})
    with torch.device("meta"):
        named = dict(model.build(11).named_parameters())
    exempt = {name for name, p in named.items() if p.dim() <= 1}
    assert exempt == {name for name in named if "norm" in name or name.endswith("bias")}
