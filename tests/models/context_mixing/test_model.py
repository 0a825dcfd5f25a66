"""The model learns, opens what it saved, and keeps the places of two texts apart."""

import math

import numpy as np
import pytest
import torch

from foretell.errors import ConfigError
from foretell.models.context_mixing.contexts import OrderConfig
from foretell.models.context_mixing.model import BLOCK, ContextMixing, ContextMixingConfig, Pace

STARTS = np.zeros(0, np.int64)
TEXT = np.frombuffer(b"to be, or not to be, that is the question\n" * 12, np.uint8).astype(np.uint16) + 1


@pytest.fixture(scope="module")
def model() -> ContextMixing:
    return ContextMixingConfig(table_bits=12).fit(TEXT, STARTS, 0, 257)


def test_other_tokens_than_bytes_are_refused() -> None:
    with pytest.raises(ConfigError, match="predicts bytes"):
        ContextMixingConfig().fit(TEXT, STARTS, 0, 258)


def test_an_opened_model_predicts_alike(model: ContextMixing) -> None:
    again = ContextMixingConfig(table_bits=12).load(model.tensors(), 0, 257)
    context = TEXT[:20].astype(np.int64)
    np.testing.assert_array_equal(again.distribution_after(context), model.distribution_after(context))
    assert again.parameters == model.parameters


def test_tensors_of_other_settings_are_refused(model: ContextMixing) -> None:
    other = ContextMixingConfig(contexts=(OrderConfig(length=1),), table_bits=12)
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):
        other.load(model.tensors(), 0, 257)
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):
        other.load({"weight": torch.zeros(3)}, 0, 257)
    with pytest.raises(ConfigError, match="not those of this context-mixing model"):  # its tokens would be outside
        ContextMixingConfig(table_bits=12).load(model.tensors(), 0, 5962)


def test_a_text_is_predicted_from_its_own_beginning(model: ContextMixing) -> None:
    context = np.frombuffer(b"not to b", np.uint8).astype(np.int64) + 1
    alone = model.distribution_after(context)
    model.distribution_after(np.full(50, 9))
    np.testing.assert_array_equal(model.distribution_after(context), alone)
    assert int(alone.argmax()) == ord("e") + 1


def test_a_copy_learns_by_itself(model: ContextMixing) -> None:
    context = TEXT[:5].astype(np.int64)
    before = model.distribution_after(context)
    other = model.copy()
    other.learn(np.full(40, 70, np.uint16))
    np.testing.assert_array_equal(model.distribution_after(context), before)


def test_in_a_given_time_it_reads_the_end_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves by a second with each block of 64 bytes."""
    text = np.random.default_rng(0).integers(1, 257, 64 * 40).astype(np.uint16)
    seconds = iter(range(100))
    monkeypatch.setattr("foretell.models.context_mixing.model.BLOCK", 64)
    monkeypatch.setattr("foretell.models.context_mixing.model.time.perf_counter", lambda: next(seconds))
    model = ContextMixingConfig(table_bits=12).fit(text, STARTS, 0, 257, seconds=5.5)
    history = model.tables.history[: int(model.tables.position[0])].astype(np.uint16) + 1
    assert model.report() == {"tokens": len(history)} and 64 * 5 <= len(history) <= 64 * 6
    np.testing.assert_array_equal(history[:64], text[:64])
    np.testing.assert_array_equal(history[-32:], text[-32:])
    assert ContextMixingConfig(table_bits=12).fit(text[:200], STARTS, 0, 257).report() == {"tokens": 200}


@pytest.mark.parametrize(
    ("tokens", "seconds", "faster", "learned", "skipped"),
    [
        (1_000_000, math.inf, 4, (1_000_000, 1_000_000), (0, 0)),
        (1_000_000, 60, 4, (900_000, 1_000_000), (0, 0)),  # enough time for all
        (10_000_000, 60, 4, (2_100_000, 2_400_000), (0, 0)),  # x / 70,000 + (10 million - x) / 280,000 = 60
        (100_000_000, 60, 4, (200_000, 500_000), (80_000_000, 99_000_000)),
        (10_000_000, 60, 1, (3_600_000, 4_300_000), (5_600_000, 6_400_000)),  # counting is no faster
        (10_000_000, 2, 4, (50_000, 200_000), (9_500_000, 9_900_000)),
    ],
)
def test_the_end_is_learned_from_and_the_rest_counted_as_time_allows(
    monkeypatch: pytest.MonkeyPatch,
    tokens: int,
    seconds: float,
    faster: float,
    learned: tuple[int, int],
    skipped: tuple[int, int],
) -> None:
    now, place, read, left_out, last = 0.0, 0, {False: 0, True: 0}, 0, True
    monkeypatch.setattr("foretell.models.context_mixing.model.time.perf_counter", lambda: now)
    pace = Pace(seconds)
    while place < tokens and pace.left > 0:
        excess = pace.excess(tokens - place)
        place, left_out = place + excess, left_out + excess
        last, size = pace.counts(tokens - place), min(BLOCK, tokens - place)
        now += size / (70_000 * (faster if last else 1))
        pace.note(size, counts=last)
        place, read[last] = place + size, read[last] + size
    assert learned[0] <= read[False] <= learned[1] and skipped[0] <= left_out <= skipped[1]
    assert not last and now < seconds * 1.02 + BLOCK / 70_000
