"""Every way to cut a text into batches: a pure function of (seed, k) that loses no token."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from builders import BOUNDARY, SPECIALS, FakeText, assert_same, fake_text, members, name_of, small

from foretell.config import Config
from foretell.data.batches.kinds import BatchesChoice
from foretell.data.batches.streams import (
    CropsConfig,
    DocumentsConfig,
    LinesConfig,
    OverlappingConfig,
    StreamsConfig,
    Windows,
)
from foretell.errors import ConfigError

KINDS = [
    *[small(member) for member in members(BatchesChoice) if member.provides == "next tokens"],
    small(StreamsConfig, jitter=2.0, shortest=2, beyond=3),
]
EPOCHS = 3


def kind_name(kind: Config) -> str:
    return name_of(kind) + ("-random" if getattr(kind, "jitter", 0) else "")


every_kind = pytest.mark.parametrize("kind", KINDS, ids=kind_name)


def build(kind: Config, seed: int = 1, text: FakeText | None = None) -> Windows:
    return kind.build(text or fake_text(), SPECIALS, seed)


def epochs(windows: Windows) -> Iterator[list[int]]:
    """The numbers of the windows of the first epochs."""
    k = 0
    for epoch in range(EPOCHS):
        number, place, size = windows.locate(k)
        assert (number, place) == (epoch, 0)
        yield list(range(k, k + size))
        k += size


def starts(kind: Config, text: FakeText) -> set[int]:
    """Where the model is to know nothing of what was before."""
    offsets = {DocumentsConfig: text.documents, LinesConfig: text.lines}.get(type(kind))
    return {0} if offsets is None else set(offsets[:-1].tolist())


@every_kind
def test_random_access_is_sequential_access(kind: Config) -> None:
    windows = build(kind)
    count = sum(map(len, epochs(windows)))
    in_order = [windows[k] for k in range(count)]
    jumping = build(kind)
    for k in np.random.default_rng(0).permutation(count).tolist():
        assert_same(jumping[k], in_order[k])


@every_kind
def test_batches_depend_on_the_seed_and_nothing_else(kind: Config) -> None:
    torch.manual_seed(0)
    one = build(kind, seed=5)
    torch.manual_seed(1)
    np.random.seed(1)
    other = build(kind, seed=5)
    assert len(one) == len(other)
    for k in range(2 * len(one)):
        assert_same(one[k], other[k])


@every_kind
def test_every_token_is_a_target_once_an_epoch(kind: Config) -> None:
    text, windows = fake_text(), build(kind)
    for numbers in epochs(windows):
        places = np.concatenate([windows.target_positions(k).ravel() for k in numbers])
        assert np.array_equal(np.sort(places[places >= 0]), np.arange(len(text.tokens)))


@every_kind
def test_targets_and_inputs_are_those_of_the_text(kind: Config) -> None:
    text, windows = fake_text(), build(kind)
    anew = starts(kind, text)
    for k in itertools.chain.from_iterable(epochs(windows)):
        batch, places = windows[k], windows.target_positions(k)
        assert batch.targets.dtype == batch.inputs.tokens.dtype == torch.int64
        assert batch.targets.shape == batch.inputs.tokens.shape == places.shape
        for (row, t), place in np.ndenumerate(places):
            target, given = int(batch.targets[row, t]), int(batch.inputs.tokens[row, t])
            if place < 0:
                assert target == -100
                continue
            assert target == text.tokens[place]
            assert given == (BOUNDARY if place in anew else text.tokens[place - 1])


@every_kind
def test_lengths_say_what_is_real(kind: Config) -> None:
    windows = build(kind)
    for k in itertools.chain.from_iterable(epochs(windows)):
        batch = windows[k]
        real = batch.targets != -100
        assert real.any()
        if batch.inputs.lengths is None:
            assert real.all()
        else:
            steps = torch.arange(real.shape[1])
            assert torch.equal(real, steps < batch.inputs.lengths[:, None])


@every_kind
def test_rows_go_on_where_they_stopped_or_are_fresh(kind: Config) -> None:
    text, windows = fake_text(), build(kind)
    count = sum(map(len, epochs(windows)))
    before = None
    for k in range(count):
        batch, places = windows[k], windows.target_positions(k)
        fresh = batch.inputs.fresh
        fresh = np.zeros(len(places), bool) if fresh is None else fresh.numpy()
        for row, place in enumerate(places[:, 0]):
            if not fresh[row] and place >= 0:
                assert before is not None and place == before[row][-1] + 1
            if place in starts(kind, text):
                assert fresh[row]
        before = places
    assert windows[0].all_fresh


@every_kind
def test_rows_are_at_most_as_many_and_as_long_as_asked(kind: Config) -> None:
    windows = build(kind)
    longest = kind.length + (kind.beyond if getattr(kind, "jitter", 0) else 0)
    for k in itertools.chain.from_iterable(epochs(windows)):
        rows, steps = windows[k].targets.shape
        assert 1 <= rows <= kind.batch
        assert 1 <= steps <= longest


@every_kind
def test_rows_of_parts_make_up_the_batch(kind: Config) -> None:
    windows = build(kind)
    for k in range(len(windows)):
        batch = windows[k]
        if len(batch.targets) == 1:  # which cannot be parted
            continue
        parts = [batch.rows(slice(0, 1)), batch.rows(slice(1, None))]
        for of in (lambda b: b.targets, lambda b: b.inputs.tokens):
            assert_same(torch.cat([of(part) for part in parts]), of(batch))
        if batch.inputs.lengths is not None:
            assert_same(torch.cat([part.inputs.lengths for part in parts]), batch.inputs.lengths)
        assert {part.lr_factor for part in parts} == {batch.lr_factor}


SHUFFLED = [kind for kind in KINDS if not isinstance(kind, StreamsConfig)]


@pytest.mark.parametrize("kind", SHUFFLED, ids=kind_name)
def test_epochs_come_in_different_orders(kind: Config) -> None:
    text = fake_text(5000)
    text = FakeText(text.tokens, documents=text.lines, lines=text.lines)
    windows = build(kind, text=text)
    first, second, _ = epochs(windows)
    order = [[windows.target_positions(k)[0, 0] for k in numbers] for numbers in (first, second)]
    assert order[0] != order[1]
    other = build(kind, seed=2, text=text)
    assert order[0] != [other.target_positions(k)[0, 0] for k in range(len(other))]


def test_units_side_by_side_are_of_similar_length() -> None:
    """Sorting within pools: the padding of random groups would be several times as much."""
    text = fake_text(60_000)
    windows = LinesConfig(batch=8, length=64).build(text, SPECIALS, 0)
    shapes = [windows[k].targets for k in range(len(windows))]
    padding = sum(int((targets == -100).sum()) for targets in shapes)
    assert padding < 0.1 * len(text.tokens)


@every_kind
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 7, 12, 13])
def test_short_texts(kind: Config, tokens: int) -> None:
    windows = build(kind, text=fake_text(tokens))
    places = np.concatenate([windows.target_positions(k).ravel() for k in range(len(windows))])
    assert np.array_equal(np.sort(places[places >= 0]), np.arange(tokens))


@every_kind
def test_a_split_without_tokens_is_refused(kind: Config) -> None:
    none = FakeText(np.zeros(0, np.uint16), np.zeros(2, np.int64), np.zeros(2, np.int64))
    with pytest.raises(ConfigError, match="no tokens"):
        build(kind, text=none)


# --- windows that know nothing of each other ------------------------------------------------------


def test_every_crop_starts_anew() -> None:
    windows = build(CropsConfig(batch=3, length=4))
    assert all(windows[k].all_fresh for k in itertools.chain.from_iterable(epochs(windows)))


def test_crops_are_cut_elsewhere_in_each_epoch() -> None:
    windows = build(CropsConfig(batch=4, length=10), text=fake_text(400))
    offsets = []
    k = 0
    for _ in range(20):
        size = windows.locate(k)[2]
        places = np.concatenate([windows.target_positions(i)[:, 0] for i in range(k, k + size)])
        offsets.append(int(np.sort(places)[1]) % 10)
        k += size
    assert len(set(offsets)) > 5


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 8, 9, 53])
@pytest.mark.parametrize(("length", "overlap"), [(8, 4), (8, 0), (8, 7), (5, 3), (1, 0)])
def test_overlapping_windows_by_hand(tokens: int, length: int, overlap: int, batch: int) -> None:
    """Token i is scored in the first window that has `overlap` tokens before it, or all there are."""
    text = fake_text(tokens)
    windows = OverlappingConfig(batch=batch, length=length, overlap=overlap).build(text, SPECIALS, 0)
    scored: dict[int, int] = {}
    for k in range(len(windows)):
        data, places = windows[k], windows.target_positions(k)
        assert data.all_fresh and len(places) <= batch
        for row, place in zip(range(len(places)), places, strict=True):
            inputs = data.inputs.tokens[row].tolist()
            real = len(inputs) if data.inputs.lengths is None else int(data.inputs.lengths[row])
            assert real <= length
            start = int(place[place >= 0][0]) - int(np.argmax(place >= 0))
            assert inputs[:real] == [
                BOUNDARY if i == 0 else int(text.tokens[i - 1]) for i in range(start, start + real)
            ]
            for t in range(len(place)):
                assert int(data.targets[row, t]) == (-100 if place[t] < 0 else text.tokens[place[t]])
                if place[t] >= 0:
                    assert place[t] not in scored
                    scored[int(place[t])] = int(place[t]) - start
    expected = {i: i if i < length else overlap + (i - length) % (length - overlap) for i in range(tokens)}
    assert scored == expected


# --- the random windows of AWD-LSTM ---------------------------------------------------------------


class Scripted:
    """A random generator that says what it is told to."""

    def __init__(self, *drawn: tuple[float, float]):
        self.drawn: Any = iter(drawn)
        self.asked: list[tuple[float, float]] = []

    def random(self) -> float:
        uniform, self.upcoming = next(self.drawn)
        return uniform

    def normal(self, mean: float, std: float) -> float:
        self.asked.append((mean, std))
        return self.upcoming


def test_the_random_rule_by_hand() -> None:
    """length 70, std 5: [steps, factor on the rate], the last cut short but its factor not."""
    kind = StreamsConfig(length=70, jitter=5.0)
    random = Scripted((0.5, 69.9), (0.04, 31.0), (0.9, 2.7), (0.05, 140.0), (0.2, 72.0))
    assert kind.cuts(69 + 31 + 5 + 90 + 10, random) == [
        (69, 69 / 70),  # int(), not round()
        (31, 31 / 70),
        (5, 5 / 70),
        (90, 90 / 70),
        (10, 72 / 70),
    ]
    assert random.asked == [(70, 5), (35, 5), (70, 5), (70, 5), (70, 5)]


def test_the_random_rule_in_the_long_run() -> None:
    kind = StreamsConfig(length=70, jitter=5.0)
    cuts = kind.cuts(2_000_000, np.random.default_rng(0))[:-1]
    steps = np.array([length for length, _ in cuts])
    assert [rate for _, rate in cuts] == (steps / 70).tolist()
    assert steps.min() >= 5 and steps.max() <= 90
    halved = (steps < 52).mean()
    assert abs(halved - 0.05) < 3 * math.sqrt(0.05 * 0.95 / len(steps))
    whole = steps[steps >= 52]
    assert abs(whole.mean() - 69.5) < 3 * 5 / math.sqrt(len(whole))  # int() takes half a step
    assert abs(whole.std() - 5) < 0.1


def test_without_jitter_windows_are_alike() -> None:
    cuts = StreamsConfig(length=7).cuts(24, np.random.default_rng(0))
    assert cuts == [(7, 1.0), (7, 1.0), (7, 1.0), (3, 1.0)]
