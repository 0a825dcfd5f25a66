"""Attention with dropout, whose steps are written out where torch has no fused kernel."""

import pytest
import torch
import torch.nn.functional as F
from builders import assert_same
from torch import Tensor

from foretell.nn.attention.attention import SelfAttention, attend_with_dropout
from foretell.nn.attention.pattern import AttentionPattern

ROWS, STEPS, HEADS, WIDTH = 2, 6, 3, 4


def vectors() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(ROWS, STEPS, HEADS, WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(3)]


VISIBLE = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])[:, None, None]


@pytest.mark.parametrize(("causal", "visible"), [(False, None), (True, None), (False, VISIBLE)])
def test_without_dropping_it_is_the_fused_one(causal: bool, visible: Tensor | None) -> None:
    given = vectors()
    expected = F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in given), attn_mask=visible, is_causal=causal
    ).transpose(1, 2)
    ours = attend_with_dropout(*given, visible, 1e-12, causal=causal)
    assert_same(ours, expected, 1e-11)
    weight = torch.randn_like(expected)
    theirs = torch.autograd.grad((expected * weight).sum(), given)
    assert_same(torch.autograd.grad((ours * weight).sum(), given), theirs, 1e-11)


def test_what_is_dropped_are_looks_at_tokens() -> None:
    """With a value of its own at each place, an output is the row of looks: each is gone, or larger by 1 / (1 - p)."""
    rate, steps = 0.25, 64
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, steps, 5, steps, dtype=torch.float64)
    value = torch.eye(steps, dtype=torch.float64)[None, :, None].expand(1, steps, 5, steps)
    whole = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value))).transpose(1, 2)
    dropped = attend_with_dropout(query, key, value, None, rate, causal=False)
    kept = dropped != 0
    assert_same(dropped[kept], whole[kept] / (1 - rate), 1e-12)
    assert float(kept.double().mean()) == pytest.approx(1 - rate, abs=0.02)
    assert len({tuple(row) for row in kept.flatten(0, 2).tolist()}) == 5 * steps  # drawn anew for each token and head


def test_evaluation_drops_nothing() -> None:
    torch.manual_seed(0)
    attention, inputs = SelfAttention(8, 2, dropout=0.9).eval(), torch.randn(2, 5, 8)
    assert_same(
        attention(inputs, AttentionPattern(causal=True))[0], attention(inputs, AttentionPattern(causal=True))[0]
    )
