"""Examination of runs."""

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from examinations import sentence, shown, worst, write_corpus
from labelled import task_tables, write_labelled

import foretell
from foretell.api.train import run_recipe
from foretell.checksums import digest
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.tools.look.doctor import examine_run
from foretell.training import checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("doctor")
    lines = [sentence(number) for number in range(200)]
    corpus = write_corpus(folder / "c", train=lines, valid=lines[:20], test=lines[:20])
    recipe = load_recipe(
        {
            "limit": "4steps",
            "data": {"corpus": corpus, "tokenizer": "byte"},
            "model": {"embedding_dim": 4, "hidden": 8, "layers": 1},
            "checkpoint": {"every": "2steps", "keep": 3},
            "training": {"log_every": "1steps"},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORETELL_CACHE", str(folder / "cache"))
        yield run_recipe(recipe, folder / "run", resume=False, quiet=True).run.path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_sound_run_has_nothing_to_complain_of(run: Path) -> None:
    result = examine_run(run)
    assert {finding["level"] for finding in result["findings"]} == {"ok"}
    assert list(result["checkpoints"]) == ["step-00000002", "step-00000004"]
    assert result["finished"] and not result["resumable"]
    assert result["last_record"]["step"] == 4 and result["best_validation"]["step"] == 4
    assert "0 errors, 0 warnings" in shown(result)


def test_a_sound_run_of_a_task_has_nothing_to_complain_of(tmp_path: Path) -> None:
    data = write_labelled("classification", tmp_path)  # of three labels
    tables = task_tables("classification", "recurrent", data, limit="2steps")
    run_recipe(load_recipe(tables), tmp_path / "run", resume=False, quiet=True)
    assert {finding["level"] for finding in examine_run(tmp_path / "run")["findings"]} == {"ok"}
    Path(data["corpus"]["train"]).unlink()
    assert "no such file" in worst(examine_run(tmp_path / "run"), "corpus")["text"]
    (tmp_path / "run" / "labels.json").unlink()
    assert worst(examine_run(tmp_path / "run"), "labels")["level"] == "error"


def test_a_damaged_checkpoint_is_noticed(run: Path) -> None:
    file = run / "checkpoints" / "step-00000004" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    result = examine_run(run)
    finding = worst(result, "step-00000004")
    assert finding["level"] == "error" and "model.safetensors" in finding["text"]
    assert worst(result, "best")["level"] == worst(result, "last")["level"] == "warning"
    assert result["resumable"] and not result["finished"]  # from step 2
    assert file.exists()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_named_and_not_measured(run: Path, number: float) -> None:
    saved = checkpoint.at_step(Run(run), 4)
    tensors, record = saved.weights(), saved.record()
    name = sorted(tensors)[0]
    tensors[name].view(-1)[3] = number
    checkpoint.save(Run(run), 4, {"model": tensors}, record)
    finding = worst(examine_run(run), "step-00000004")
    assert finding["level"] == "error" and f"{name} holds numbers that are not finite" in finding["text"]
    for which in ("best", "last"):
        with pytest.raises(ConfigError, match=rf"run/.*: {re.escape(name)} holds numbers that are not finite"):
            foretell.load(run, which=which)


@pytest.mark.parametrize("name", ["record.json", "optimizer.safetensors"])
def test_a_missing_file_of_a_checkpoint_is_noticed(run: Path, name: str) -> None:
    (run / "checkpoints" / "step-00000002" / name).unlink()
    finding = worst(examine_run(run), "step-00000002")
    assert finding["level"] == "error" and name in finding["text"]


def test_weights_of_another_recipe_are_noticed(run: Path) -> None:
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("hidden = 8", "hidden = 9"))
    finding = worst(examine_run(run), "step-00000004")
    assert finding["level"] == "error" and "do not fit the recipe" in finding["text"]


def test_half_written_things_are_told_and_left_alone(run: Path) -> None:
    (run / "checkpoints" / "damaged-step-00000006-1").mkdir()
    (run / "checkpoints" / "step-00000004 (copy)").mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    result = examine_run(run)
    assert result["set_aside"] == ["damaged-step-00000006-1"]
    assert worst(result, "records")["level"] == "warning"
    assert (run / "checkpoints" / "damaged-step-00000006-1").exists()


def test_a_recipe_tokenizer_or_text_that_is_gone_is_told(run: Path) -> None:
    recipe = run / "recipe.toml"
    whole = recipe.read_text()
    recipe.write_text(re.sub('corpus = ".*"', 'corpus = "/nowhere"', whole))
    assert worst(examine_run(run), "corpus")["level"] == "warning"
    recipe.write_text(whole + "\nnonsense = 1\n")
    broken = examine_run(run)
    assert worst(broken, "recipe")["level"] == "error" and not broken["resumable"]
    recipe.write_text(whole)
    (run / "tokenizer.json").write_text("{")
    assert worst(examine_run(run), "tokenizer")["level"] == "error"
    shown(broken)


def test_a_run_that_saved_nothing_yet(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "metrics.jsonl").unlink()
    Run(run).note_saved({})
    result = examine_run(run)
    assert result["checkpoints"] == {} and not result["resumable"]
    assert result["last_record"] is None
    with pytest.raises(ConfigError, match="is not a run"):
        examine_run(run / "checkpoints")


def test_weights_that_are_mostly_holes_are_not_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty gigabytes with a header that accounts for them, and none of them on the disk."""
    [saved, *_] = sorted((run / "checkpoints").glob("step-*"), reverse=True)
    content = (saved / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header, end = json.loads(content[8:begin]), len(content) - begin
    header["surplus"] = {"dtype": "F32", "shape": [15 << 30], "data_offsets": [end, end + (60 << 30)]}
    written = json.dumps(header).encode()
    with (saved / "model.safetensors").open("wb") as file:
        file.write(len(written).to_bytes(8, "little") + written + content[begin:])
        file.truncate(8 + len(written) + end + (60 << 30))
    read: list[Path] = []
    monkeypatch.setattr("foretell.checksums.digest", lambda file: (read.append(file), digest(file))[1])
    found = examine_run(run)["checkpoints"][saved.name]
    assert "is mostly holes" in found["problem"] and saved / "model.safetensors" not in read
