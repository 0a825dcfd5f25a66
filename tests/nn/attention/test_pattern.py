"""Windows of padded and packed rows: which tokens attend to which, with masks and text by text."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from builders import assert_same
from torch import Tensor
from transformers_in_float64 import BERT, POSITIONS, VOCABULARY, build, tokens_of

from foretell.models import transformer
from foretell.models.transformer import Transformer
from foretell.types import Inputs


def documents_of(rows: Sequence[Sequence[int]]) -> Tensor:
    """Numbers of documents [B, T] from the lengths of each row's documents."""
    return torch.stack([torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in rows])


PACKED = [[3, 4], [7], [1, 5, 1], [2, 2, 3]]
LENGTHS = [7, 5, 1, 0]
BOTH_WAYS = pytest.mark.parametrize("masked", [False, True], ids=["texts", "mask"])


def read_with_masks(monkeypatch: pytest.MonkeyPatch, masked: bool) -> None:
    """As on an accelerator, where attention goes by masks, not by texts."""
    monkeypatch.setattr(transformer, "on_host", lambda tokens: not masked)


@pytest.mark.usefixtures("in_float64")
@BOTH_WAYS
@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_packed_documents_are_as_if_alone(
    monkeypatch: pytest.MonkeyPatch, masked: bool, training: bool, direction: str, positions: str
) -> None:
    read_with_masks(monkeypatch, masked)
    model = build(direction=direction, positions={"kind": positions}).train(training)
    tokens, documents = tokens_of(4, 7), documents_of(PACKED)
    hidden = model(Inputs(tokens=tokens, documents=documents), None)
    assert hidden.state is None
    for row, lengths in enumerate(PACKED):
        begin = 0
        for length in lengths:
            alone = model(Inputs(tokens=tokens[row : row + 1, begin : begin + length]), None)
            for layer, mine in zip(alone.layers, hidden.layers, strict=True):
                assert_same(mine[row : row + 1, begin : begin + length], layer, 1e-12)
            begin += length


@BOTH_WAYS
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_packed_and_padded(monkeypatch: pytest.MonkeyPatch, masked: bool, direction: str) -> None:
    """A last document that is cut by the row's length, with other numbers behind it."""
    read_with_masks(monkeypatch, masked)
    model = build(direction=direction)
    tokens, documents = tokens_of(4, 7), documents_of(PACKED)
    lengths = torch.tensor([5, 7, 6, 0])
    last = model(Inputs(tokens=tokens, documents=documents, lengths=lengths), None).last
    assert_same(last[0, 3:5], model(Inputs(tokens=tokens[:1, 3:5]), None).last[0], 1e-12)
    assert_same(last[2, 1:6], model(Inputs(tokens=tokens[2:3, 1:6]), None).last[0], 1e-12)
    assert not last[0, 5:].any() and not last[2, 6:].any() and not last[3].any()


@BOTH_WAYS
def test_gradients_of_padded_rows_are_those_of_each_alone(monkeypatch: pytest.MonkeyPatch, masked: bool) -> None:
    read_with_masks(monkeypatch, masked)
    model, tokens = build(**BERT).train(), tokens_of(4, 7)
    segments = tokens % 2
    weight = torch.randn(4, 7, 8, dtype=torch.float64)
    last = model(Inputs(tokens=tokens, segments=segments, lengths=torch.tensor(LENGTHS)), None).last
    (last * weight).sum().backward()
    together = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for row, length in enumerate(LENGTHS[:3]):
        part = (slice(row, row + 1), slice(length))
        (model(Inputs(tokens=tokens[part], segments=segments[part]), None).last * weight[part]).sum().backward()
    assert_same(together, {name: p.grad for name, p in model.named_parameters()}, 1e-12)


def differing(model: Transformer, inputs: Inputs, row: int, place: int) -> list[tuple[int, int]]:
    """At which rows and places the output is not the same to the last bit when one token is another."""
    other = inputs.tokens.clone()
    other[row, place] = (other[row, place] + 1) % VOCABULARY
    before, after = (model(replace(inputs, tokens=tokens), None).last for tokens in (inputs.tokens, other))
    return [tuple(where) for where in (before != after).any(-1).nonzero().tolist()]


@BOTH_WAYS
@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_who_sees_whom_in_packed_rows(
    monkeypatch: pytest.MonkeyPatch, masked: bool, training: bool, direction: str
) -> None:
    """To the last bit nothing else changes: a row is padded behind place 5, places 2 to 4 are a document."""
    read_with_masks(monkeypatch, masked)
    model = build(direction=direction, layers=3).train(training)
    documents = torch.tensor([[0, 0, 1, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5, 6]])
    inputs = Inputs(tokens=tokens_of(2, 7), documents=documents, lengths=torch.tensor([6, 7]))
    assert differing(model, inputs, 0, 3) == [(0, t) for t in range(3 if direction == "forward" else 2, 5)]
    assert differing(model, inputs, 0, 0) == [(0, 0), (0, 1)]
    assert differing(model, inputs, 0, 5) == [(0, 5)]
    assert differing(model, inputs, 0, 6) == []  # padding


@BOTH_WAYS
@pytest.mark.parametrize("direction", ["forward", "both"])
def test_who_sees_whom_in_padded_rows(monkeypatch: pytest.MonkeyPatch, masked: bool, direction: str) -> None:
    read_with_masks(monkeypatch, masked)
    model = build(direction=direction, layers=3).train()
    inputs = Inputs(tokens=tokens_of(2, 7), lengths=torch.tensor([6, 7]))
    assert differing(model, inputs, 0, 3) == [(0, t) for t in range(3 if direction == "forward" else 0, 6)]
    assert differing(model, inputs, 0, 6) == []
    assert differing(model, inputs, 1, 6) == [(1, t) for t in range(6 if direction == "forward" else 0, 7)]


def test_given_places_are_used() -> None:
    model, tokens = build(direction="both"), tokens_of(2, 4)
    places = torch.tensor([[3, 1, 0, 7], [0, 1, 2, 3]])
    last = model(Inputs(tokens=tokens, positions=places), None).last
    assert_same(last[1:], model(Inputs(tokens=tokens[1:]), None).last, 1e-12)
    turned = torch.tensor([2, 1, 0, 3])  # whoever sees all sees tokens and places, not their order
    back = model(Inputs(tokens=tokens[:1, turned], positions=places[:1, turned]), None).last
    assert_same(back[:, turned], last[:1], 1e-12)
    padded = Inputs(tokens=tokens, positions=places, lengths=torch.tensor([4, 3]))
    assert_same(model(padded, None).last[0], last[0], 1e-12)
