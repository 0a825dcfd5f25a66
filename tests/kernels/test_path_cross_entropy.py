"""The loss of decisions on a path: the equation, its gradient, in pieces of any size."""

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels.path_cross_entropy import path_cross_entropy, path_cross_entropy_reference

ROWS = torch.tensor([0, 0, 0, 1, 3, 3, 4, 4, 4, 4])  # the third has no decision to take
NODES = torch.tensor([5, 2, 0, 5, 5, 1, 5, 2, 3, 4])
SIGNS = torch.tensor([1, -1, 1, -1, 1, 1, -1, -1, 1, -1]).double()


def example() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return tuple(torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3), (6, 3), (6,)))


@pytest.mark.parametrize("chunk", [1, 3, 11, 2**20])
def test_equal_to_the_equation_with_gradients(chunk: int) -> None:
    given = example()
    nll = path_cross_entropy(*given, ROWS, NODES, SIGNS, chunk)
    expected = path_cross_entropy_reference(*given, ROWS, NODES, SIGNS)
    assert_same(nll, expected, 1e-12)
    upstream = torch.randn(5, dtype=torch.float64)
    gradients = torch.autograd.grad(nll @ upstream, given)
    assert_same(gradients, torch.autograd.grad(expected @ upstream, given), 1e-12)
    assert torch.autograd.gradcheck(lambda *g: path_cross_entropy(*g, ROWS, NODES, SIGNS, chunk), given)


def test_one_decision_by_hand() -> None:
    hidden, weight, bias = torch.tensor([[2.0]]), torch.tensor([[0.5]]), torch.tensor([-0.25])
    pair = torch.tensor([0])
    for sign in (1.0, -1.0):
        nll = path_cross_entropy(hidden, weight, bias, pair, pair, torch.tensor([sign]))
        assert_same(nll, -torch.sigmoid(torch.tensor([sign * 0.75])).log(), 1e-6)
