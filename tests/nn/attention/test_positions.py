"""Position encodings against their formulas."""

import math

import pytest
import torch
from builders import assert_same

from foretell.config import validate
from foretell.errors import ConfigError
from foretell.nn.attention.positions import (
    LearnedConfig,
    LinearScalingConfig,
    Llama3ScalingConfig,
    NoPositionsConfig,
    RotaryConfig,
    SinusoidConfig,
    rotate,
)
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


def angles(config: RotaryConfig, width: int) -> list[float]:
    """The angles of position 1, which are the frequencies."""
    cosines, sines = config.build(2, WIDTH, width, INITIAL).rotation(torch.tensor([1]))
    found = torch.atan2(sines, cosines).flatten()
    assert_same(found[: width // 2], found[width // 2 :])
    return found[: width // 2].tolist()


def test_linear_scaling_divides_positions() -> None:
    scaled = RotaryConfig(scaling=LinearScalingConfig(factor=4.0)).build(4 * CONTEXT, WIDTH, HEAD, INITIAL)
    plain = RotaryConfig().build(CONTEXT, WIDTH, HEAD, INITIAL)
    every = torch.arange(CONTEXT)
    for found, expected in zip(scaled.rotation(4 * every), plain.rotation(every), strict=True):
        assert_same(found, expected, 1e-6)


def test_frequencies_of_llama_3_1() -> None:
    """By wavelength: up to 2,048 tokens kept, from 8,192 on an eighth, between them linear in the turns."""
    width, base = 128, 500_000.0
    found = angles(RotaryConfig(base=base, scaling=Llama3ScalingConfig()), width)
    between = 0
    for i, frequency in enumerate(found):
        plain = base ** (-2 * i / width)
        length = 2 * math.pi / plain
        if length <= 2048:
            expected = plain
        elif length >= 8192:
            expected = plain / 8
        else:
            smooth = (8192 / length - 1) / 3
            expected, between = (1 - smooth) * plain / 8 + smooth * plain, between + 1
        assert math.isclose(frequency, expected, rel_tol=1e-6)
    assert between == 6


def test_scaling_keeps_what_makes_enough_turns() -> None:
    always = Llama3ScalingConfig(factor=9.0, low_freq_factor=1e-9, high_freq_factor=1e-8, original_context=100)
    never = Llama3ScalingConfig(factor=9.0, low_freq_factor=1e6, high_freq_factor=1e7, original_context=100)
    plain = angles(RotaryConfig(), HEAD)
    assert angles(RotaryConfig(scaling=always), HEAD) == plain
    assert angles(RotaryConfig(scaling=never), HEAD) == pytest.approx([frequency / 9 for frequency in plain])


def test_factors_of_scaling_in_the_wrong_order() -> None:
    tree = {"scaling": {"kind": "llama3", "low_freq_factor": 4.0}}
    with pytest.raises(ConfigError, match="high_freq_factor = 4 has to be larger than low_freq_factor = 4"):
        validate(RotaryConfig, tree, "recipe")
    assert validate(RotaryConfig, {"scaling": "llama3"}, "recipe").scaling == Llama3ScalingConfig()


def test_without_positions_there_is_neither() -> None:
    positions = NoPositionsConfig().build(CONTEXT, WIDTH, HEAD, INITIAL)
    assert positions.vectors(torch.tensor([0])) is None and positions.rotation(torch.tensor([0])) is None
