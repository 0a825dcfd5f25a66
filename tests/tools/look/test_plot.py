"""Pictures of runs: the right figures in the right places, as PNG files."""

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import tables
from labelled import task_tables, write_labelled
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.tools.drawing import wide
from foretell.tools.look.plot import cumulative, distinct, plot_runs, read_curves


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages, validated every three steps."""
    out = tmp_path_factory.mktemp("plot") / "run"
    stages = [{"name": "one", "limit": "7steps"}, {"name": "two", "limit": "5steps"}]
    foretell.train(tables(corpus, stages=stages, evaluation__every="3steps"), out, quiet=True)
    return out


def size(png: Path) -> tuple[int, int]:
    """Width and height, as a PNG says in its first chunk."""
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


def test_curves_by_hand(run: Path) -> None:
    """40 tokens a step, counted on over both stages; validation is where training was at its step."""
    curves = read_curves(Run(run))
    assert curves.train["steps"].tolist() == list(range(1, 13))
    assert curves.train["tokens"].tolist() == [40 * step for step in range(1, 13)]
    assert (np.diff(curves.train["seconds"]) > 0).all()
    records = list(Run(run).metrics())
    assert curves.train["loss"].tolist() == [r["loss"] for r in records if r["kind"] == "train"]
    valid = [r for r in records if r["kind"] == "valid"]
    assert curves.valid["steps"].tolist() == [r["step"] for r in valid] == [3, 6, 7, 10, 12]
    assert curves.valid["tokens"].tolist() == [120, 240, 280, 400, 480]
    assert curves.valid["bits_per_byte"].tolist() == [r["bits_per_byte"] for r in valid]
    assert curves.valid["perplexity"] == pytest.approx(np.exp(curves.valid["loss"]))
    assert curves.train["perplexity"] == pytest.approx(np.exp(curves.train["loss"]))


def test_totals_over_stages() -> None:
    records = [{"stage": s, "tokens": n} for s, n in [("a", 10), ("a", 30), ("b", 5), ("b", 15), ("c", 1)]]
    assert cumulative(records, "tokens").tolist() == [10, 30, 35, 45, 46]


@pytest.mark.parametrize(("values", "expected"), [([1.0, 20.0], False), ([0.1, 20.0], True), ([math.nan, 0.0], False)])
def test_when_only_ratios_can_be_seen(values: list[float], expected: bool) -> None:
    assert wide([np.array(values)]) is expected


def test_names_tell_runs_apart() -> None:
    assert distinct([Path("a/x"), Path("a/y")]) == ["x", "y"]
    assert distinct([Path("a/x"), Path("b/x")]) == ["a/x", "b/x"]


@pytest.mark.parametrize("axis", ["steps", "epochs", "tokens", "seconds"])
def test_what_is_drawn(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: Any) -> None:
    pytest.importorskip("matplotlib")
    from foretell.tools.look import plot

    found: list[Any] = []
    monkeypatch.setattr(plot, "save", lambda figure, out: found.append(figure))
    plot_runs([run], tmp_path / "x.png", axis, "bits_per_byte")
    curves = read_curves(Run(run))
    top, rate, norm, histogram = found[0].axes
    training, validation = top.lines
    assert training.get_xdata().tolist() == curves.train[axis].tolist()
    assert training.get_ydata().tolist() == curves.train["bits_per_byte"].tolist()
    assert validation.get_xdata().tolist() == curves.valid[axis].tolist()
    assert validation.get_ydata().tolist() == curves.valid["bits_per_byte"].tolist()
    assert rate.lines[0].get_ydata().tolist() == curves.train["learning_rate"].tolist()
    assert norm.lines[0].get_ydata().tolist() == curves.train["gradient_norm"].tolist()
    heights = [bar.get_height() for bar in histogram.patches[:40]]
    assert sum(heights) == pytest.approx(1)
    best = min(curves.valid["bits_per_byte"])
    assert [text.get_text() for text in top.texts] == [f"{best:.4g}"]
    low, high = top.get_ylim()
    assert low < best < high


def test_the_metric_of_a_task(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What validation says, and its highest; runs of other metrics, or without, are refused."""
    pytest.importorskip("matplotlib")
    from foretell.tools.look import plot

    for task in ("classification", "tagging"):
        changes = {"limit": "6steps", "evaluation": {"every": "2steps"}}
        tables = task_tables(task, "recurrent", write_labelled(task, tmp_path), **changes)
        foretell.train(tables, tmp_path / task, quiet=True)
    records = [record for record in Run(tmp_path / "classification").metrics() if record["kind"] == "valid"]
    found: list[Any] = []
    monkeypatch.setattr(plot, "save", lambda figure, out: found.append(figure))
    plot_runs([tmp_path / "classification"], tmp_path / "x.png", "steps", "metric")
    top = found[0].axes[0]
    (validation,) = top.lines
    assert validation.get_xdata().tolist() == [2, 4, 6]
    assert validation.get_ydata().tolist() == [record["accuracy"] for record in records]
    assert top.get_title(loc="left") == "accuracy"
    assert [text.get_text() for text in top.texts] == [f"{max(record['accuracy'] for record in records):.4g}"]
    with pytest.raises(ConfigError, match="differ: accuracy, entity_f1; plot runs with the same"):
        plot_runs([tmp_path / "classification", tmp_path / "tagging"], None, "steps", "metric")
    with pytest.raises(ConfigError, match="has no metric"):
        plot_runs([run], None, "steps", "metric")


def test_pictures_are_written(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = plot_runs([run], None, "steps", "loss")
    assert result["png"] == str(run / "plot.png")
    assert size(run / "plot.png") == (1430, 975)
    plot_runs([run, run], tmp_path / "new" / "two.png", "seconds", "perplexity")
    assert size(tmp_path / "new" / "two.png") == (1430, 975)


def test_the_verb(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given = ["plot", str(run), str(run), "--out", str(tmp_path / "a.png"), "--x", "tokens", "--json"]
    done = CliRunner().invoke(app, given)
    assert json.loads(done.stdout) == {
        "png": str(tmp_path / "a.png"),
        "runs": [str(run), str(run)],
        "x": "tokens",
        "y": "loss",
    }
    assert CliRunner().invoke(app, ["plot", str(run), "--x", "miles"]).exit_code == 2


def test_without_the_library(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"matplotlib.*pip install 'foretell\[plot\]'"):
        plot_runs([run], None, "steps", "loss")


def test_without_records(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(ConfigError, match="no training records"):
        plot_runs([tmp_path], None, "steps", "loss")
    with pytest.raises(ConfigError, match="not a run"):
        plot_runs([tmp_path / "none"], None, "steps", "loss")
