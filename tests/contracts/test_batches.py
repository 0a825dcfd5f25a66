"""Every way to cut a text into batches: a pure function of (seed, k) that loses no token."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from builders import BOUNDARY, SPECIALS, FakeText, assert_same, fake_text, members, name_of, small

from foretell.config import Config
from foretell.data.batches.kinds import BatchesChoice
from foretell.data.batches.streams import DocumentsConfig, LinesConfig, StreamsConfig, Windows
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
