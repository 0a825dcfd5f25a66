"""Vectors of texts: what each pooling is, that batches, windows and cuts change nothing, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import attending, masking, tables
from torch import Tensor

import foretell
from foretell.errors import ConfigError
from foretell.evaluate import features
from foretell.types import Inputs

TEXTS = [
    "the cat sat",
    "a dog",
    "",
    "the cat sat on the mat and then a dog ran and slept on a tree and the cat ran on",
    "then a cat slept",
    "dog",
]
MODELS: dict[str, Callable[..., dict[str, Any]]] = {
    "lstm": lambda corpus: tables(corpus, model__layers=2, model__hidden=[8, 6]),
    "gpt": lambda corpus: attending(corpus, limit="2steps"),
    "bert": lambda corpus: masking(
        corpus,
        limit="2steps",
        model={"kind": "transformer", "direction": "both", "hidden": 8, "layers": 2, "heads": 2, "context": 12},
    ),
    "both ways": lambda corpus: masking(corpus, limit="2steps"),
}


@pytest.fixture(scope="module", params=MODELS)
def run(request: pytest.FixtureRequest, corpus: dict[str, str], tmp_path_factory: Any) -> foretell.Trained:
    return foretell.train(MODELS[request.param](corpus), tmp_path_factory.mktemp("features") / "run", quiet=True)


@pytest.fixture(scope="module")
def lstm(corpus: dict[str, str], tmp_path_factory: Any) -> foretell.Trained:
    """Two layers of LSTM over bytes."""
    recipe = tables(corpus, data__tokenizer="byte", model__layers=2, limit="2steps")
    return foretell.train(recipe, tmp_path_factory.mktemp("features") / "lstm", quiet=True)


def read_alone(run: foretell.Trained, text: str) -> list[list[Tensor]]:
    """What every layer makes of a text that is read by itself, row by row: each a list of [T, D]."""
    ids, specials, backbone = run.tokenizer.encode(text), run.tokenizer.specials, run.objective.backbone
    rows = [[specials.boundary, *ids]]
    if run.settings.measured_by != "likelihood":
        room = max((backbone.context or len(ids) + 2) - 2, 1)
        parts = [ids[at : at + room] for at in range(0, len(ids), room)] or [[]]
        rows = [[specials.begin, *part, specials.separator] for part in parts]
    with torch.no_grad():
        return [[layer[0] for layer in backbone(Inputs(torch.tensor([row])), None).layers] for row in rows]


POOLED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean(0),
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "max": lambda x: x.amax(0),
    "concat": lambda x: torch.cat([x[-1], x.amax(0), x.mean(0)]),
}


@pytest.mark.parametrize("pooling", POOLED)
def test_vectors_are_those_of_texts_read_alone(
    run: foretell.Trained, pooling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rows are put together: a budget that is smaller than a text, windows of two, cuts of four tokens."""
    monkeypatch.setattr(features, "STEPS", 4)
    expected = [POOLED[pooling](torch.cat([row[-1] for row in read_alone(run, text)])) for text in TEXTS]
    for tokens, window in ((4096, 4096), (7, 2), (40, 3)):
        found = run.features(TEXTS, pooling=pooling, tokens=tokens, window=window)
        assert found.dtype == np.float32
        torch.testing.assert_close(torch.from_numpy(found), torch.stack(expected), rtol=0, atol=1e-5)


def test_layers_side_by_side(run: foretell.Trained) -> None:
    layers = range(len(read_alone(run, "")[0]))
    means = [torch.cat([torch.cat(r).mean(0) for r in zip(*read_alone(run, text), strict=True)]) for text in TEXTS]
    found = torch.from_numpy(run.features(TEXTS, layers="all"))
    torch.testing.assert_close(found, torch.stack(means), rtol=0, atol=1e-5)
    named = run.features(TEXTS, layers=[layer + 1 for layer in layers])
    from_the_end = run.features(TEXTS, layers=[layer - len(layers) for layer in layers])
    assert np.array_equal(named, from_the_end) and np.array_equal(named, found.numpy())


