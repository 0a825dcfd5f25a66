"""What heads have in common: where biases start, in which precision they compute, what they share."""

import math

import numpy as np
import pytest
import torch
from builders import assert_same

from foretell.errors import ConfigError
from foretell.nn.embedding import AdaptiveEmbedding, TokenEmbedding
from foretell.nn.frequency_bands import Bands
from foretell.nn.heads.head import NoHead, shared_weight, softmax_dtype, token_bias, uniform

COUNTS = np.array([8, 0, 1])


def test_a_bias_starts_at_the_shares_of_tokens() -> None:
    assert_same(token_bias(3, "zero", COUNTS).detach(), torch.zeros(3))
    expected = torch.tensor([math.log(9 / 12), math.log(1 / 12), math.log(2 / 12)])
    assert_same(token_bias(3, "unigram", COUNTS).detach(), expected, 1e-6)
    harmonic = 1 + 1 / 2 + 1 / 3
    zipf = torch.tensor([math.log(1 / place / harmonic) for place in (1, 2, 3)])
    assert_same(token_bias(3, "unigram", None).detach(), zipf, 1e-6)


@pytest.mark.parametrize(
    ("given", "computed"), [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64",) * 2]
)
def test_probabilities_have_single_precision_at_least(given: str, computed: str) -> None:
    assert softmax_dtype(torch.zeros(1, dtype=getattr(torch, given))) == getattr(torch, computed)


def test_uniform_weights_fill_their_bounds() -> None:
    weight = uniform(100, 50, bound=0.2).detach()
    assert 0.19 < float(weight.max()) <= 0.2 and -0.2 <= float(weight.min()) < -0.19
    assert float(weight.std()) == pytest.approx(0.2 / math.sqrt(3), rel=0.03)


def test_only_a_table_of_the_right_width_is_shared() -> None:
    table = TokenEmbedding(3, 4)
    assert shared_weight(table, 4, "model.output", "the model") is table.weight
    with pytest.raises(ConfigError, match=r"as wide as the model, 5, but it is 4; set model\.output"):
        shared_weight(table, 5, "model.output", "the model")
    with pytest.raises(ConfigError, match="but it does not exist"):
        shared_weight(None, 4, "model.output", "the model")
    with pytest.raises(ConfigError, match=r'set head\.kind = "adaptive", or head\.tied = false'):
        shared_weight(AdaptiveEmbedding(Bands(3, COUNTS, (1,)), 4), 4, "model.output", "the model")


def test_without_a_head_no_token_has_a_probability() -> None:
    head = NoHead()
    assert list(head.parameters()) == [] and head.token_rows() == {}
    for use in (head.log_probs, lambda hidden: head.nll(hidden, torch.zeros(1, dtype=torch.int64))):
        with pytest.raises(ConfigError, match="this model gives no token a probability"):
            use(torch.zeros(1, 4))
