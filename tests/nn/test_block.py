"""A Transformer layer against torch's own."""

import pytest
import torch
from builders import assert_same
from torch import nn

from foretell.nn.attention.pattern import AttentionPattern
from foretell.nn.block import Block, FeedForward, PostNormConfig, PreNormConfig

WIDTH, HEADS, INNER, STEPS = 8, 2, 12, 5


def filled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module.double().eval()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm", [PreNormConfig(epsilon=0.1), PostNormConfig(epsilon=0.1)], ids=lambda norm: norm.kind)
def test_a_layer_is_torchs_own(
    norm: PreNormConfig | PostNormConfig, activation: str, biases: bool, causal: bool
) -> None:
    ours = filled(
        Block(
            WIDTH,
            heads=HEADS,
            inner=INNER,
            activation=activation,
            norm=norm,
            biases=biases,
            attention_dropout=0.5,
            residual_dropout=0.5,
        )
    )
    theirs = nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        INNER,
        activation=activation,
        layer_norm_eps=0.1,
        batch_first=True,
        norm_first=norm.kind == "pre",
        bias=biases,
    ).double()
    theirs.eval()
    named = {
        "attention_norm": "norm1",
        "attention.qkv.": "self_attn.in_proj_",
        "attention.out": "self_attn.out_proj",
        "feed_forward_norm": "norm2",
        "feed_forward.inner": "linear1",
        "feed_forward.out": "linear2",
    }
    state = ours.state_dict()
    for mine, its in named.items():
        state = {name.replace(mine, its) if name.startswith(mine) else name: value for name, value in state.items()}
    theirs.load_state_dict(state)
    inputs = torch.randn(3, STEPS, WIDTH, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(STEPS, dtype=torch.float64) if causal else None
    found, (keys, values) = ours(inputs, AttentionPattern(causal))
    assert_same(found, theirs(inputs, src_mask=mask, is_causal=causal), 1e-12)
    assert keys.shape == values.shape == (3, HEADS, STEPS, WIDTH // HEADS)


def test_one_half_of_the_inner_vector_gates_the_other() -> None:
    """out . (gelu(W1 x) * W2 x) with inner = [W1; W2] (arXiv:2002.05202, equation 6)."""
    layer = filled(FeedForward(WIDTH, INNER, activation="geglu", biases=False))
    inputs = torch.randn(2, STEPS, WIDTH, dtype=torch.float64)
    gate, value = layer.inner.weight[:INNER], layer.inner.weight[INNER:]
    active = inputs @ gate.T
    active = active * (1 + torch.erf(active / 2**0.5)) / 2
    assert_same(layer(inputs), (active * (inputs @ value.T)) @ layer.out.weight.T, 1e-12)


@pytest.mark.parametrize("norm", [PreNormConfig(), PostNormConfig()], ids=lambda norm: norm.kind)
def test_with_both_branches_dropped_the_residual_stream_is_left(norm: PreNormConfig | PostNormConfig) -> None:
    settings = {"activation": "gelu", "biases": True, "attention_dropout": 0.0}
    layer = Block(WIDTH, heads=HEADS, inner=INNER, norm=norm, residual_dropout=1 - 2**-16, **settings).double().train()
    inputs = torch.randn(3, STEPS, WIDTH, dtype=torch.float64)
    kept = inputs if norm.kind == "pre" else layer.feed_forward_norm(layer.attention_norm(inputs))
    torch.manual_seed(0)
    assert_same(layer(inputs, AttentionPattern(causal=True))[0], kept, 1e-12)
