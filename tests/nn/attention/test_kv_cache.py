"""Texts longer than the context, and the cache that carries their keys and values."""

import numpy as np
import pytest
import torch
from builders import BOUNDARY, FakeText, assert_same
from transformers_in_float64 import POSITIONS, VOCABULARY, build, tokens_of

from foretell.data.batches.streams import OverlappingConfig, StreamsConfig
from foretell.data.tokenizers.specials import Specials
from foretell.evaluate.scoring import NeuralScorer, total
from foretell.nn.attention.kv_cache import slots_of
from foretell.nn.heads import FullHeadConfig
from foretell.types import Inputs, join_rows, select_rows

every_position = pytest.mark.parametrize("positions", POSITIONS)


@every_position
@pytest.mark.parametrize("overlap", [0, 1, 4, 7])
def test_what_a_token_is_predicted_from(overlap: int, positions: str) -> None:
    """Each output is that of a window that starts where the rule says, whatever the pieces the text comes in."""
    model, tokens = build(overlap=overlap, positions={"kind": positions}), tokens_of(2, 37)
    whole = model(Inputs(tokens=tokens), None)
    for t in range(37):
        back = t if t < 8 else overlap + (t - 8) % (8 - overlap)
        alone = model(Inputs(tokens=tokens[:, t - back : t + 1]), None)
        assert_same(whole.last[:, t], alone.last[:, -1], 1e-12)


@every_position
@pytest.mark.parametrize("pieces", [[1] * 37, [3, 20, 14], [8, 8, 8, 8, 5], [36, 1]], ids=str)
def test_pieces_do_not_matter(pieces: list[int], positions: str) -> None:
    model, tokens = build(positions={"kind": positions}, layers=3, groups=2), tokens_of(2, 37)
    whole = model(Inputs(tokens=tokens), None)
    state, outputs = None, []
    for piece in tokens.split(pieces, dim=1):
        hidden = model(Inputs(tokens=piece), state)
        outputs.append(hidden.last)
        state = hidden.state
    assert_same(torch.cat(outputs, 1), whole.last, 1e-12)
    assert_same(state, whole.state, 1e-12)


@torch.no_grad()
def test_a_state_can_be_gone_on_from_more_than_once() -> None:
    """Those that go on share its memory, but not what they write there."""
    model, tokens = build(context=16), tokens_of(2, 16)
    beginning, states = tokens[:, :5], {}
    states[()] = model(Inputs(tokens=beginning), None).state
    branches: list[tuple[int, ...]] = [(1,), (2,), (1, 3), (1, 4), (2, 5), (1, 3, 6), (), (1, 3, 7), (2, 5, 8)]
    for branch in branches:
        before = states[branch[:-1]] if branch else states[()]
        given = torch.tensor([branch[-1:] or (9,)] * 2)
        hidden = model(Inputs(tokens=given), before)
        states.setdefault(branch, hidden.state)
        text = torch.cat([beginning, torch.tensor([branch or (9,)] * 2)], 1)
        assert_same(hidden.last[:, -1], model(Inputs(tokens=text), None).last[:, -1], 1e-12)
    caches = [states[branch][3][0][0].data_ptr() for branch in [(), (1,), (1, 3), (1, 3, 6)]]
    assert len(set(caches)) == 1, "the first to go on copies nothing"
    one = select_rows(states[(1, 3, 6)], slice(0, 1))  # a view of one row
    for token in (2, 3):
        text = torch.cat([beginning[:1], torch.tensor([[1, 3, 6, token]])], 1)
        expected = model(Inputs(tokens=text), None).last[:, -1:]
        assert_same(model(Inputs(tokens=torch.tensor([[token]])), one).last, expected, 1e-12)


@torch.no_grad()
def test_caches_grow() -> None:
    model, tokens = build(context=300, layers=1), tokens_of(2, 290)
    whole, state, rooms, outputs = model(Inputs(tokens=tokens), None), None, [], []
    for piece in tokens.split([1] * 40 + [20] * 10 + [1] * 50, dim=1):
        hidden = model(Inputs(tokens=piece), state)
        state = hidden.state
        outputs.append(hidden.last)
        rooms.append(slots_of(state))
        assert all(part[0, 0].is_contiguous() for part in state[3][0]), "what one head reads lies in one piece"
    assert sorted(set(rooms)) == [64, 128, 192, 256, 300]
    assert_same(torch.cat(outputs, 1), whole.last, 1e-12)


@torch.no_grad()
def test_states_with_different_room_are_joined() -> None:
    model, tokens = build(context=300, layers=1), tokens_of(2, 101)
    states = [model(Inputs(tokens=tokens[row : row + 1, :length]), None).state for row, length in ((0, 100), (1, 3))]
    hidden = model(Inputs(tokens=torch.tensor([[4], [5]])), join_rows(states))
    for row, length in ((0, 100), (1, 3)):
        text = torch.cat([tokens[row, :length], torch.tensor([4 + row])])[None]
        assert_same(hidden.last[row, -1], model(Inputs(tokens=text), None).last[0, -1], 1e-12)


