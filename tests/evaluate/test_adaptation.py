"""Adaptation of a trained run: it helps where words come in bursts, tuning sees validation only, the verbs."""

import json
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import assert_same, attending, tables
from typer.testing import CliRunner

import foretell
from foretell.api import train
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.evaluate.dynamic import weights_of
from foretell.learning.text import TextModule
from foretell.training.state_dict import weights

GIVEN: dict[str, Any] = {
    "dynamic": {"learning_rate": 1e-3, "decay": 2e-3, "statistics": 500},
    "cache": {"window": 50, "sharpness": 0.3, "weight": 0.2},
}


def bursts(folder: Path) -> dict[str, str]:
    """Every 60 words another few of 40 are in use: what came lately comes again, as in text about something."""
    draw = random.Random(2)
    names = [f"w{number}" for number in range(40)]
    paths = {}
    for split, topics in {"train": 60, "valid": 12, "test": 12}.items():
        lines = []
        for _ in range(topics):
            own = draw.sample(names, 4)
            lines += [" ".join(draw.choices(own, k=10)) for _ in range(6)]
        paths[split] = folder / f"{split}.txt"
        paths[split].write_text("\n".join(lines) + "\n")
    return {split: str(path) for split, path in paths.items()}


@pytest.fixture(scope="module")
def bursty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return bursts(tmp_path_factory.mktemp("bursts"))


