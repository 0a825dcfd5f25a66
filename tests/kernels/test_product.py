"""Products with weights that MKL keeps laid out."""

import gc
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from builders import assert_same
from torch import Tensor

from foretell.kernels import product
from foretell.kernels.product import FEW, PACKED_FROM, linear


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape)


def packed(weight: Tensor) -> bool:
    known = product._known.get(weight)
    return known is not None and known.packed is not None


needs_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch has no MKL")


@pytest.mark.parametrize("shape", [(1, 7), (5, 7), (2, 3, 7), (FEW, 7), (FEW + 1, 7)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_product(shape: tuple[int, ...], biased: bool) -> None:
    weight, bias = drawn(11, 7), drawn(11) if biased else None
    for _ in range(PACKED_FROM + 2):
        x = drawn(*shape)
        exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
        assert_same(linear(x, weight, bias), exact.float(), 1e-5)


@needs_mkl
def test_a_weight_is_laid_out_when_it_is_used_again_and_again() -> None:
    weight = drawn(11, 7)
    seen = []
    for _ in range(PACKED_FROM + 1):
        linear(drawn(3, 7), weight)
        seen.append(packed(weight))
    assert seen == [False] * (PACKED_FROM - 1) + [True] * 2
    linear(drawn(4, 7), weight)
    assert not packed(weight), "the layout is for a number of rows"


@needs_mkl
def test_a_changed_weight_is_not_the_one_laid_out() -> None:
    weight = drawn(11, 7)
    for _ in range(PACKED_FROM):
        linear(drawn(3, 7), weight)
    assert packed(weight)
    weight.mul_(2)
    x = drawn(3, 7)
    assert_same(linear(x, weight), x @ weight.t(), 1e-5)
    assert not packed(weight)


@needs_mkl
def test_with_gradients_nothing_is_kept() -> None:
    weight = drawn(11, 7).requires_grad_()
    with torch.enable_grad():
        for _ in range(PACKED_FROM + 1):
            linear(drawn(3, 7), weight).sum().backward()
    assert weight.grad is not None
    assert not packed(weight)


@needs_mkl
def test_nothing_outlives_its_weight() -> None:
    gc.collect()  # weights of earlier tests
    before = len(product._known)
    weight = drawn(11, 7)
    linear(drawn(3, 7), weight)
    assert len(product._known) == before + 1
    del weight
    gc.collect()
    assert len(product._known) == before