def test_rows_at_different_places_do_not_mix() -> None:
    """Rows of 0 to 30 tokens behind states of 0 to 17: as if each were alone."""
    model = build(overlap=3)
    before, after = tokens_of(5, 17), tokens_of(5, 30)
    first, second = torch.tensor([0, 17, 8, 3, 9]), torch.tensor([30, 2, 0, 21, 13])
    state = model(Inputs(tokens=before, lengths=first), None).state
    together = model(Inputs(tokens=after, lengths=second), state)
    for i in range(5):
        text = torch.cat([before[i, : first[i]], after[i, : second[i]]])[None]
        alone = model(Inputs(tokens=text), None)
        assert_same(together.last[i : i + 1, : second[i]], alone.last[:, first[i] :], 1e-12)
        assert not together.last[i, second[i] :].any()
        assert_same(select_rows(together.state, slice(i, i + 1)), alone.state, 1e-12)


@pytest.mark.parametrize("lengths", [None, [2, 0, 1]], ids=["even", "uneven"])
@pytest.mark.parametrize("gradients", [True, False])
def test_states_that_share_tensors_do_not_disturb_each_other(lengths: list[int] | None, gradients: bool) -> None:
    model, tokens = build(), tokens_of(3, 9)
    ends = None if lengths is None else torch.tensor(lengths)
    with torch.set_grad_enabled(gradients):
        begun = model(Inputs(tokens[:, :3]), None).state
        first = model(Inputs(tokens[:, 3:5], lengths=ends), begun).state
        second = model(Inputs(tokens[:, 5:7], lengths=ends), begun).state  # which writes where the first has written
        for way, state in ((tokens[:, 3:5], first), (tokens[:, 5:7], second), (tokens[:, :0], begun)):
            found = model(Inputs(tokens[:, 7:8]), state).last
            for row in range(3):
                read = way.shape[1] if lengths is None else min(lengths[row], way.shape[1])
                text = torch.cat([tokens[row, :3], way[row, :read], tokens[row, 7:8]])
                assert_same(found[row, -1], model(Inputs(text[None]), None).last[0, -1], 1e-10)


def test_writing_on_moves_nothing() -> None:
    model, tokens = build(), tokens_of(3, 6)
    with torch.no_grad():
        state = model(Inputs(tokens[:, :3]), None).state
        caches = [part.data_ptr() for layer in state[3] for part in layer]
        for step in range(3, 6):
            state = model(Inputs(tokens[:, step : step + 1]), state).state
        assert [part.data_ptr() for layer in state[3] for part in layer] == caches


def test_a_text_whose_length_is_known_has_its_room_at_once() -> None:
    model, tokens = build(context=300, layers=1), tokens_of(2, 100)
    for lengths in (None, torch.tensor([90, 7])):
        with torch.no_grad():
            empty = model.initial_state(2, 100)
            assert slots_of(empty) == 100
            state = model(Inputs(tokens[:, :90], lengths=lengths), empty).state
            for step in range(90, 100):
                hidden = model(Inputs(tokens[:, step : step + 1]), state)
                state = hidden.state
            assert [part.data_ptr() for part in state[3][0]] == [part.data_ptr() for part in empty[3][0]]
            for row, length in enumerate([90, 90] if lengths is None else lengths.tolist()):
                text = torch.cat([tokens[row, :length], tokens[row, 90:]])[None]
                assert_same(hidden.last[row, -1], model(Inputs(text), None).last[0, -1], 1e-12)
            again = model(Inputs(tokens[:, :3]), empty).last  # which is another's by now
            assert_same(again, model(Inputs(tokens[:, :3]), None).last, 1e-12)
    assert slots_of(model.initial_state(1, 1000)) == 300


@pytest.mark.parametrize("overlap", [0, 3, 4])
def test_windows_side_by_side_are_the_stream(overlap: int) -> None:
    """Evaluation in independent windows gives the very figure of reading the text with carried state."""
    model = build(overlap=overlap)
    head = FullHeadConfig().build(8, VOCABULARY, None).double()
    tokens = tokens_of(1, 101)[0].numpy().astype(np.uint16)
    text = FakeText(tokens, np.array([0, 101]), np.array([0, 101]))
    scorer = NeuralScorer(model, head)
    beside = OverlappingConfig(batch=4, length=8, overlap=overlap).build(text, Specials(BOUNDARY % VOCABULARY), 0)
    stream = StreamsConfig(batch=1, length=13).build(text, Specials(BOUNDARY % VOCABULARY), 0)
    one, other = (total(scorer, windows, torch.device("cpu")) for windows in (beside, stream))
    assert (one.tokens, one.top1, one.top5) == (other.tokens, other.top1, other.top5)
    assert one.tokens == 101
    assert one.nats == pytest.approx(other.nats, rel=1e-12)
