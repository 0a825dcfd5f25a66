"""Generators: smaller ones on shared embeddings, the main model itself, none."""

from typing import Any

import pytest
import torch
from electra import compose, masked_batch
from torch import nn

from foretell.errors import ConfigError


def unique(*modules: nn.Module) -> int:
    return sum(p.numel() for p in {p for module in modules for p in module.parameters()})


@pytest.mark.parametrize(
    ("model", "share", "discriminator", "generator"),
    [  # counts of transformers' ElectraForPreTraining and ElectraForMaskedLM
        ({"hidden": 256, "heads": 4, "embedding_dim": 128}, 0.25, 13_549_057, 4_620_026),
        ({"hidden": 768, "heads": 12}, 0.3333, 109_483_009, None),
    ],
)
def test_published_sizes(model: dict[str, Any], share: float, discriminator: int, generator: int | None) -> None:
    with torch.device("meta"):
        built = compose(model | {"layers": 12, "context": 512}, 30_522, generator={"hidden_share": share})
    assert unique(built.backbone, built.discriminator) == discriminator
    width = built.backbone.embedding.width
    shared = (30_522 + 512 + 2 + 2) * width  # words, positions, segments and the norm of their sum
    assert unique(built) == discriminator + unique(built.generator) - shared
    assert generator is None or unique(built.generator) == generator


def test_embeddings_are_one() -> None:
    built = compose({"embedding_dim": 4}, generator={"hidden_share": 0.5})
    main, small = built.backbone, built.generator.backbone
    assert main.embedding is small.embedding
    assert main.positions is small.positions
    assert main.segments is small.segments
    assert main.embedding_norm is small.embedding_norm
    assert built.generator.head.weight is main.embedding.weight
    assert (small.dim, small.cache.heads, main.cache.heads) == (4, 1, 2)  # heads as wide as before
    assert isinstance(small.projection, nn.Identity)  # 4 wide already
    assert main.projection is not small.projection


def test_the_generator_is_an_override() -> None:
    deep = compose(generator={"model": {"layers": 1, "feed_forward": 3}, "head": {"transform": {"epsilon": 0.5}}})
    assert len(deep.generator.backbone.blocks) == 1
    assert deep.generator.backbone.blocks[0].feed_forward.inner.out_features == 3
    assert deep.generator.head.transform.norm.eps == 0.5
    with pytest.raises(ConfigError, match=r"objective.generator: model.laters: no such setting; did you mean 'layers'"):
        compose(generator={"model": {"laters": 1}})
    with pytest.raises(ConfigError, match=r"shares the main model's embeddings"):
        compose(generator={"model": {"context": 16}})


def test_other_generators() -> None:
    tied = compose(generator="tied")
    assert tied.generator.backbone is tied.backbone
    uniform = compose(generator="uniform")
    assert uniform.generator is None
    assert uniform.counts(masked_batch()) == {"replaced": 22}
