"""The Transformer beside a plain one written with loops, and its rule for texts longer than its context."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import BOUNDARY, FakeText, assert_same, attending
from torch import Tensor

import foretell
from foretell.data.batches.streams import OverlappingConfig, StreamsConfig
from foretell.data.tokenizers.tokenizer import Specials
from foretell.errors import ConfigError
from foretell.evaluate.scoring import NeuralScorer, total
from foretell.models import transformer
from foretell.models.transformer import InitialConfig, Transformer, TransformerConfig
from foretell.nn.attention.positions import LearnedConfig
from foretell.nn.heads import FullHeadConfig
from foretell.nn.heads.full import TransformConfig
from foretell.nn.initializers import NormalConfig
from foretell.recipe.loading import load_recipe
from foretell.types import Inputs, join_rows, select_rows

VOCABULARY = 11


def build(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig.model_validate({"hidden": 8, "layers": 2, "heads": 2, "context": 8} | settings)
    model = config.build(VOCABULARY).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def tokens_of(rows: int, steps: int) -> Tensor:
    return torch.randint(VOCABULARY, (rows, steps), generator=torch.Generator().manual_seed(2))


# --- beside a plain one ---------------------------------------------------------------------------


def plain_norm(x: list[float], gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    centred = np.array(x) - np.mean(x)
    return centred / math.sqrt(np.mean(centred**2) + 1e-5) * gain + shift


ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
}


def plain(
    model: Transformer, config: TransformerConfig, tokens: list[int], segments: list[int] | None = None
) -> np.ndarray:
    """[T, D], one token, one head and one pair at a time."""
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    function = np.vectorize(ACTIVATIONS[config.activation.replace("geglu", "gelu")])
    width = config.hidden // config.heads
    steps = range(len(tokens))

    def affine(x: np.ndarray, name: str) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0.0)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return plain_norm(x, weights[f"{name}.weight"], weights.get(f"{name}.bias", np.zeros(len(x))))

    def at_place(t: int) -> np.ndarray | float:
        if config.positions.kind == "learned":
            return weights["positions.weight"][t + config.positions.offset]
        if config.positions.kind == "sinusoid":
            size = config.embedding_width
            return np.array([(math.cos, math.sin)[i % 2 == 0](t / 10_000 ** (i // 2 * 2 / size)) for i in range(size)])
        return 0.0

    def turned(x: np.ndarray, t: int) -> np.ndarray:
        if config.positions.kind != "rotary":
            return x
        half = width // 2
        complex_numbers = x[:half] + 1j * x[half:]
        complex_numbers = complex_numbers * np.exp([1j * t / 10_000 ** (2 * i / width) for i in range(half)])
        return np.concatenate([complex_numbers.real, complex_numbers.imag])

    stream = [weights["embedding.table.weight"][tokens[t]] + at_place(t) for t in steps]
    if config.segments:
        stream = [x + weights["segments.weight"][segments[t] if segments else 0] for t, x in enumerate(stream)]
    if config.norm.embedding:
        stream = [norm(x, "embedding_norm") for x in stream]
    if config.embedding_dim:
        stream = [affine(x, "projection") for x in stream]
    for layer in range(config.layers):
        at = f"blocks.{layer * (config.groups or config.layers) // config.layers}."
        read = [norm(x, at + "attention_norm") if config.norm.kind == "pre" else x for x in stream]
        queries, keys, values = np.split(np.array([affine(x, at + "attention.qkv") for x in read]), 3, axis=1)
        mixed = np.zeros_like(queries)
        for head in range(config.heads):
            own = slice(head * width, (head + 1) * width)
            for t in steps:
                seen = range(t + 1) if config.direction == "forward" else steps
                query = turned(queries[t, own], t)
                looks = np.exp([query @ turned(keys[s, own], s) / math.sqrt(width) for s in seen])
                mixed[t, own] = sum(look * values[s, own] for look, s in zip(looks / looks.sum(), seen, strict=True))
        for t, x in enumerate(stream):
            x = x + affine(mixed[t], at + "attention.out")
            if config.norm.kind == "post":
                x = norm(x, at + "attention_norm")
            inner = affine(norm(x, at + "feed_forward_norm") if config.norm.kind == "pre" else x, at + INWARD)
            if config.activation == "geglu":
                inner = function(inner[: len(inner) // 2]) * inner[len(inner) // 2 :]
            else:
                inner = function(inner)
            x = x + affine(inner, at + "feed_forward.out")
            stream[t] = norm(x, at + "feed_forward_norm") if config.norm.kind == "post" else x
    return np.array([norm(x, "norm") if config.norm.final else x for x in stream])


INWARD = "feed_forward.qkv"
SHAPE: dict[str, Any] = {"hidden": 8, "layers": 2, "heads": 2, "context": 8, "feed_forward": 5}
EXACT: Any = dict(rtol=0, atol=1e-12)


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Tables of sines are made in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("biases", [True, False])
def test_it_is_the_plain_one(activation: str, norm: str, biases: bool) -> None:
    settings: Any = SHAPE | dict(activation=activation, norm={"kind": norm}, biases=biases)
    model, tokens = build(**settings), tokens_of(3, 7)
    hidden = model(Inputs(tokens=tokens), None)
    for row in range(3):
        expected = plain(model, TransformerConfig(**settings), tokens[row].tolist())
        np.testing.assert_allclose(hidden.last[row].detach().numpy(), expected, **EXACT)


POSITIONS = ["learned", "sinusoid", "rotary", "none"]
BERT: dict[str, Any] = {"direction": "both", "norm": {"kind": "post", "embedding": True}, "segments": 2}
ALBERT = BERT | {"embedding_dim": 6, "layers": 3, "groups": 1}
MANNERS = {
    "gpt": {"activation": "gelu_tanh", "norm": {"kind": "post"}},
    "gpt2": {},
    "bert": BERT,
    "albert": ALBERT,
    "roberta": BERT | {"segments": 1, "positions": {"kind": "learned", "offset": 2}},
    "megatron": {"direction": "both", "norm": {"kind": "pre"}},
    "cramming": {"direction": "both", "activation": "geglu", "biases": False, "positions": {"kind": "sinusoid"}},
    "groups": {"layers": 5, "groups": 2, "norm": {"kind": "pre", "final": False, "embedding": True}},
    "post with a last norm": {"norm": {"kind": "post", "final": True}, "embedding_dim": 4},
}


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("manner", MANNERS)
def test_whole_models_are_the_plain_one(manner: str, positions: str) -> None:
    settings = SHAPE | MANNERS[manner] | ({} if positions == "learned" else {"positions": {"kind": positions}})
    config, tokens = TransformerConfig.model_validate(settings), tokens_of(2, 7)
    segments = torch.tensor([[0, 0, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 1, 1]]) if config.segments > 1 else None
    model = build(**settings)
    last = model(Inputs(tokens=tokens, segments=segments), None).last
    for row in range(2):
        given = None if segments is None else segments[row].tolist()
        expected = plain(model, config, tokens[row].tolist(), given)
        np.testing.assert_allclose(last[row].detach().numpy(), expected, **EXACT)


# --- rows of different lengths, and packed ones -----------------------------------------------------


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


# --- how it begins --------------------------------------------------------------------------------


def test_the_size_of_gpt2() -> None:
    """124,439,808: what the checkpoint published by its authors holds, the tied head counted once."""
    with torch.device("meta"):
        model = TransformerConfig().build(50_257)
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808


def test_weights_start_as_in_gpt2() -> None:
    torch.manual_seed(0)
    positions = LearnedConfig(std=0.01)
    model = TransformerConfig(hidden=64, layers=8, heads=4, context=200, positions=positions).build(3000)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert (parameter == 1).all()
        else:
            expected = 0.02 / 4 if name.endswith("out.weight") else 0.01 if "positions" in name else 0.02
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05)


def test_weights_start_as_in_bert() -> None:
    """Normal of std 0.02 with nothing beyond 0.04, all alike; what is left has 0.88 of the std."""
    torch.manual_seed(0)
    initial = InitialConfig(truncated=True, residual_scaling=False)
    config = TransformerConfig(hidden=64, heads=4, context=400, segments=400, direction="both", initial=initial)
    head = FullHeadConfig(tied=True, transform=TransformConfig(initial=NormalConfig(truncated=True)))
    model = config.build(3000)
    named = [*model.named_parameters(), *head.build(64, 3000, model.embedding).named_parameters()]
    density, share = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))  # at and within two deviations
    expected = 0.02 * math.sqrt(1 - 4 * density / share)
    for _, parameter in named:
        if parameter.dim() > 1:
            assert float(parameter.detach().abs().max()) <= 0.04
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05)


# --- texts longer than the context ----------------------------------------------------------------


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
        rooms.append(transformer.room_of(state))
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
            assert transformer.room_of(empty) == 100
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
    assert transformer.room_of(model.initial_state(1, 1000)) == 300


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


# --- training -------------------------------------------------------------------------------------


def test_training_windows_start_anew() -> None:
    model, tokens = build(), tokens_of(2, 6)
    state = model(Inputs(tokens=tokens), None).state
    trained = model.train()(Inputs(tokens=tokens), state)
    assert trained.state is None
    assert_same(trained.last, model.eval()(Inputs(tokens=tokens), None).last, 1e-12)


def test_a_training_window_beyond_the_context_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"window of 9 tokens.*model.context = 8.*data.batches.length"):
        build().train()(Inputs(tokens=tokens_of(2, 9)), None)


def test_a_recipe_whose_windows_do_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.batches.length = 65 does not fit model.context = 64"):
        load_recipe("nanogpt-shakespeare", ["data.batches.length=65"])


def test_a_run_from_training_to_text(corpus: dict[str, str], tmp_path: Path) -> None:
    trained = foretell.train(
        attending(corpus, limit="30epochs", checkpoint__every="15epochs"), tmp_path / "run", quiet=True
    )
    result = trained.evaluate("valid")
    assert result["perplexity"] < 8  # of 15 words
    assert result["context"] == "windows of 10 tokens that overlap by 5"
    assert {trained.evaluate("valid", batch=n)["tokens"] for n in (1, 7)} == {result["tokens"]}
    text = Path(corpus["valid"]).read_text()
    assert trained.score([text])[0].logp == pytest.approx(-result["loss"] * result["tokens"], rel=1e-5)
    assert len(trained.generate("the cat", tokens=40).split()) > 20
    assert trained.features([text]).shape == (1, 8)


@pytest.mark.parametrize("place", ["table", "input", "attention", "residual", "layer"])
def test_each_dropout_drops_in_training_only(place: str) -> None:
    model, tokens = build(dropout={place: 0.5}), tokens_of(2, 6)
    still = model(Inputs(tokens=tokens), None).last
    torch.manual_seed(4)
    one, other = (model.train()(Inputs(tokens=tokens), None).last for _ in range(2))
    assert not torch.equal(one, other)
    assert_same(build()(Inputs(tokens=tokens), None).last, still)


def test_a_dropped_table_is_the_same_at_all_places_of_a_word() -> None:
    model = build(dropout={"table": 0.5}, positions={"kind": "none"}, norm={"kind": "post"}).train()
    tokens, seen = torch.tensor([[3, 5, 3, 3], [5, 5, 3, 7]]), list[Tensor]()
    model.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    model(Inputs(tokens=tokens), None)
    table = model.embedding.weight.detach()
    for word in (3, 5, 7):
        vectors = seen[0][tokens == word]  # [n, D]
        assert (vectors == vectors[0]).all()
        kept = vectors[0] != 0
        assert_same(vectors[0, kept], 2 * table[word, kept], 1e-12)
    assert 0 < sum(int((seen[0][tokens == word][0] == 0).sum()) for word in (3, 5, 7)) < 24


def test_a_dropped_layer_is_left_out() -> None:
    torch.manual_seed(0)
    model = build(layers=400, dropout={"layer": 0.3}).train()
    layers = model(Inputs(tokens=tokens_of(1, 4)), None).layers
    gone = [i for i in range(1, 399) if torch.equal(layers[i], layers[i - 1])]
    assert len(layers) == 400
    assert len(gone) == pytest.approx(0.3 * 398, abs=4 * math.sqrt(398 * 0.3 * 0.7))
    assert all(
        not torch.equal(one, other) for one, other in pairwise(model.eval()(Inputs(tokens_of(1, 4)), None).layers)
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(hidden=10, heads=3), "hidden = 10.*heads = 3"),
        (dict(context=8, overlap=8), "overlap = 8.*context = 8"),
        (dict(layers=4, groups=5), "groups = 5.*layers = 4"),
        (dict(segments=2), 'segments = 2 needs direction = "both"'),
        (dict(hidden=6, heads=2, positions={"kind": "rotary"}), "heads 3 wide.*make hidden / heads even"),
        (dict(embedding_dim=5, positions={"kind": "sinusoid"}), "even width, not 5"),
    ],
    ids=["heads", "overlap", "groups", "segments", "rotary", "sinusoid"],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TransformerConfig(**settings)
