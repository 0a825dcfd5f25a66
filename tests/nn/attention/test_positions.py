"""Position encodings against their formulas."""

import math

import torch
from builders import assert_same

from foretell.nn.attention.positions import LearnedConfig, NoPositionsConfig, RotaryConfig, SinusoidConfig, rotate
from foretell.nn.initializers import NormalConfig

CONTEXT, WIDTH, HEAD = 7, 6, 4
INITIAL = NormalConfig()


def test_learned_vectors_start_after_the_offset() -> None:
    positions = LearnedConfig(offset=2).build(CONTEXT, WIDTH, HEAD, INITIAL)
    assert positions.weight.shape == (CONTEXT + 2, WIDTH)
    assert_same(positions.vectors(torch.tensor([[0, 6]])), positions.weight[[2, 8]][None])
    assert positions.rotation(torch.tensor([0])) is None


def test_sinusoids_are_the_formula() -> None:
    vectors = SinusoidConfig(base=100.0).build(CONTEXT, WIDTH, HEAD, INITIAL).vectors(torch.arange(CONTEXT))
    for t in range(CONTEXT):
        for i in range(WIDTH):
            angle = t * 100.0 ** (-2 * (i // 2) / WIDTH)
            assert math.isclose(float(vectors[t, i]), (math.sin, math.cos)[i % 2](angle), abs_tol=1e-6)


def test_rotated_products_depend_on_the_distance() -> None:
    positions = RotaryConfig().build(CONTEXT, WIDTH, HEAD, INITIAL)
    torch.manual_seed(0)
    pair = torch.randn(1, 2, HEAD).expand(CONTEXT, 2, HEAD)  # the same query and key everywhere
    rotation = positions.rotation(torch.arange(CONTEXT))
    query, key = rotate(pair, rotation).unbind(1)  # [C, d]
    products = query @ key.t()
    for distance in range(CONTEXT):
        diagonal = products.diagonal(distance)
        assert_same(diagonal, diagonal[:1].expand_as(diagonal), 1e-5)
    assert positions.vectors(torch.arange(CONTEXT)) is None


def test_without_positions_there_is_neither() -> None:
    positions = NoPositionsConfig().build(CONTEXT, WIDTH, HEAD, INITIAL)
    assert positions.vectors(torch.tensor([0])) is None and positions.rotation(torch.tensor([0])) is None
