"""Weight normalisation of the multiplicative LSTM."""

import torch
from builders import assert_same
from torch import Tensor

from foretell.nn.recurrent.mlstm import MLSTM, MLSTMConfig

INPUTS, HIDDEN, ROWS, STEPS = 3, 4, 5, 6


def example(layer: MLSTM) -> tuple[Tensor, tuple[Tensor, ...]]:
    x = torch.randn(ROWS, STEPS, INPUTS, dtype=torch.float64)
    return x, tuple(torch.randn_like(part) for part in layer.initial(ROWS))


def test_weight_norm_starts_with_the_plain_weights() -> None:
    """The lengths are those of the rows; scaling a direction changes nothing, scaling a length does."""
    torch.manual_seed(0)
    plain = MLSTMConfig().build(INPUTS, HIDDEN, 0.0, None).double()
    torch.manual_seed(0)
    layer = MLSTMConfig(weight_norm=True).build(INPUTS, HIDDEN, 0.0, None).double()
    x, state = example(layer)
    before = layer(x, state)[0]
    assert_same(before, plain(x, state)[0], 1e-6)  # lengths were computed in fp32
    with torch.no_grad():
        layer.weight_hh *= 3
        assert_same(layer(x, state)[0], before, 1e-12)
        layer.gain_hh *= 3
        plain.weight_hh *= 3
        assert_same(layer(x, state)[0], plain(x, state)[0], 1e-6)
