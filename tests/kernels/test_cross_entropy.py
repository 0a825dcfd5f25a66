"""The loss of a linear layer over a large vocabulary: exact, and never all of its scores at once."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import assert_same
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from foretell.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_reference

POSITIONS, WIDTH, VOCABULARY = 23, 5, 17
# one row at a time (also where a row is more than a chunk), a few with a rest, exactly all, more
CHUNKS = [1, VOCABULARY - 1, VOCABULARY, 4 * VOCABULARY + 3, POSITIONS * VOCABULARY, 2**24]
every_chunk = pytest.mark.parametrize("chunk", CHUNKS)
biased = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])


def example(
    positions: int = POSITIONS, vocabulary: int = VOCABULARY, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(positions, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, WIDTH, dtype=dtype, requires_grad=True)
    bias = torch.randn(vocabulary, dtype=dtype, requires_grad=True)
    return hidden, weight, bias, torch.randint(vocabulary, (positions,))


@every_chunk
@biased
def test_equal_to_torch_with_gradients(chunk: int, bias: bool) -> None:
    hidden, weight, offset, targets = example()
    wanted = [hidden, weight, *([offset] if bias else [])]
    upstream = torch.randn(POSITIONS, dtype=torch.float64)
    expected = F.cross_entropy(F.linear(hidden, weight, offset if bias else None), targets, reduction="none")
    nll = linear_cross_entropy(hidden, weight, offset if bias else None, targets, chunk)
    assert_same(nll, expected, 1e-12)
    gradients = torch.autograd.grad(nll @ upstream, wanted)
    assert_same(gradients, torch.autograd.grad(expected @ upstream, wanted), 1e-12)


def test_the_reference_is_torchs() -> None:
    hidden, weight, bias, targets = example()
    scores = (hidden @ weight.T + bias).log_softmax(1)
    expected = -scores[torch.arange(POSITIONS), targets]
    assert_same(linear_cross_entropy_reference(hidden, weight, bias, targets), expected, 1e-12)


@every_chunk
@biased
def test_gradcheck(chunk: int, bias: bool) -> None:
    hidden, weight, offset, targets = example(positions=6)
    given = (hidden, weight, offset if bias else None)
    assert torch.autograd.gradcheck(lambda *g: linear_cross_entropy(*g, targets, chunk), given)


@every_chunk
@pytest.mark.parametrize("wanted", [0, 1, 2], ids=["hidden", "weight", "bias"])
def test_only_the_gradient_asked_for(chunk: int, wanted: int) -> None:
    *given, targets = example()
    expected = torch.autograd.grad(linear_cross_entropy_reference(*given, targets).sum(), given[wanted])
    for i, tensor in enumerate(given):
        tensor.requires_grad_(i == wanted)
    linear_cross_entropy(*given, targets, chunk).sum().backward()
    assert_same(given[wanted].grad, expected[0], 1e-12)


@every_chunk
def test_going_backward_twice(chunk: int) -> None:
    """Scores that were kept are used up by the first time."""
    *given, targets = example()
    total = linear_cross_entropy(*given, targets, chunk).sum()
    first = torch.autograd.grad(total, given, retain_graph=True)
    assert_same(torch.autograd.grad(total, given), first, 1e-12)


@every_chunk
def test_no_positions(chunk: int) -> None:
    *given, targets = example(positions=0)
    nll = linear_cross_entropy(*given, targets, chunk)
    assert nll.shape == (0,)
    nll.sum().backward()
    assert given[0].grad.shape == (0, WIDTH)
    assert not given[1].grad.any() and not given[2].grad.any()


def test_large_scores_do_not_overflow() -> None:
    hidden, weight, bias, targets = example(dtype=torch.float32)
    nll = linear_cross_entropy(hidden * 1e4, weight, bias, targets, 50)
    expected = F.cross_entropy(
        F.linear(hidden.double() * 1e4, weight.double(), bias.double()), targets, reduction="none"
    )
    torch.testing.assert_close(nll.double(), expected, rtol=1e-5, atol=1e-2)
    gradients = torch.autograd.grad(nll.sum(), [hidden, weight, bias])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@every_chunk
def test_lower_precision_sums_in_fp32(chunk: int) -> None:
    """bf16 operands: the loss is as exact as their products, not as bf16 sums over the vocabulary."""
    hidden, weight, bias, targets = (
        t.detach().bfloat16() if t.is_floating_point() else t for t in example(vocabulary=3000)
    )
    nll = linear_cross_entropy(hidden, weight, bias, targets, chunk * 100)
    scores = F.linear(hidden, weight, bias).double()
    assert nll.dtype == torch.float32
    assert_same(nll.double(), F.cross_entropy(scores, targets, reduction="none"), 1e-4)


@pytest.mark.parametrize("chunk", [40, 2**24])
def test_under_autocast_gradients_come_in_the_weights_own_type(chunk: int) -> None:
    *given, targets = example(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        nll = linear_cross_entropy(*given, targets, chunk)
    assert nll.dtype == torch.float32
    gradients = torch.autograd.grad(nll.sum(), given)
    expected = torch.autograd.grad(linear_cross_entropy_reference(*given, targets).sum(), given)
    for gradient, exact in zip(gradients, expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - exact).norm() < 0.02 * exact.norm()


def test_many_chunks_under_autocast_add_up_in_fp32() -> None:
    """Against float64 on the same rounded operands: summed up in bf16, small parts of a large sum would be lost."""
    torch.manual_seed(0)
    hidden = torch.rand(4000, WIDTH).bfloat16().float().requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH).bfloat16().float().requires_grad_()
    bias = torch.randn(VOCABULARY).bfloat16().float().requires_grad_()
    targets = torch.randint(3, (4000,))  # so that most parts of a sum have the same sign
    mean = 1 / 1400  # no number of bf16
    with torch.autocast("cpu", torch.bfloat16):
        total = linear_cross_entropy(hidden, weight, bias, targets, 2 * VOCABULARY).sum() * mean
    gradients = torch.autograd.grad(total, (hidden, weight, bias))
    exact = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight, bias)]
    expected = torch.autograd.grad(linear_cross_entropy_reference(*exact, targets).sum() * mean, exact)
    errors = [float((g - e).norm() / e.norm()) for g, e in zip(gradients, expected, strict=True)]
    assert errors[0] < 1e-2 and errors[1] < 2e-3 and errors[2] < 2e-3
    lossy = torch.zeros(VOCABULARY, WIDTH, dtype=torch.bfloat16)
    for _ in range(2000):  # what it would be otherwise
        lossy += (expected[1] / 2000).bfloat16()
    assert (lossy - expected[1]).norm() > 0.1 * expected[1].norm()


class Made(TorchDispatchMode):
    """Remembers the types of all tensors of so many elements that are made; views and changed ones are left out."""

    def __init__(self, elements: int):
        super().__init__()
        self.elements, self.dtypes, self.kept = elements, [], []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.numel() >= self.elements]
        self.kept += made  # lest their memory is used again
        self.dtypes += [leaf.dtype for leaf in made if leaf.untyped_storage().data_ptr() not in given]
        return result


def test_one_gradient_of_the_weights_is_all_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretell.kernels.cross_entropy.BLOCK", 4 * WIDTH)
    *given, targets = example(vocabulary=600, dtype=torch.float32)
    with Made(600 * WIDTH) as made:
        with torch.autocast("cpu", torch.bfloat16):
            total = linear_cross_entropy(*given, targets, 3 * 600).sum()
        torch.autograd.grad(total, given)
    assert made.dtypes == [torch.bfloat16, torch.float32]  # the weights as they are multiplied, and their gradient


@pytest.mark.parametrize("ignored", [0, 1, 9])
def test_gradients_made_at_once_are_set_right_for_rows_with_another_factor(ignored: int) -> None:
    """As where padding has no part in a loss; without gradients nothing of the kind is made."""
    *given, targets = example()
    factor = torch.full((POSITIONS,), 0.3, dtype=torch.float64)
    factor[:ignored] = 0
    nll = linear_cross_entropy(*given, targets, VOCABULARY)
    gradients = torch.autograd.grad(nll @ factor, given)
    expected = torch.autograd.grad(linear_cross_entropy_reference(*given, targets) @ factor, given)
    assert_same(gradients, expected, 1e-12)
    with Made(VOCABULARY * WIDTH) as made, torch.no_grad():
        linear_cross_entropy(*given, targets, VOCABULARY)
    assert not made.dtypes


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


@pytest.mark.parametrize("rows", [8, 100])
def test_scores_exist_for_one_chunk_at_a_time(rows: int) -> None:
    positions, vocabulary = 400, 600
    *given, targets = example(positions, vocabulary)
    with Largest() as largest:
        linear_cross_entropy(*given, targets, rows * vocabulary).sum().backward()
    weights_and_hidden = max(vocabulary, positions) * WIDTH
    assert largest.elements == max(rows * vocabulary, weights_and_hidden)
    with Largest() as largest:
        linear_cross_entropy_reference(*given, targets).sum().backward()
    assert largest.elements == positions * vocabulary  # what is being avoided
