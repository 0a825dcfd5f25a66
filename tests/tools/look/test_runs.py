"""Listing and deleting runs: the facts of each, and nothing but runs ever deleted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import tables
from labelled import task_tables, write_labelled
from rich.console import Console
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.cli.problems import explain
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.tools.look.runs import deletable, delete, list_runs, render, validated, with_ranks


@pytest.fixture(scope="module")
def trained(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one in a folder of its own."""
    folder = tmp_path_factory.mktemp("runs")
    foretell.train(tables(corpus), folder / "a", quiet=True)
    foretell.train(tables(corpus, model__cell="gru", limit="40steps"), folder / "deep" / "b", quiet=True)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of them, and what is no run."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "recipe.toml").write_text("mine")
    return tmp_path


def called(*arguments: str) -> Any:
    done = CliRunner().invoke(app, ["runs", *arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    return done


def test_the_facts(folder: Path) -> None:
    first, second = list_runs(folder)
    run = foretell.load(folder / "a")
    assert (first["name"], second["name"]) == ("a", "deep/b")
    assert (first["recipe"], first["model"], second["model"]) == ("tiny", "recurrent lstm", "recurrent gru")
    assert first["parameters"] == run.parameters and first["steps"] == 12 and second["steps"] == 40
    assert first["bits_per_byte"] == run.summary()["bits_per_byte"]
    assert first["state"] == "finished" and first["when"].startswith("20")
    files = [path for path in (folder / "a").rglob("*") if path.is_file()]
    assert first["size_bytes"] == sum(path.stat().st_size for path in files)


def test_a_task_is_listed_with_its_metric(tmp_path: Path) -> None:
    tables = task_tables("classification", "recurrent", write_labelled("classification", tmp_path), limit="2steps")
    run = foretell.train(tables, tmp_path / "run", quiet=True)
    (found,) = list_runs(tmp_path, filters=["score>=0"])
    assert (found["metric"], found["score"]) == ("accuracy", run.summary()["accuracy"])
    assert f"accuracy {found['score']:.4f}" in " ".join(called(str(tmp_path)).stdout.replace("│", " ").split())


def test_the_parameters_of_counted_models(corpus: dict[str, str], tmp_path: Path) -> None:
    run = foretell.train(tables(corpus, model={"kind": "ngram", "order": 3}), tmp_path / "n", quiet=True)
    (found,) = list_runs(tmp_path)
    assert (found["parameters"], found["model"], found["state"]) == (run.parameters, "ngram 3", "finished")


def test_the_metric_of_a_task(folder: Path) -> None:
    """Its best, beside runs that have none."""
    changes = {"limit": "6steps", "evaluation": {"every": "2steps"}}
    task = foretell.train(
        task_tables("classification", "recurrent", write_labelled("classification", folder), **changes),
        folder / "task",
        quiet=True,
    )
    found = {record["name"]: record for record in list_runs(folder)}
    valid = [record["accuracy"] for record in task.run.metrics() if record["kind"] == "valid"]
    assert len(valid) == 3
    assert (found["task"]["metric"], found["task"]["score"]) == ("accuracy", max(valid))
    assert found["a"]["metric"] is None and found["a"]["score"] is None
    assert [record["name"] for record in list_runs(folder, filters=["metric=accuracy", "score>=0"])] == ["task"]
    assert list_runs(folder, sort="-score")[0]["name"] == "task"
    assert validated(found["task"]) == f"accuracy {max(valid):.4f}"
    assert validated(found["a"]) == f"{found['a']['bits_per_byte']:.4f}"


def test_the_loss_of_other_objectives() -> None:
    record = {"metric": None, "bits_per_byte": None, "objective_loss": 6.72391, "lossy": None}
    assert validated(record) == "objective loss 6.7239"


def test_half_made_ones(folder: Path, corpus: dict[str, str]) -> None:
    recipe = foretell.load_recipe(tables(corpus)).text()
    Run.create(folder / "begun", recipe=recipe, resume=False)
    Run.create(folder / "broken", recipe="]", resume=False)
    last = sorted((folder / "a" / "checkpoints").glob("step-*"))[-1]
    (last / "checksums.json").write_text("{")
    found = {record["name"]: record for record in list_runs(folder)}
    assert (found["begun"]["state"], found["a"]["state"]) == ("empty", "damaged")
    assert found["begun"]["bits_per_byte"] is None and found["begun"]["steps"] == 0
    assert list(found) == ["a", "begun", "broken", "deep/b"]
    assert [record["name"] for record in list_runs(folder, sort="bits_per_byte")][-2:] == ["begun", "broken"]


def test_filters_and_order(folder: Path) -> None:
    def names(*filters: str, sort: str | None = None) -> list[str]:
        return [record["name"] for record in list_runs(folder, filters=filters, sort=sort)]

    bits = {record["name"]: record["bits_per_byte"] for record in list_runs(folder)}
    assert names(f"bits_per_byte<{bits['a']}") == [n for n in bits if bits[n] < bits["a"]]
    assert names("steps>=12", "steps < 40") == ["a"]
    assert names("model=recurrent gru") == ["deep/b"] and names("recipe!=tiny") == []
    assert names(sort="-steps") == ["deep/b", "a"] and names(sort="steps") == ["a", "deep/b"]
    for wrong, said in (("step<3", "did you mean 'steps'"), ("steps", "write a column"), ("steps<x", "is a number")):
        with pytest.raises(ConfigError, match=said):
            names(wrong)
    with pytest.raises(ConfigError, match="no such column"):
        names(sort="size")
    with pytest.raises(ConfigError, match="no such folder"):
        list_runs(folder / "none")


def test_on_the_command_line(folder: Path) -> None:
    result = json.loads(called(str(folder), "--json", "--filter", "steps<20").stdout)
    assert [run["name"] for run in result["runs"]] == ["a"]
    assert "deep/b" in called(str(folder)).stdout
    with pytest.raises(ConfigError, match="add --yes"):  # there is no terminal to ask on
        called(str(folder), "--delete", "a")
    assert (folder / "a").exists()
    assert json.loads(called(str(folder), "--delete", "a", "--yes", "--json").stdout)["deleted"]
    assert not (folder / "a").exists() and (folder / "deep" / "b" / "recipe.toml").exists()


def test_only_runs_are_deleted(folder: Path) -> None:
    outside = folder / "deep" / "b"
    (folder / "link").symlink_to(outside)
    (folder / "way").symlink_to(folder / "deep")
    for name in ("notes", "deep", ".", "", "..", "../x", str(outside), "link", "way/b", "none"):
        with pytest.raises(ConfigError, match="--delete"):
            deletable(folder, ["a", name])
    assert (folder / "a").exists() and outside.exists() and (folder / "notes").exists()


def test_links_in_a_run_are_not_followed(folder: Path) -> None:
    precious = folder / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (folder / "a" / "link").symlink_to(precious)
    delete(deletable(folder, ["a"]))
    assert not (folder / "a").exists() and (precious / "file").read_text() == "mine"


# --- runs that are being trained ------------------------------------------------------------------


HOLD = """
import sys
from foretell.run import Run
with Run(sys.argv[1]).alone():
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_is_trained_is_left_alone(folder: Path, corpus: dict[str, str]) -> None:
    """By resuming, by deleting; and kill -9 leaves no lock behind."""
    path = folder / "a"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert list_runs(folder)[0]["state"] == "training"
    with pytest.raises(ConfigError, match="is being trained by another process") as refused:
        foretell.train(tables(corpus), path, resume=True, quiet=True)
    assert explain(refused.value)[1] == 2 and "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="being trained"):
        deletable(folder, ["a"])
    with pytest.raises(ConfigError, match="being trained"):
        delete([path])
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert list_runs(folder)[0]["state"] == "finished"
    foretell.train(tables(corpus), path, resume=True, quiet=True)
    delete(deletable(folder, ["a"]))


def test_the_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    with Run(tmp_path / "new" / "run").alone():
        assert Run(tmp_path / "new" / "run").is_busy()
    assert not (tmp_path / "new" / "run").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is not a run"), Run(tmp_path / "file").alone():
        pass


def test_figures_that_flatter_have_a_mark() -> None:
    assert validated({"metric": None, "bits_per_byte": 1.5, "objective_loss": None, "lossy": True}) == "1.5000*"
    assert validated({"metric": None, "bits_per_byte": 1.5, "objective_loss": None, "lossy": None}) == "1.5000"
    assert (
        validated({"metric": "accuracy", "score": None, "bits_per_byte": None, "objective_loss": None, "lossy": None})
        == ""
    )


def listed(*names: str, **changes: Any) -> list[dict[str, Any]]:
    """Records of runs with byte tokens, ranked."""
    record = {
        "recipe": "awd-lstm-ptb", "model": "recurrent lstm", "parameters": 24_221_600, "steps": 123_456, "loss": 3.2,
        "bits_per_byte": 1.2345, "lossy": False, "metric": None, "objective_loss": None, "score": None, "ranked": True,
        "when": "2026-11-29T22:43:48+00:00", "size_bytes": 291_000_000, "state": "finished", "problem": "",
        "tokenizer": "bytes", "unnormalised": "",
    }  # fmt: skip
    return [record | {"name": name} | changes for name in names]


def shown(runs: list[dict[str, Any]], width: int) -> str:
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(render({"folder": "runs", "runs": runs}))
    assert max(map(len, printed.get().splitlines())) <= width
    return printed.get()


def test_figures_are_whole_at_any_width() -> None:
    (run,) = listed("seeds/a-long-name-of-a-run/seed-1", lossy=True)
    for width in (60, 80, 120, 200):
        text = shown([run], width)
        for part in ("1.2345*", "recurrent lstm", "finished", "1 run in runs"):
            assert part in text
    for part in (run["name"], "awd-lstm-ptb", "24.2 M", "123,456", "291 MB", "2026-11-29 22:43"):
        assert part in text
    assert "not shown" not in text


def test_runs_that_are_not_ranked_are_below_a_line() -> None:
    runs = [*listed("a"), *listed("begun", bits_per_byte=None, lossy=None)]
    runs += [
        *listed("z", lossy=True, tokenizer="words"),
        *listed("imported", unnormalised="3 contexts do not sum to 1"),
    ]
    found = {record["name"]: record["ranked"] for record in with_ranks(runs)}
    assert found == {"a": True, "begun": None, "z": False, "imported": False}
    lines = shown(with_ranks(runs), 80).splitlines()
    assert [line.split()[0] for line in lines[2:7]] == ["a", "begun", "not", "z", "imported"]
    assert [record["ranked"] for record in with_ranks(listed("a", "b", lossy=True))] == [True, True]


def test_lossy_runs_come_last_unless_another_order_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = [
        *listed("a", lossy=True, tokenizer="words", bits_per_byte=0.5, steps=3),
        *listed("b"),
        *listed("c", steps=4),
    ]
    known = {run["name"]: run for run in runs}
    monkeypatch.setattr("foretell.tools.look.runs.find_runs", lambda _: [tmp_path / name for name in known])
    monkeypatch.setattr("foretell.tools.look.runs.describe", lambda run, _: known[run.path.name])

    def order(sort: str | None) -> list[str]:
        return [record["name"] for record in list_runs(tmp_path, sort=sort)]

    assert order(None) == ["b", "c", "a"] and order("bits_per_byte") == ["b", "c", "a"]
    assert order("steps") == ["a", "c", "b"]
