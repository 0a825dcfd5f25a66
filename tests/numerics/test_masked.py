"""Masked models from text to measurement: they learn, their training can be stopped, and their figures are the same."""

import importlib.util
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import masking, outcome

import foretell
from foretell.data.tokenizers.tokenizer import load_tokenizer
from foretell.errors import ConfigError
from foretell.recipe.files import read_tree
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.tools.look import doctor_run
from foretell.tools.look.plot import plot_runs
from foretell.tools.look.runs import list_runs
from foretell.tools.measure.compare import compare
from foretell.training.trainer import Trainer


@pytest.fixture(scope="module")
def whole(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    out = tmp_path_factory.mktemp("masked") / "run"
    foretell.train(masking(corpus, limit="3epochs"), out, quiet=True)
    return out


def test_it_learns(whole: Path) -> None:
    run = foretell.load(whole)
    measured = [record["masked_loss"] for record in run.run.metrics() if record["kind"] == "valid"]
    assert measured[-1] < measured[0]
    found = run.evaluate("valid")
    assert found["masked_loss"] == pytest.approx(min(measured), abs=1e-9)
    assert found["loss"] is found["perplexity"] is found["bits_per_byte"] is None


def test_rows_are_accounted_for_in_the_records(whole: Path) -> None:
    found = [record for record in Run(whole).metrics() if record["kind"] == "rows"]
    assert len(found) == 1
    assert found[0]["text"] == found[0]["kept"] + found[0]["dropped"] + found[0]["boundaries"]


@pytest.mark.parametrize("step", [1, 5, 40])
def test_after_a_signal(whole: Path, corpus: dict[str, str], tmp_path: Path, step: int, monkeypatch: Any) -> None:
    """Masks and order go on as if nothing had happened, to the last byte."""
    original = Trainer.step

    def stopping(self: Trainer, *given: Any) -> None:
        original(self, *given)
        self.interrupted = self.interrupted or self.position.step == step

    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(foretell.Interrupted):
        foretell.train(masking(corpus, limit="3epochs"), tmp_path / "run", quiet=True)
    monkeypatch.undo()
    foretell.train(masking(corpus, limit="3epochs"), tmp_path / "run", resume=True, quiet=True)
    assert outcome(tmp_path / "run") == outcome(whole)


def test_pairs_are_measured_beside_tokens(corpus: dict[str, str], tmp_path: Path) -> None:
    pairs = {"kind": "segment-pair", "pairs": "sop", "batch": 4, "length": 16}
    recipe = masking(corpus, data__batches=pairs, limit="6steps", training__log_every="1steps")
    run = foretell.train(recipe, tmp_path / "run", quiet=True)
    found = run.evaluate("test")
    assert found["objective_loss"] == pytest.approx(found["masked_loss"] + found["pair_loss"])
    assert 0 <= found["pair_accuracy"] <= 1 and found["pair_targets"] > 0
    assert run.evaluate("test", batch=1)["masked_loss"] == pytest.approx(found["masked_loss"], abs=1e-6)
    trained = [record for record in run.run.metrics() if record["kind"] == "train"]
    assert all(r["loss"] == pytest.approx(r["masked_loss"] + r["pair_loss"], rel=1e-5) for r in trained)
    assert len(trained) == 6 and run.run.path


@pytest.mark.parametrize(
    "use",
    [
        lambda run: run.score(["a"]),
        lambda run: run.generate("a"),
        lambda run: run.search("a"),
        lambda run: run.adapted(cache=True),
        lambda run: compare([run, run]),
        lambda run: foretell.mix([run, run]),
    ],
    ids=["score", "generate", "search", "adapt", "compare", "mix"],
)
def test_what_needs_a_next_token_is_refused_in_one_line(whole: Path, use: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="is a masked model") as problem:
        use(foretell.load(whole))
    assert "\n" not in str(problem.value)


def test_what_works_all_the_same(whole: Path, tmp_path: Path) -> None:
    run = foretell.load(whole)
    assert run.features(["the cat", "a dog"]).shape == (2, 16)
    assert list_runs(whole.parent)[0]["bits_per_byte"] is None
    found = run.pseudo_likelihood("test", 50)
    assert found["pseudo_tokens"] == 50
    if importlib.util.find_spec("matplotlib"):
        assert plot_runs([whole], tmp_path / "plot.png", "steps", "loss")["y"] == "loss"
        with pytest.raises(ConfigError, match="bits per byte"):
            plot_runs([whole], tmp_path / "plot.png", "steps", "bits_per_byte")


def test_a_model_at_the_plateau_is_told_of(whole: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(doctor_run, "EARLY", 1)
    out = tmp_path / "run"
    shutil.copytree(whole, out)

    def finding(loss: float) -> dict[str, Any]:
        records = [*Run(whole).metrics()]
        records[-1]["masked_loss"] = loss
        (out / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        found = doctor_run.examine_run(out)["findings"]
        return next(finding for finding in found if finding["about"] == "masked loss")

    tokenizer, counts = load_tokenizer(out / "tokenizer.json"), np.load(out / "token-counts.npy")
    shares = [n / (counts.sum() - counts[tokenizer.boundary]) for i, n in enumerate(counts) if i != tokenizer.boundary]
    entropy = -sum(share * math.log(share) for share in shares if share)
    assert doctor_run.unigram_entropy(counts, tokenizer) == pytest.approx(entropy)
    assert finding(entropy)["level"] == "warning"
    assert finding(0.8 * entropy)["level"] == "ok"
    for kind in "learned", "rotary":
        model = {"kind": "transformer", "direction": "both", "positions": {"kind": kind}, "hidden": 8, "heads": 2}
        (out / "recipe.toml").write_text(load_recipe(read_tree(whole / "recipe.toml") | {"model": model}).text())
        assert ("rotary" in finding(entropy)["do"]) == (kind == "learned")
