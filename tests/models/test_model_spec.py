"""Specifications of models: other settings, and modules built elsewhere."""

import pytest
from builders import small

from foretell.errors import ConfigError
from foretell.models.model_spec import ModelSpec
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig

VOCABULARY = 11
BERT = {"direction": "both", "norm": {"kind": "post", "embedding": True}, "segments": 2, "embedding_dim": None}


def test_a_spec_with_other_settings() -> None:
    plan = ModelSpec(small(TransformerConfig, **BERT), FullHeadConfig(tied=True), VOCABULARY, pair_kinds=2)
    other = plan.override({"model": {"hidden": 2, "heads": 1, "embedding_dim": 4}, "head": {"tied": False}})
    assert (other.model.hidden, other.model.embedding_width, other.head.tied) == (2, 4, False)
    assert (other.model.layers, other.model.direction, other.pair_kinds) == (2, "both", 2)
    assert plan.model.hidden == 4  # as it was
    assert other.build()[0].dim == 2
    assert plan.override({"model": {"kind": "recurrent", "direction": "both"}}).model.kind == "recurrent"
    with pytest.raises(ConfigError, match="no such setting"):
        plan.override({"model": {"hiden": 3}})


def test_a_spec_with_built_modules_returns_them() -> None:
    spec = ModelSpec(small(TransformerConfig, **BERT), FullHeadConfig(), VOCABULARY)
    backbone, head = spec.build()
    shared = spec.with_built(backbone, head)
    assert shared.build() == (backbone, head)
    assert shared.backbone() is backbone
    assert spec.build()[0] is not backbone
    assert shared.override({"model": {"hidden": 2, "heads": 1}}).build()[0] is not backbone