@pytest.fixture(scope="module")
def run(bursty: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(bursty, limit="2epochs", optimizer={"kind": "adam", "learning_rate": 0.01}, model__hidden=16)
    return foretell.train(recipe, tmp_path_factory.mktemp("run") / "run", quiet=True)


@pytest.fixture(scope="module")
def counted(run: foretell.Trained, bursty: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("counted") / "run"
    tokenizer = {"kind": "file", "path": str(run.run.path)}
    recipe = tables(bursty, data__tokenizer=tokenizer, model={"kind": "ngram", "order": 2})
    foretell.train(recipe, out, quiet=True)
    return out


def test_each_lowers_the_loss_where_words_come_in_bursts(run: foretell.Trained) -> None:
    before = {name: tensor.clone() for name, tensor in weights(run.objective).items()}
    static = run.evaluate("test")
    cached = run.evaluate("test", cache={"tuning": 500})
    learning = run.evaluate("test", dynamic={"tuning": 300, "segment": 10, "statistics": 1000})
    assert cached["loss"] < static["loss"] - 0.1
    assert learning["loss"] < static["loss"] - 0.02
    assert cached["tokens"] == learning["tokens"] == static["tokens"]
    assert "adaptation" not in static
    for result, name, tuned in [
        (cached, "cache", ["window", "sharpness", "weight"]),
        (learning, "dynamic", ["learning_rate", "decay"]),
    ]:
        found = result["adaptation"][name]
        assert list(result["adaptation"]) == [name]
        assert found["tuned"] == tuned and found["tuned_on"] == "valid"
        assert 300 <= found["tuning_tokens"] < 800  # whole windows
        assert all(found[setting] is not None for setting in tuned)
        assert name in result["context"] and result["top1"] is None
    assert 1000 <= learning["adaptation"]["dynamic"]["statistics_tokens"] < 2500
    assert_same(weights(run.objective), before)


def test_given_settings_are_used_as_they_are(run: foretell.Trained) -> None:
    model = run.adapted(**GIVEN, quiet=True)
    result = model.evaluate("test")
    for name, settings in GIVEN.items():
        for key in settings.keys() - {"statistics"}:
            assert result["adaptation"][name][key] == settings[key]
        assert result["adaptation"][name]["tuned"] == [] and result["adaptation"][name]["tuning_tokens"] == 0
    assert model is not run and run.adaptation is None
    assert "carried state, dynamic evaluation in segments of 5 (rms" in result["context"]
    assert result["context"] == model.context(1)
    again = run.evaluate("test", **GIVEN)
    assert again["loss"] == result["loss"]


def test_tuning_reads_validation_and_never_the_test_split(
    run: foretell.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = TextModule.open
    monkeypatch.setattr(TextModule, "open", lambda self, split: opened.append(split) or original(self, split))
    run.adapted(dynamic={"tuning": 100, "statistics": 500}, cache={"tuning": 100}, quiet=True)
    assert set(opened) == {"train", "valid"}
    opened.clear()
    run.adapted(dynamic=GIVEN["dynamic"] | {"rule": "sgd"}, cache=GIVEN["cache"], quiet=True)
    assert opened == [], "what is not needed need not be there"


def test_the_cache_knows_what_comes_again(run: foretell.Trained) -> None:
    model = run.adapted(cache=GIVEN["cache"], quiet=True)
    line = "w1 w2 w1 w2 w1 w2 w1 w2\n"
    assert model.score([line])[0].logp > run.score([line])[0].logp
    many = [line, "w3\n", "w1 w5 w5 w5\n"]
    for one, text in zip(model.score(many), many, strict=True):  # side by side as alone
        assert one.logp == pytest.approx(model.score([text])[0].logp, abs=1e-5)
    assert model.generate("w1 w2", tokens=5, seed=1)


def test_lines_are_scored_as_if_alone_however_much_is_learnt(run: foretell.Trained) -> None:
    model = run.adapted(dynamic=GIVEN["dynamic"] | {"learning_rate": 0.01}, quiet=True)
    many = ["w1 w1 w1 w1 w1 w1 w1 w1 w1 w1 w1\n", "w2 w2\n", "w1 w2 w3 w4 w5 w6 w7\n"]
    together = model.score(many)
    for one, text in zip(together, many, strict=True):
        assert one.logp == pytest.approx(model.score([text])[0].logp, abs=1e-5)
    assert together[0].logp != pytest.approx(run.score(many[:1])[0].logp, abs=1e-2)


@pytest.mark.parametrize("kind", ["lines", "transformer", "transformer-lines"])
def test_runs_that_read_otherwise(kind: str, corpus: dict[str, str], tmp_path: Path) -> None:
    recipe = tables(corpus, limit="1epochs") if kind == "lines" else attending(corpus, limit="1epochs")
    if kind.endswith("lines"):
        recipe["data"]["batches"] = {"kind": "lines", "batch": 4, "length": 5}
    model = foretell.train(recipe, tmp_path / "run", quiet=True)
    still = {
        "dynamic": GIVEN["dynamic"] | {"learning_rate": 0.0},
        "cache": {"window": 9, "sharpness": 1.0, "weight": 0.0},
    }
    static = model.evaluate("test")
    for batch in (None, 3):
        adapted = model.adapted(**still, quiet=True).evaluate("test", batch=batch)
        assert adapted["loss"] == pytest.approx(static["loss"], abs=1e-5)
        assert adapted["context"].startswith(static["context"])
    results = [model.adapted(**GIVEN, quiet=True).evaluate("test", batch=batch)["loss"] for batch in (1, 3)]
    assert results[0] == pytest.approx(results[1], abs=1e-6)
    assert results[0] != pytest.approx(static["loss"], abs=1e-4)


def test_mixed_with_an_ngram(run: foretell.Trained, counted: Path) -> None:
    model = run.adapted(**GIVEN, quiet=True)
    mixed = foretell.mix([model, counted])
    result = mixed.evaluate("test")
    assert mixed.weights[0] > 0.01
    assert result["loss"] <= min(model.evaluate("test")["loss"], foretell.load(counted).evaluate("test")["loss"]) + 0.02
    assert [set(member) for member in result["mixture"]] == [{"run", "weight", "adaptation"}, {"run", "weight"}]
    scored = mixed.score(["w1 w2\n", "w3 w3 w3 w3 w3 w3\n"])
    parts = [one.score(["w3 w3 w3 w3 w3 w3\n"])[0] for one in (model, foretell.load(counted))]
    first = sum(w * torch.tensor(part.token_logp[0]).exp() for w, part in zip(mixed.weights, parts, strict=True))
    assert scored[1].token_logp[0] == pytest.approx(float(torch.as_tensor(first).log()), abs=1e-5)


def test_the_weights_of_a_run_stay_when_a_pass_is_broken_off(
    run: foretell.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = run.adapted(dynamic=GIVEN["dynamic"], quiet=True)
    before = [weight.clone() for weight in weights_of(run.objective.backbone, run.objective.head)]
    calls = 0

    def broken(fraction: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Trained, "progress", lambda *_: nullcontext(broken))
    with pytest.raises(KeyboardInterrupt):
        model.evaluate("test")
    assert_same(weights_of(run.objective.backbone, run.objective.head), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dynamic": {"lr": 1}}, "dynamic.lr"),
        ({"cache": {"weight": 1.0}}, "cache.weight"),
        ({"cache": {"window": 0}}, "cache.window"),
        ({"dynamic": {"rule": "adam"}}, "dynamic.rule"),
    ],
)
def test_wrong_settings_are_named(run: foretell.Trained, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run.adapted(**settings, quiet=True)


# --- the command line -----------------------------------------------------------------------------


def called(*arguments: str, given: str = "") -> Any:
    return CliRunner().invoke(app, list(arguments), input=given)


def test_evaluate(run: foretell.Trained) -> None:
    options = ["--adapt", "dynamic.tuning=100", "--adapt", "dynamic.statistics=500", "--adapt", "cache.tuning=100"]
    done = called("evaluate", str(run.run.path), "--dynamic", "--cache", "--json", *options)
    result = json.loads(done.stdout)
    assert set(result["adaptation"]) == {"dynamic", "cache"}
    assert "dynamic evaluation: learning rate" in done.stderr and "cache: 500 tokens" in done.stderr
    shown = called("evaluate", str(run.run.path), "--adapt", "cache.window=20", "--adapt", "cache.tuning=100").stdout
    assert "sharpness, weight tuned on" in " ".join(shown.replace("│", " ").split())


def test_score_and_mixtures(run: foretell.Trained, counted: Path) -> None:
    settings = [f"--adapt=cache.{key}={value}" for key, value in GIVEN["cache"].items()]
    lines = "w1 w2\nw1 w2\nw1 w2\n"
    plain, cached = (
        [
            float(row.split("\t")[0])
            for row in called(
                "score", str(run.run.path), "--context", "carried", *more, given=lines
            ).stdout.splitlines()
        ]
        for more in ([], settings)
    )
    assert len(cached) == 3 and cached[2] > plain[2]
    done = called("evaluate", str(run.run.path), "--mix", str(counted), *settings, "--json")
    assert [set(member) for member in json.loads(done.stdout)["mixture"]] == [
        {"run", "weight", "adaptation"},
        {"run", "weight"},
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adapt", "cach.window=3"], "did you mean 'cache'"),
        (["--adapt", "dynamic.lr=3"], "dynamic.lr"),
        (["--cache", "--adapt", "window"], "write it as name.of.setting=value"),
    ],
)
def test_mistakes(run: foretell.Trained, options: list[str], message: str) -> None:
    problem = called("evaluate", str(run.run.path), *options).exception
    assert isinstance(problem, ConfigError | SystemExit)
    assert message in str(problem) or message in called("evaluate", str(run.run.path), *options).stderr


def test_an_ngram_model_cannot_adapt(counted: Path) -> None:
    done = called("evaluate", str(counted), "--cache")
    assert "n-gram" in f"{done.exception} {done.stderr}"
    with pytest.raises(ConfigError, match="n-gram"):
        foretell.load(counted).evaluate("test", cache=True)


def test_settings_that_are_measured_where_they_were_found_are_told(run: foretell.Trained, counted: Path) -> None:
    tuned = run.adapted(cache={"window": 50, "sharpness": 0.3, "tuning": 300}, quiet=True)
    assert tuned.evaluate("valid")["fitted_here"] == ["cache.weight"]
    assert tuned.evaluate("test")["fitted_here"] == []
    assert run.adapted(cache=GIVEN["cache"], quiet=True).evaluate("valid")["fitted_here"] == []
    mixed = foretell.mix([tuned, counted], [0.9, 0.1])
    assert mixed.evaluate("valid")["fitted_here"] == ["cache.weight"]
