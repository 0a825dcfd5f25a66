"""The loss estimated from sampled words: the equation, its gradient, and what it tends to."""

import math

import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.kernels.cross_entropy import linear_cross_entropy_reference
from foretell.kernels.sampled_cross_entropy import sampled_cross_entropy, sampled_cross_entropy_reference

POSITIONS, WIDTH, VOCABULARY = 17, 5, 23
SAMPLED = torch.tensor([0, 1, 4, 9, 10, 22])
STANDS = torch.linspace(-0.5, 2.5, len(SAMPLED), dtype=torch.float64)


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(POSITIONS, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, dtype=dtype, requires_grad=True)
    bias = torch.randn(VOCABULARY, dtype=dtype, requires_grad=True)
    return hidden, weight, bias, torch.arange(POSITIONS) + 3  # some among the sampled, 22 too big for the table's end


@pytest.mark.parametrize("chunk", [1, 40, 2**20])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_equal_to_the_equation_with_gradients(chunk: int, bias: bool) -> None:
    hidden, weight, offset, targets = example()
    given = (hidden, weight, offset if bias else None)
    nll = sampled_cross_entropy(*given, targets, SAMPLED, STANDS, chunk)
    expected = sampled_cross_entropy_reference(*given, targets, SAMPLED, STANDS)
    assert_same(nll, expected, 1e-12)
    upstream, wanted = torch.randn(POSITIONS, dtype=torch.float64), [t for t in given if t is not None]
    gradients = torch.autograd.grad(nll @ upstream, wanted)
    assert_same(gradients, torch.autograd.grad(expected @ upstream, wanted), 1e-12)


def test_gradcheck() -> None:
    *given, targets = example()
    part = [given[0][:5].detach().requires_grad_(), *given[1:]]
    assert torch.autograd.gradcheck(lambda *g: sampled_cross_entropy(*g, targets[:5], SAMPLED, STANDS, 13), part)


def test_all_words_once_are_the_full_loss() -> None:
    *given, targets = example()
    nll = sampled_cross_entropy(*given, targets, torch.arange(VOCABULARY), torch.zeros(VOCABULARY).double())
    assert_same(nll, linear_cross_entropy_reference(*given, targets), 1e-12)


def test_the_estimated_denominator_has_no_bias() -> None:
    """Over 4000 draws of 6 words: the mean of its exponential is that of the full softmax, within four errors."""
    hidden, weight, bias, targets = (t.detach() for t in example())
    q = torch.rand(VOCABULARY, dtype=torch.float64) + 0.1
    q /= q.sum()
    own = (hidden @ weight.t() + bias)[torch.arange(POSITIONS), targets]
    found = []
    for _ in range(4000):
        words, times = torch.multinomial(q, 6, replacement=True).unique(return_counts=True)
        stands = times.log() - math.log(6) - q[words].log()
        found.append((sampled_cross_entropy(hidden, weight, bias, targets, words, stands) + own).exp())
    estimates = torch.stack(found)  # [4000, N]
    exact = (hidden @ weight.t() + bias).exp().sum(1)
    errors = (estimates.mean(0) - exact) / (estimates.std(0) / math.sqrt(4000))
    assert errors.abs().max() < 4


def test_only_rows_that_took_part_have_gradients() -> None:
    hidden, weight, bias, targets = example(torch.float32)
    sampled_cross_entropy(hidden[:3], weight, bias, targets[:3], SAMPLED, STANDS.float()).sum().backward()
    touched = set(weight.grad.abs().sum(1).nonzero()[:, 0].tolist())
    assert touched == {*SAMPLED.tolist(), *targets[:3].tolist()}


def test_under_autocast() -> None:
    *given, targets = example(torch.float32)
    expected = sampled_cross_entropy_reference(*given, targets, SAMPLED, STANDS.float())
    with torch.autocast("cpu", torch.bfloat16):
        nll = sampled_cross_entropy(*given, targets, SAMPLED, STANDS.float(), 40)
    assert nll.dtype == torch.float32
    assert_same(nll, expected, 0.1)
    exact = torch.autograd.grad(expected.sum(), given)
    for gradient, its in zip(torch.autograd.grad(nll.sum(), given), exact, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - its).norm() < 0.02 * its.norm()


def test_no_positions() -> None:
    hidden, weight, bias, targets = example()
    nll = sampled_cross_entropy(hidden[:0], weight, bias, targets[:0], SAMPLED, STANDS)
    nll.sum().backward()
    assert nll.shape == (0,) and not weight.grad.any()
