import math

import pytest
import torch

from foretell.nn.activation import ActivationName, GatedName, function_of

POINTS = torch.linspace(-4, 4, 17, dtype=torch.float64)


def normal_cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
def test_activations_are_their_formulas(name: ActivationName) -> None:
    formulas = {
        "gelu": lambda x: x * normal_cdf(x),
        "gelu_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "relu": lambda x: max(x, 0.0),
    }
    function, gates = function_of(name)
    assert not gates
    torch.testing.assert_close(
        function(POINTS), torch.tensor([formulas[name](x) for x in POINTS.tolist()], dtype=torch.float64)
    )


@pytest.mark.parametrize("name", ["geglu", "swiglu"])
def test_gates_are_their_formulas(name: GatedName) -> None:
    formulas = {"geglu": lambda x: x * normal_cdf(x), "swiglu": lambda x: x * sigmoid(x)}
    function, gates = function_of(name)
    assert gates
    torch.testing.assert_close(
        function(POINTS), torch.tensor([formulas[name](x) for x in POINTS.tolist()], dtype=torch.float64)
    )
