"""The Transformer beside a plain one written with loops, and its rule for texts longer than its context."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import assert_same, attending
from torch import Tensor
from transformers_in_float64 import BERT, POSITIONS, build, tokens_of

import foretell
from foretell.errors import ConfigError
from foretell.models.transformer import InitialConfig, Transformer, TransformerConfig
from foretell.nn.attention.positions import LearnedConfig
from foretell.nn.heads import FullHeadConfig
from foretell.nn.heads.full import TransformConfig
from foretell.nn.initializers import NormalConfig
from foretell.types import Inputs

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
    width = config.head_dim or config.hidden // config.heads
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
        x = x / math.sqrt(np.mean(x**2)) if config.qk_norm else x
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
            inner = affine(norm(x, at + "feed_forward_norm") if config.norm.kind == "pre" else x, at + INNER)
            if config.activation == "geglu":
                inner = function(inner[: len(inner) // 2]) * inner[len(inner) // 2 :]
            else:
                inner = function(inner)
            x = x + affine(inner, at + "feed_forward.out")
            stream[t] = norm(x, at + "feed_forward_norm") if config.norm.kind == "post" else x
    return np.array([norm(x, "norm") if config.norm.final else x for x in stream])


INNER = "feed_forward.inner"
SHAPE: dict[str, Any] = {"hidden": 8, "layers": 2, "heads": 2, "context": 8, "feed_forward": 5}
EXACT: Any = dict(rtol=0, atol=1e-12)


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
    "wide heads": {"head_dim": 6},
    "narrow heads": {"direction": "both", "heads": 3, "head_dim": 2, "biases": False},
    "queries and keys of one size": {"qk_norm": True, "biases": False},
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


def test_a_run_from_training_to_text(corpus: dict[str, str], tmp_path: Path) -> None:
    trained = foretell.train(
        attending(corpus, limit="12epochs", checkpoint__every="6epochs"), tmp_path / "run", quiet=True
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
        (
            dict(hidden=6, heads=2, positions={"kind": "rotary"}),
            "even head size, not 3; make hidden / heads or head_dim even",
        ),
        (dict(embedding_dim=5, positions={"kind": "sinusoid"}), "even width, not 5"),
    ],
    ids=["heads", "overlap", "groups", "segments", "rotary", "sinusoid"],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TransformerConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "heads"),
    [
        ({"heads": 6}, 3),
        ({"heads": (6, 2), "head_dim": 32}, (3, 1)),
        ({"heads": 1}, 1),
        ({"heads": 5, "head_dim": 2}, 2),
    ],
)
def test_a_narrower_model_keeps_the_width_of_its_heads(settings: dict[str, Any], heads: Any) -> None:
    config = TransformerConfig(hidden=12, **settings)
    narrow = config.narrowed(0.5, "generator")
    assert (narrow.hidden, narrow.heads, narrow.head_width) == (6, heads, config.head_width if heads != 1 else 6)
