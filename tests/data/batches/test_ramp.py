"""Batches that grow: how large each is by hand, every row once, the same at any time."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import SPECIALS, assert_same, fake_text

from foretell import config
from foretell.config import Amount
from foretell.data.batches.packing import FullConfig
from foretell.data.batches.ramp import Ramp, RampConfig, joined
from foretell.data.batches.streams import CropsConfig
from foretell.errors import ConfigError
from foretell.types import Batch, Inputs

SOURCE = CropsConfig(batch=3, length=4).build(fake_text(200), SPECIALS, seed=1)


def ramp(times: int, over: str) -> Ramp:
    return config.validate(RampConfig, {"times": times, "over": over}, "ramp").build(SOURCE, 12)


def sizes(batches: Ramp, count: int) -> list[int]:
    """How many of the source each batch is made of."""
    return [batches.first(k + 1) - batches.first(k) for k in range(count)]


@pytest.mark.parametrize(
    ("times", "over", "expected"),
    [
        (4, "6steps", [1, 2, 2, 3, 3, 4, 4, 4, 4]),  # 1 + 3 k / 6: a half is rounded up
        (2, "4steps", [1, 1, 2, 2, 2, 2]),  # 1 + k / 4
        (5, "240tokens", [1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5]),  # 1 + 4 n / 20, n being batches of the source before
    ],
)
def test_sizes_by_hand(times: int, over: str, expected: list[int]) -> None:
    assert sizes(ramp(times, over), len(expected)) == expected


def test_ramps_over_epochs() -> None:
    found = ramp(3, "1epochs")
    assert sizes(found, 1) == [1]
    grown = next(k for k in range(100) if found.first(k) >= len(SOURCE))
    assert sizes(found, grown + 9)[grown:] == [3] * 9
    assert sizes(found, grown) == sorted(sizes(found, grown))


def test_the_rows_are_those_of_the_source() -> None:
    found = ramp(4, "6steps")
    many = [found[k] for k in range(9)]
    one = [SOURCE[k] for k in range(found.first(9))]
    every = lambda batches: [row[row != -100].tolist() for batch in batches for row in batch.targets]  # noqa: E731
    assert every(many) == every(one)
    assert [len(batch.targets) for batch in many[:3]] == [3, 6, 6]


@pytest.mark.parametrize("over", ["6steps", "240tokens", "2epochs"])
def test_any_batch_at_any_time(over: str) -> None:
    in_order = ramp(4, over)
    batches = [in_order[k] for k in range(30)]
    for k in (29, 3, 17, 0):
        assert_same(ramp(4, over)[k], batches[k])
        assert ramp(4, over).locate(k) == in_order.locate(k) == SOURCE.locate(in_order.first(k))


def test_epochs_have_the_batches_that_begin_in_them() -> None:
    found = ramp(4, "6steps")
    epochs = [found.locate(k)[0] for k in range(30)]
    assert [found.size(epoch) for epoch in range(3)] == [epochs.count(epoch) for epoch in range(3)]


def test_joining_pads() -> None:
    long = Batch(Inputs(torch.tensor([[1, 2, 3]])), torch.tensor([[4, 5, 6]]), target_positions=torch.tensor([[0]]))
    short = Batch(
        Inputs(torch.tensor([[7, 0], [8, 9]]), lengths=torch.tensor([1, 2])),
        torch.tensor([[-100, -100], [1, 2]]),
        target_positions=torch.tensor([[-1, -1], [0, 1]]),
    )
    both = joined([long, short])
    assert both.inputs.tokens.tolist() == [[1, 2, 3], [7, 0, 0], [8, 9, 0]]
    assert both.inputs.lengths.tolist() == [3, 1, 2]
    assert both.targets.tolist() == [[4, 5, 6], [-100] * 3, [1, 2, -100]]
    assert both.target_positions.tolist() == [[0, -1], [-1, -1], [0, 1]]
    assert both.tokens == long.tokens + short.tokens
    assert joined([long]) is long
    segments = [replace(b, inputs=replace(b.inputs, segments=torch.ones_like(b.inputs.tokens))) for b in (long, short)]
    assert joined(segments).inputs.segments.tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 0]]


def test_rows_for_masked_models_grow_too() -> None:
    source = FullConfig(batch=2, length=10).build(fake_text(300), SPECIALS, seed=0)
    found = RampConfig(times=3, over=Amount.model_validate("3steps")).build(source, 20)
    assert found[5].tokens == sum(source[n].tokens for n in range(found.first(5), found.first(6)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"times": 4, "over": "10m"}, r"over.*differ from run to run"),
        ({"times": 1, "over": "10steps"}, r"times"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.validate(RampConfig, settings, "ramp")
