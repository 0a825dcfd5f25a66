"""Activation checkpointing: the same gradients from less memory."""

import copy
from pathlib import Path

import pytest
import torch
from builders import assert_same, attending, outcome, small
from torch import Tensor

import foretell
from foretell.config import Config
from foretell.models.activation_checkpointing import recompute_blocks
from foretell.models.backbone import Backbone
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.types import Inputs

DROPOUT = dict(input=0.2, attention=0.2, residual=0.2, layer=0.2)
MODELS = [
    small(TransformerConfig, dropout=DROPOUT, layers=4),
    small(TransformerConfig, dropout=DROPOUT, layers=4, groups=2, direction="both"),
    small(RecurrentConfig, dropout=dict(weight=0.3, between=0.2)),
]


def gradients(backbone: Backbone) -> dict[str, Tensor]:
    backbone.zero_grad()
    torch.manual_seed(1)
    tokens = torch.randint(11, (3, 16))
    hidden = backbone(Inputs(tokens=tokens, lengths=torch.tensor([16, 3, 9])), None)
    (hidden.dropped * torch.randn_like(hidden.dropped)).sum().backward()
    return {name: p.grad.clone() for name, p in backbone.named_parameters() if p.grad is not None}


def kept_bytes(backbone: Backbone) -> int:
    """What autograd keeps between the passes; what a checkpoint keeps for itself is a block's inputs, not counted."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        backbone(Inputs(tokens=torch.randint(11, (8, 16))), None)
    return sum(kept.values())


@pytest.mark.parametrize("model", MODELS, ids=["gpt", "albert", "lstm"])
def test_gradients_are_the_same_with_dropout(model: Config) -> None:
    torch.manual_seed(0)
    plain = model.build(11).train()
    thrifty = copy.deepcopy(plain)
    recompute_blocks(thrifty)
    assert_same(gradients(thrifty), gradients(plain))
    assert thrifty.state_dict().keys() == plain.state_dict().keys()


def test_blocks_keep_nothing_but_their_inputs() -> None:
    torch.manual_seed(0)
    shallow, deep = (small(TransformerConfig, layers=n, hidden=32).build(11).train() for n in (2, 8))
    layers = kept_bytes(deep) - kept_bytes(shallow)
    for backbone in (shallow, deep):
        recompute_blocks(backbone)
    inputs = 6 * 8 * 16 * 32 * 4  # of six blocks: rows, tokens, width, bytes
    assert kept_bytes(deep) - kept_bytes(shallow) <= inputs < layers / 10


def test_a_copy_computes_with_its_own_weights() -> None:
    torch.manual_seed(0)
    backbone = small(TransformerConfig).build(11).train()
    recompute_blocks(backbone)
    copied = copy.deepcopy(backbone)
    gradients(copied)
    assert all(p.grad is None for p in backbone.parameters())
    assert all(p.grad is not None for p in copied.parameters())


def test_a_training_is_the_same(corpus: dict[str, str], tmp_path: Path) -> None:
    for name, recompute in (("plain", False), ("thrifty", True)):
        recipe = attending(corpus, limit="4steps", training__recompute=recompute)
        foretell.train(recipe, tmp_path / name, quiet=True)
    one, other = outcome(tmp_path / "plain"), outcome(tmp_path / "thrifty")
    same = [key for key in one if key.endswith("model.safetensors")]
    assert same
    assert {key: one[key] for key in same} == {key: other[key] for key in same}
