"""Running text: windows that know nothing of each other, units side by side, random lengths."""

import math
from typing import Any

import numpy as np
import pytest
from builders import BOUNDARY, SPECIALS, fake_text

from foretell.data.batches.streams import CropsConfig, LinesConfig, OverlappingConfig, StreamsConfig, columns


def test_columns_are_the_text_in_equal_parts() -> None:
    lanes = columns(10, 4, fake_text(10), BOUNDARY)
    assert [lanes.start.tolist(), lanes.end.tolist()] == [[0, 3, 6, 9], [3, 6, 9, 10]]
    assert lanes.before.tolist() == [BOUNDARY, 2, 5, 8]
    assert columns(3, 8, fake_text(3), BOUNDARY).end.tolist() == [1, 2, 3]


def test_lanes_behind_boundaries() -> None:
    windows = StreamsConfig(batch=4, length=3).build(fake_text(10), SPECIALS, 0)
    alone = windows.behind_boundaries(BOUNDARY)
    assert windows[0].inputs.tokens[:, 0].tolist() == [BOUNDARY, 2, 5, 8]
    assert alone[0].inputs.tokens[:, 0].tolist() == [BOUNDARY] * 4
    assert alone[0].targets.tolist() == windows[0].targets.tolist()


def test_units_side_by_side_are_of_similar_length() -> None:
    """Sorting within pools: the padding of random groups would be several times as much."""
    text = fake_text(60_000)
    windows = LinesConfig(batch=8, length=64).build(text, SPECIALS, 0)
    shapes = [windows[k].targets for k in range(len(windows))]
    padding = sum(int((targets == -100).sum()) for targets in shapes)
    assert padding < 0.1 * len(text.tokens)


# --- windows that know nothing of each other ------------------------------------------------------


def test_every_crop_starts_anew() -> None:
    windows = CropsConfig(batch=3, length=4).build(fake_text(), SPECIALS, 1)
    assert all(windows[k].all_fresh for k in range(3 * len(windows)))


def test_crops_are_cut_elsewhere_in_each_epoch() -> None:
    windows = CropsConfig(batch=4, length=10).build(fake_text(400), SPECIALS, 1)
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


def test_some_columns_start_from_the_initial_state() -> None:
    """A tenth of all rows but those of the first window, which all do; nothing else changes."""
    text = fake_text(20_000)
    plain, reset = (StreamsConfig(batch=8, length=5, reset=share).build(text, SPECIALS, 3) for share in (0.0, 0.1))
    assert len(plain) == len(reset) == 500
    assert reset[0].inputs.fresh is not None and reset[0].inputs.fresh.all()
    rows = []
    for k in range(1, len(reset)):
        assert plain[k].inputs.fresh is None
        assert reset[k].inputs.tokens.tolist() == plain[k].inputs.tokens.tolist()
        assert reset[k].targets.tolist() == plain[k].targets.tolist()
        fresh = reset[k].inputs.fresh
        rows.append([False] * 8 if fresh is None else fresh.tolist())
    assert np.mean(rows) == pytest.approx(0.1, abs=4 * math.sqrt(0.1 * 0.9 / (8 * 499)))
    assert (np.mean(rows, axis=0) > 0.05).all()
    again = StreamsConfig(batch=8, length=5, reset=0.1).build(text, SPECIALS, 3)
    k = 1 + next(i for i, row in enumerate(rows) if any(row))
    assert again[k].inputs.fresh.tolist() == rows[k - 1]
