"""Products through oneDNN, with weights that are kept laid out."""

import gc
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from builders import assert_same
from torch import Tensor

from foretell.kernels import matmul as kernel
from foretell.kernels.matmul import FEW, PACKED_FROM, linear, product, repeated_product, suits


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape)


def packed(weight: Tensor) -> bool:
    return weight in kernel._packed


needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.mark.parametrize("shape", [(1, 7), (5, 7), (2, 3, 7), (2, 1, 7), (FEW, 1, 7), (FEW + 1, 1, 7)], ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_product(shape: tuple[int, ...], biased: bool) -> None:
    weight, bias = drawn(11, 7), drawn(11) if biased else None
    for _ in range(PACKED_FROM + 2):
        x = drawn(*shape)
        exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
        assert_same(linear(x, weight, bias), exact.float(), 1e-5)


ROWS = {
    "without rows": lambda: drawn(7),
    "every other number": lambda: drawn(6, 14)[:, ::2],
    "turned": lambda: drawn(7, 5).t(),
    "one row for all": lambda: drawn(1, 7).expand(4, 7),
}
WEIGHTS = {
    "turned": lambda: drawn(7, 11).t(),
    "every other row": lambda: drawn(22, 7)[::2],
    "a part": lambda: drawn(11, 14)[:, 7:],
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_numbers_may_lie_anywhere(rows: str, weights: str) -> None:
    x, weight, bias = ROWS[rows](), WEIGHTS[weights](), drawn(22)[::2]
    exact = F.linear(x.double(), weight.double(), bias.double()).float()
    assert_same(product(x, weight, bias), exact, 1e-5)
    assert_same(product(x, weight), exact - bias, 1e-5)
    for times in (1, PACKED_FROM):
        assert_same(repeated_product(weight, times)(x), exact - bias, 1e-5)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (5, 7), (2, 3, 7)], ids=str)
@pytest.mark.parametrize("wanted", [(True, True, True), (True, False, False), (False, True, False)], ids=str)
def test_gradients(shape: tuple[int, ...], wanted: tuple[bool, ...]) -> None:
    parts, upstream = [drawn(*shape), drawn(11, 7), drawn(11)], drawn(*shape[:-1], 11)
    found = []
    for multiply, dtype in ((linear, torch.float32), (F.linear, torch.float64)):
        leaves = [part.to(dtype).requires_grad_(want) for part, want in zip(parts, wanted, strict=True)]
        with torch.enable_grad():
            multiply(*leaves).backward(upstream.to(dtype))
        found.append([leaf.grad for leaf in leaves])
    for mine, exact in zip(*found, strict=True):
        assert (mine is None) == (exact is None)
        if mine is not None and exact is not None:
            assert_same(mine, exact.float(), 1e-5)


@needs_onednn
def test_where_onednn_does_not_multiply() -> None:
    x, weight = drawn(3, 7), drawn(11, 7)
    assert suits(x, weight)
    assert not suits(x.double(), weight.double())
    assert not suits(x[:0], weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not suits(x, weight)
        assert product(x, weight).dtype == torch.bfloat16
    with torch.enable_grad():
        assert product(x, weight.requires_grad_()).requires_grad


@needs_onednn
def test_a_weight_is_laid_out_for_single_steps() -> None:
    weight = drawn(11, 7)
    for shape in ((3, 7), (3, 2, 7), (1, 1, 7), (FEW + 1, 1, 7)):
        for _ in range(PACKED_FROM):
            linear(drawn(*shape), weight)
        assert not packed(weight)
    for rows in (3, 4):  # the layout is for any number of rows
        x = drawn(rows, 1, 7)
        assert_same(linear(x, weight), x @ weight.t(), 1e-5)
        assert packed(weight)


@needs_onednn
def test_it_is_the_same_each_time() -> None:
    x, weight = drawn(5, 1, 300), drawn(200, 300)
    first = linear(x, weight)
    assert all(torch.equal(linear(x, weight), first) for _ in range(5))


@needs_onednn
def test_a_changed_weight_is_not_the_one_laid_out() -> None:
    x, weight = drawn(3, 1, 7), drawn(11, 7)
    for _ in range(2):
        assert_same(linear(x, weight), x @ weight.t(), 1e-5)
        weight.mul_(2)


@needs_onednn
def test_with_gradients_nothing_is_kept() -> None:
    weight = drawn(11, 7).requires_grad_()
    with torch.enable_grad():
        linear(drawn(3, 1, 7), weight).sum().backward()
    assert weight.grad is not None
    assert not packed(weight)


@needs_onednn
def test_nothing_outlives_its_weight() -> None:
    gc.collect()  # weights of earlier tests
    before = len(kernel._packed)
    weight = drawn(11, 7)
    linear(drawn(3, 1, 7), weight)
    assert len(kernel._packed) == before + 1
    del weight
    gc.collect()
    assert len(kernel._packed) == before
