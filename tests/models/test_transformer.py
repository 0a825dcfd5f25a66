"""The Transformer beside a plain one written with loops, and its rule for texts longer than its context."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import BOUNDARY, FakeText, assert_same, attending
from torch import Tensor

import foretell
from foretell.config import ConfigError
from foretell.data.encoding import Specials
from foretell.data.streams import OverlappingConfig, StreamsConfig
from foretell.evaluate.scoring import NeuralScorer, total
from foretell.models.transformer import Transformer, TransformerConfig
from foretell.nn.heads import FullHeadConfig
from foretell.recipe import load_recipe
from foretell.types import Inputs, select_rows

VOCABULARY = 11


def build(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(**{"hidden": 8, "layers": 2, "heads": 2, "context": 8} | settings)
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


def plain(model: Transformer, config: TransformerConfig, tokens: list[int]) -> np.ndarray:
    """[T, D], one token, one head and one pair at a time."""
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    activation = np.vectorize(ACTIVATIONS[config.activation])
    width = config.hidden // config.heads

    def affine(x: np.ndarray, name: str) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0.0)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return plain_norm(x, weights[f"{name}.weight"], weights.get(f"{name}.bias", np.zeros(len(x))))

    stream = [
        weights["embedding.table.weight"][token] + weights["positions.weight"][t] for t, token in enumerate(tokens)
    ]
    for layer in range(config.layers):
        at = f"blocks.{layer}."
        read = [norm(x, at + "attention_norm") if config.norm == "pre" else x for x in stream]
        queries, keys, values = np.split(np.array([affine(x, at + "attention.inward") for x in read]), 3, axis=1)
        mixed = np.zeros_like(queries)
        for head in range(config.heads):
            own = slice(head * width, (head + 1) * width)
            for t in range(len(tokens)):
                scores = np.array([queries[t, own] @ keys[s, own] / math.sqrt(width) for s in range(t + 1)])
                looks = np.exp(scores) / np.exp(scores).sum()
                mixed[t, own] = sum(looks[s] * values[s, own] for s in range(t + 1))
        for t, x in enumerate(stream):
            x = x + affine(mixed[t], at + "attention.outward")
            if config.norm == "post":
                x = norm(x, at + "attention_norm")
            inner = norm(x, at + "feed_forward_norm") if config.norm == "pre" else x
            x = x + affine(activation(affine(inner, at + "feed_forward.inward")), at + "feed_forward.outward")
            stream[t] = norm(x, at + "feed_forward_norm") if config.norm == "post" else x
    return np.array([norm(x, "norm") if config.norm == "pre" else x for x in stream])


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("biases", [True, False])
def test_it_is_the_plain_one(activation: str, norm: str, biases: bool) -> None:
    settings: Any = dict(activation=activation, norm=norm, biases=biases, feed_forward=5)
    config = TransformerConfig(hidden=8, layers=2, heads=2, context=8, **settings)
    model, tokens = build(**settings), tokens_of(3, 7)
    hidden = model(Inputs(tokens=tokens), None)
    for row in range(3):
        expected = plain(model, config, tokens[row].tolist())
        np.testing.assert_allclose(hidden.last[row].detach().numpy(), expected, rtol=0, atol=1e-12)


def test_the_size_of_gpt2() -> None:
    """124,439,808: what the checkpoint published by its authors holds, the tied head counted once."""
    with torch.device("meta"):
        model = TransformerConfig().build(50_257)
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808


def test_weights_start_as_in_gpt2() -> None:
    torch.manual_seed(0)
    model = TransformerConfig(hidden=64, layers=8, heads=4, context=200).build(3000)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert (parameter == 1).all()
        else:
            expected = 0.02 / 4 if name.endswith("outward.weight") else 0.02
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.05)


# --- texts longer than the context ----------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0, 1, 4, 7])
def test_what_a_token_is_predicted_from(overlap: int) -> None:
    """Each output is that of a window that starts where the rule says, whatever the pieces the text comes in."""
    model, tokens = build(overlap=overlap), tokens_of(2, 37)
    whole = model(Inputs(tokens=tokens), None)
    for t in range(37):
        back = t if t < 8 else overlap + (t - 8) % (8 - overlap)
        alone = model(Inputs(tokens=tokens[:, t - back : t + 1]), None)
        assert_same(whole.last[:, t], alone.last[:, -1], 1e-12)


@pytest.mark.parametrize("pieces", [[1] * 37, [3, 20, 14], [8, 8, 8, 8, 5], [36, 1]], ids=str)
def test_pieces_do_not_matter(pieces: list[int]) -> None:
    model, tokens = build(), tokens_of(2, 37)
    whole = model(Inputs(tokens=tokens), None)
    state, outputs = None, []
    for piece in tokens.split(pieces, dim=1):
        hidden = model(Inputs(tokens=piece), state)
        outputs.append(hidden.last)
        state = hidden.state
    assert_same(torch.cat(outputs, 1), whole.last, 1e-12)
    assert_same(state, whole.state, 1e-12)


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


@pytest.mark.parametrize("place", ["input", "attention", "residual"])
def test_each_dropout_drops_in_training_only(place: str) -> None:
    model, tokens = build(dropout={place: 0.5}), tokens_of(2, 6)
    still = model(Inputs(tokens=tokens), None).last
    torch.manual_seed(3)
    one, other = (model.train()(Inputs(tokens=tokens), None).last for _ in range(2))
    assert not torch.equal(one, other)
    assert_same(build()(Inputs(tokens=tokens), None).last, still)


@pytest.mark.parametrize(
    ("settings", "said"),
    [(dict(hidden=10, heads=3), "hidden = 10.*heads = 3"), (dict(context=8, overlap=8), "overlap = 8.*context = 8")],
    ids=["heads", "overlap"],
)
def test_sizes_that_do_not_fit(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TransformerConfig(**settings)