def test_a_mix_is_the_weighted_sum_of_layers(lstm: foretell.Trained) -> None:
    lower, upper = (lstm.features(TEXTS, layers=[layer]) for layer in (1, 2))
    mixed = lstm.features(TEXTS, layers="all", mix=[0.25, 1.5])
    assert np.allclose(mixed, 0.25 * lower + 1.5 * upper, atol=1e-6)


def test_cells_are_those_behind_the_last_token(lstm: foretell.Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an LSTM of the library, whose cell state is the second of what it returns."""
    monkeypatch.setattr(features, "STEPS", 5)
    layers = [torch.nn.LSTM(8, 8, batch_first=True) for _ in range(2)]
    for block, theirs in zip(lstm.objective.backbone.blocks, layers, strict=True):
        own = dict(block.named_parameters())
        theirs.load_state_dict({f"{name}_l0": own[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")})
    found = lstm.features(TEXTS, pooling="cell", layers="all", tokens=20)
    for text, vector in zip(TEXTS, found, strict=True):
        x = lstm.objective.backbone.embedding(torch.tensor([[lstm.tokenizer.boundary, *lstm.tokenizer.encode(text)]]))
        cells = []
        with torch.no_grad():
            for layer in layers:
                x, (_, cell) = layer(x)
                cells.append(cell[0, 0])
        assert np.allclose(vector, torch.cat(cells).numpy(), atol=1e-5)


def test_prepared_texts_begin_with_a_newline_instead_of_the_boundary(lstm: foretell.Trained) -> None:
    ids = lstm.tokenizer.encode("\n A film & more ")
    with torch.no_grad():
        last = lstm.objective.backbone(Inputs(torch.tensor([ids])), None).last[0, -1]
    found = lstm.features([" A film\n&amp; more"], pooling="last", prepare="reviews")
    assert np.allclose(found[0], last.numpy(), atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "cell"])
def test_a_trace_ends_where_features_are(lstm: foretell.Trained, pooling: Any) -> None:
    text = "a dág"
    extractor = lstm.extractor(pooling=pooling)
    spelled, values = extractor.trace(text)
    assert spelled == ["", "a", " ", "d", "", "á", "g"]  # the boundary, and a character of two bytes
    assert values.shape == (7, 8)
    for end in (1, 3, 7):
        prefix = lstm.tokenizer.encode(text)[: end - 1]
        before = lstm.features([lstm.tokenizer.decode(prefix)], pooling=pooling)
        assert np.allclose(values[end - 1], before[0], atol=1e-6)


def test_texts_come_in_pieces(lstm: foretell.Trained) -> None:
    """An endless supply is read no further than it is asked for."""
    taken: list[int] = []

    def supply() -> Any:
        for number in range(10**9):
            taken.append(number)
            yield "a cat"

    blocks = lstm.extractor(window=3).blocks(supply())
    assert next(blocks)[1].shape == (3, 8) and len(taken) == 3


def test_how_many_have_been_read_is_told(lstm: foretell.Trained) -> None:
    read: list[int] = []
    lstm.extractor(window=4, tokens=8).all(["a cat", "the dog ran", "a", "the", "a cat sat", ""], read.append)
    assert read == sorted(read) and len(read) > 3
    assert 4 in read and read[-1] == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": [3]}, "there is no layer 3: this model has 2"),
        ({"layers": [0]}, "count from 1"),
        ({"mix": [1.0, 1.0]}, "a mix of 2 weights does not fit layers of width 8;"),
        ({"mix": [1.0], "pooling": "max"}, "not the mix of maxima"),
        ({"pooling": "means"}, "pooling"),
    ],
)
def test_what_cannot_be(lstm: foretell.Trained, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lstm.features(["a"], **settings)


def test_models_without_cells_say_so(corpus: dict[str, str], tmp_path: Path) -> None:
    run = foretell.train(tables(corpus, model__cell="gru", limit="1steps"), tmp_path / "gru", quiet=True)
    with pytest.raises(ConfigError, match="this model has none"):
        run.features(["a"], pooling="cell")
