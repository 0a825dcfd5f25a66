"""The learning-rate finder: its range by hand, and that what it proposes is good."""

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import losses, tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.tools.train.lr_finder import CLEAR, Trial, find_lr, render


def test_smoothing_by_hand() -> None:
    """Weights 0.9 ** age, which sum to one."""
    given = [4.0, 3.0, 5.0, 1.0]
    smoothed = Trial([1, 2, 3, 4], given, "").smoothed
    for t in range(4):
        weights = [0.9 ** (t - i) for i in range(t + 1)]
        expected = sum(w * x for w, x in zip(weights, given, strict=False)) / sum(weights)
        assert smoothed[t] == pytest.approx(expected)


def test_rates_rise_by_equal_ratios(corpus: dict[str, str]) -> None:
    result = find_lr(load_recipe(tables(corpus)), steps=13, low=1e-3, high=1.0, quiet=True)
    assert result["rates"] == pytest.approx([10 ** (-3 + i / 4) for i in range(13)])
    assert result["ending"] == "all steps done"
    assert (result["steps"], len(result["losses"])) == (13, 13)


def test_the_losses_are_those_of_training(corpus: dict[str, str], tmp_path: Path) -> None:
    """Two steps at rates of practically zero: the first batches' losses, from the same initial weights."""
    trial = find_lr(load_recipe(tables(corpus)), steps=30, low=1e-9, high=10.0, quiet=True)
    foretell.train(tables(corpus, optimizer__learning_rate=1e-9, limit="3steps"), tmp_path / "run", quiet=True)
    assert trial["losses"][:3] == pytest.approx([loss for _, loss in losses(tmp_path / "run", "train")], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_proposed_rate_is_good(corpus: dict[str, str], tmp_path: Path, optimizer: str) -> None:
    """Better after an epoch or two than thirty times less, or thirty times more, whichever optimiser it is for."""
    recipe = tables(corpus, optimizer={"kind": optimizer}, limit="40steps")
    result = find_lr(load_recipe(recipe), steps=120, high=1e4, quiet=True)
    assert result["optimizer"] == optimizer
    assert result["steps"] < 120 and "all" not in result["ending"]
    best = min(range(result["steps"]), key=result["smoothed"].__getitem__)
    assert result["learning_rate"] == pytest.approx(result["rates"][best] / 10, rel=0.06)
    assert result["warning"] is None
    found = {}
    for times in (1 / 30, 1, 30):
        recipe["optimizer"]["learning_rate"] = times * result["learning_rate"]
        try:
            foretell.train(recipe, tmp_path / f"{times:.2f}", quiet=True)
            found[times] = losses(tmp_path / f"{times:.2f}")[-1][1]
        except foretell.Diverged:
            found[times] = math.inf
    assert min(found, key=found.__getitem__) == 1


def test_without_the_library_that_draws_nothing_is_tried(
    corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delattr("foretell.tools.train.lr_finder.range_test")
    with pytest.raises(ConfigError, match="drawing needs matplotlib"):
        find_lr(load_recipe(tables(corpus)), png=tmp_path / "a.png")


def test_the_verb_writes_nothing_but_the_picture(
    corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(load_recipe(tables(corpus)).text())
    given = ["find-lr", "mine.toml", "model.hidden=4", "--low", "0.01", "--steps", "60", "--png", "a.png", "--json"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["learning_rate"] > 0 and result["png"] == "a.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "mine.toml"]
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    done = CliRunner().invoke(app, ["find-lr", "mine.toml", "--steps", "60", "--low", "0.01"])
    assert (
        f"optimizer.learning_rate={find_lr(load_recipe('mine.toml'), steps=60, low=0.01)['learning_rate']:g}"
        in done.stdout
    )


def test_from_another_runs_weights(corpus: dict[str, str], tmp_path: Path) -> None:
    """For fine-tuning the search starts where the fine-tuning will."""
    foretell.train(tables(corpus, limit="60steps", optimizer__learning_rate=5.0), tmp_path / "first", quiet=True)
    plain, tuned = (
        find_lr(load_recipe(tables(corpus, init=init)), steps=5, low=1e-9, high=1e-8, quiet=True)
        for init in ("", str(tmp_path / "first"))
    )
    assert tuned["first_loss"] < plain["first_loss"] - 0.3


def test_wrong_ranges(corpus: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="must rise"):
        find_lr(load_recipe(tables(corpus)), low=1.0, high=0.1, quiet=True)
    with pytest.raises(ConfigError, match=r"fell at no learning rate.*--low"):
        find_lr(load_recipe(tables(corpus)), steps=20, low=1e6, high=1e9, quiet=True)


def test_nothing_is_proposed_where_the_loss_is_flat(corpus: dict[str, str]) -> None:
    result = find_lr(load_recipe(tables(corpus)), steps=40, low=1e-9, high=1e-7, quiet=True)
    assert result["learning_rate"] is None and "no learning rate is clearly best" in result["warning"]
    assert any("none: " in str(cell) for cell in render(result).cells(1))


def test_noise_alone_hardly_ever_looks_like_a_fall() -> None:
    draw = random.Random(3)
    trials = [Trial(list(range(200)), [draw.gauss(5, 0.3) for _ in range(200)], "") for _ in range(300)]
    assert sum(trial.fall > CLEAR * trial.noise for trial in trials) <= 3
    assert all(0.2 < trial.noise < 0.4 for trial in trials)
    falling = Trial(list(range(200)), [draw.gauss(5 - step / 100, 0.3) for step in range(200)], "")
    assert falling.fall > CLEAR * falling.noise and falling.fall == pytest.approx(1.9, abs=0.3)
