"""The record of a checkpoint is read by type and range: its checksum can be made right by anybody."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import averaging, outcome

import foretell
from foretell.checksums import digest, write_checksums
from foretell.errors import ConfigError
from foretell.run import FORMAT, Run
from foretell.training.checkpoint import Checkpoint, newest

STEPS = {"limit": "12steps", "checkpoint.every": "4steps", "checkpoint.keep": 10, "evaluation.every": "4steps"}
ABSENT = object()


@pytest.fixture(scope="module")
def stopped(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without its last checkpoint, so that it goes on from step 8."""
    out = tmp_path_factory.mktemp("state") / "run"
    foretell.train(averaging(corpus, **STEPS), out, quiet=True)
    run = Run(out).read()
    last = newest(run)
    assert last is not None and last.step == 12
    shutil.rmtree(last.path)
    run.note_saved({"last": 8, "best": 8})
    return out


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def rewrite(run: Path, place: str, value: Any) -> None:
    """Change the record of the newest checkpoint, and make its checksums right."""
    saved = newest(Run(run))
    assert isinstance(saved, Checkpoint) and saved.step == 8
    record = saved.record()
    *outer, key = place.split(".")
    inside = record
    for name in outer:
        inside = inside[name]
    if value is ABSENT:
        del inside[key]
    else:
        inside[key] = value
    (saved.path / "record.json").write_text(json.dumps(record))
    files = {file.name: digest(file) for file in saved.path.iterdir() if file.name != "checksums.json"}
    write_checksums(saved.path, files, format=FORMAT, run=saved.run.id)


def resume(run: Path) -> None:
    foretell.train(foretell.load_recipe(run), run, resume=True, quiet=True)


def test_what_was_not_changed_goes_on(run: Path, corpus: dict[str, str], tmp_path: Path) -> None:
    rewrite(run, "window.loss", Checkpoint(Run(run), run / "checkpoints" / "step-00000008").record()["window"]["loss"])
    resume(run)
    foretell.train(averaging(corpus, **STEPS), tmp_path / "whole", quiet=True)
    assert outcome(run) == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("window", value) for value in (None, "x", [], ABSENT)),
        *(("window.loss", value) for value in (None, "x", [1], 10**400)),
        *(("window.tokens", value) for value in (None, "x", -1, 0.5, True)),
        *(("window.terms", value) for value in (None, [], {"a": "b"})),
        *((section, value) for section in ("schedule", "averager") for value in (None, "x", 3, ABSENT)),
        *(("averager.count", value) for value in (None, "x", -1)),
        *(("averager.history", value) for value in (None, "x", ["x"], [None])),
        *(("averager.started", value) for value in (None, "x", 3)),
        *(("schedule.warm_at", value) for value in (None, "x", [])),
        *(("position.seconds", value) for value in (math.nan, math.inf, -1.0, "3", None)),
        *(("position.step", value) for value in (-5, 7, 10**18, "8", 8.5, None)),
        *(("position.stage_step", value) for value in (-5, 10**18, "8", True)),
        *(("position.tokens", value) for value in (-(10**9), "8")),
        *(("position.micro_batches", value) for value in (0, -1, "2")),
        *(("position.history", value) for value in (3, ["x"], None)),
        *(("position.stage", value) for value in (-1, "0")),
        *(("step", value) for value in (-5, 7, "8", None)),
    ],
)
def test_a_value_of_another_kind_is_refused_in_one_line(run: Path, place: str, value: Any) -> None:
    rewrite(run, place, value)
    before = newest(Run(run))
    if before is not None and before.step == 8:  # whole by its checksums
        with pytest.raises(ConfigError, match=r"step-00000008/record\.json: does not (hold|say)"):
            resume(run)
    else:
        resume(run)  # from step 4, as it says


@pytest.mark.parametrize("facts", [None, 3, {"step": 10**30, "weights": "raw"}, {"step": 8, "weights": 1}, {"step": 8}])
def test_a_pointer_that_is_none_points_to_nothing(run: Path, facts: Any) -> None:
    rewrite(run, "pointers.best", facts)
    with pytest.raises(ConfigError, match="the best checkpoint is gone"):
        foretell.load(run)
