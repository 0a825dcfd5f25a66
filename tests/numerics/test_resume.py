"""Stopping and going on gives the same as never stopping, to the last byte, wherever the stop came."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from builders import attending, averaging, losses, outcome, tables, train_dying_at
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training.trainer import Trainer

STAGES = [
    {"name": "first", "limit": "15steps"},
    {"name": "second", "limit": "11steps", "start": "best", "set": {"averaging.at_once": True}},
]


@pytest.fixture(scope="module")
def whole(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    foretell.train(averaging(corpus), out, quiet=True)
    return out


@pytest.fixture
def signal_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Lets a signal come during a step (by number over all stages), in the part of it named."""

    def arrange(step: int, method: str = "step", number: int = signal.SIGTERM) -> None:
        original = getattr(Trainer, method)
        sent = []

        def patched(self: Trainer, *args: Any, **kwargs: Any) -> Any:
            if self.position.step == step and not sent:
                sent.append(step)
                os.kill(os.getpid(), number)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Trainer, method, patched)

    return arrange


def started(run: Path) -> int:
    """The first validation after which weights are averaged."""
    found = [step for step in range(200) if saved(run, step) and saved(run, step).record()["averager"]["started"]]
    return found[0]


def saved(run: Path, step: int) -> checkpoint.Checkpoint | None:
    found = checkpoint.at_step(Run(run), step)
    return found if found.path.exists() else None


TIMES = {"seconds", "tokens_per_second"}


def records(run: Path) -> list[dict[str, Any]]:
    """All of metrics.jsonl but what a clock says."""
    return [{key: value for key, value in record.items() if key not in TIMES} for record in Run(run).metrics()]


def test_the_training_is_worth_stopping(whole: Path) -> None:
    """It averages, its schedule has seen plateaus, and its state and optimiser have tensors."""
    last, _ = checkpoint.pointed(Run(whole), "last")
    record = last.record()
    assert record["averager"]["count"] > 10
    assert record["schedule"]["plateaus"] > 1
    assert all(last.tensors(name) for name in ("model", "averaged", "optimizer", "carried"))
    assert record["position"]["finished"]


def test_two_runs_are_equal(whole: Path, corpus: dict[str, str], tmp_path: Path) -> None:
    foretell.train(averaging(corpus), tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(whole)
    assert losses(tmp_path / "run", "train") == losses(whole, "train")
    foretell.train(averaging(corpus, seed=2), tmp_path / "other", quiet=True)
    assert outcome(tmp_path / "other")["last model.safetensors"] != outcome(whole)["last model.safetensors"]


# In the first epoch, between log lines and checkpoints; at a checkpoint; while averaging; in the
# last step, where the limit is reached all the same.
@pytest.mark.parametrize(
    ("method", "stop"),
    [
        *(("step", stop) for stop in (1, 7, 40, -1)),
        *((method, stop) for method in ("validate", "save") for stop in (1, 40, -1)),
    ],
)
def test_after_a_signal(
    whole: Path,
    corpus: dict[str, str],
    tmp_path: Path,
    signal_at: Callable[..., None],
    method: str,
    stop: int,
) -> None:
    steps = losses(whole)[-1][0]
    at = {"step": stop % steps, "validate": (stop // 5 + 1) * 5, "save": (stop // 4 + 1) * 4}[method]
    signal_at(steps if stop < 0 and method != "step" else at, method)
    out = tmp_path / "run"
    with pytest.raises(foretell.Interrupted, match="--resume"):
        foretell.train(averaging(corpus), out, quiet=True)
    assert checkpoint.newest(Run(out)) is not None
    foretell.train(averaging(corpus), out, resume=True, quiet=True)
    assert outcome(out) == outcome(whole)
    assert records(out) == records(whole)


def test_a_run_goes_on_where_it_is(
    whole: Path, corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "stopped"
    signal_at(7)
    with pytest.raises(foretell.Interrupted):
        foretell.train(averaging(corpus), out, quiet=True)
    result = CliRunner().invoke(app, ["train", str(out), "--resume", "--json"])
    assert result.exit_code == 0, result.output
    assert outcome(out) == outcome(whole)
    assert not (tmp_path / "runs").exists()


def test_after_a_signal_on_crops(corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None]) -> None:
    foretell.train(attending(corpus), tmp_path / "whole", quiet=True)
    for step in (15, 20):  # in the first epoch, whose end is at 16 or 17, and in the second
        out = tmp_path / f"{step}"
        signal_at(step)
        with pytest.raises(foretell.Interrupted):
            foretell.train(attending(corpus), out, quiet=True)
        foretell.train(attending(corpus), out, resume=True, quiet=True)
        assert outcome(out) == outcome(tmp_path / "whole")


def test_after_a_signal_in_each_stage(corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None]) -> None:
    recipe = averaging(corpus, stages=STAGES)
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    for step in (6, 14, 20):  # 14 and 25 are the last of a stage
        out = tmp_path / f"{step}"
        signal_at(step)
        with pytest.raises(foretell.Interrupted):
            foretell.train(recipe, out, quiet=True)
        foretell.train(recipe, out, resume=True, quiet=True)
        assert outcome(out) == outcome(tmp_path / "whole"), step
        assert losses(out) == losses(tmp_path / "whole")


def test_stopping_by_patience_is_not_lost_to_a_signal(
    corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None]
) -> None:
    recipe = averaging(corpus, training__patience=0)
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    step = losses(tmp_path / "whole")[-1][0]
    assert outcome(tmp_path / "whole")["last"][1] == step < 50
    signal_at(step, "validate")
    with pytest.raises(foretell.Interrupted):
        foretell.train(recipe, tmp_path / "run", quiet=True)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_going_on_with_what_is_finished_changes_nothing(whole: Path, corpus: dict[str, str]) -> None:
    before = outcome(whole)
    foretell.train(averaging(corpus), whole, resume=True, quiet=True)
    assert outcome(whole) == before


@pytest.mark.parametrize("optimizer", [{"kind": "adam", "learning_rate": 0.01}, "adamw", "sgd"])
def test_with_every_optimizer(
    corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None], optimizer: Any
) -> None:
    recipe = tables(corpus, optimizer=optimizer, model__cell="gru", schedule={"kind": "linear", "warmup": "3steps"})
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    signal_at(5)
    with pytest.raises(foretell.Interrupted):
        foretell.train(recipe, tmp_path / "run", quiet=True)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_with_a_penalty_on_the_way_from_the_start(
    whole: Path, corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None]
) -> None:
    """The weights it began with outlive the process: of a run that went on from another, and of its second stage."""
    changes = {"init": str(whole), "objective__penalties": [{"kind": "temporal"}, {"kind": "l2-sp", "weight": 0.3}]}
    recipe = averaging(corpus, stages=STAGES, **changes)
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    for step in (6, 15, 20):
        out = tmp_path / f"{step}"
        signal_at(step)
        with pytest.raises(foretell.Interrupted):
            foretell.train(recipe, out, quiet=True)
        foretell.train(recipe, out, resume=True, quiet=True)
        assert outcome(out) == outcome(tmp_path / "whole"), step
    begun = checkpoint.pointed(Run(whole), "best")[0].result()
    early = foretell.train(averaging(corpus, limit="4steps", **changes), tmp_path / "early", quiet=True)
    kept = early.checkpoint.tensors("penalties")
    assert {name.partition(".")[2]: tensor.tolist() for name, tensor in kept.items()} == {
        name: tensor.tolist() for name, tensor in begun.items()
    }


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "averaged.safetensors", "record.json"])
def test_a_damaged_checkpoint_is_passed_over(
    whole: Path,
    corpus: dict[str, str],
    tmp_path: Path,
    signal_at: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    file: str,
) -> None:
    out = tmp_path / "run"
    signal_at(50)
    with pytest.raises(foretell.Interrupted):
        foretell.train(averaging(corpus), out, quiet=True)
    newest = checkpoint.newest(Run(out))
    assert newest is not None
    damaged = newest.path / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1 if file.endswith("safetensors") else 0x80
    damaged.write_bytes(bytes(content))
    before = checkpoint.newest(Run(out))
    assert before is not None and before.path < newest.path
    foretell.train(averaging(corpus), out, resume=True)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{file}: " in said and "set aside" in said and f"resuming after step {before.step}" in said
    assert [path.name for path in Run(out).checkpoints.glob("damaged-*")] == [f"damaged-{newest.path.name}-1"]
    assert outcome(out) == outcome(whole)
    assert losses(out) == losses(whole)


def test_without_any_checkpoint_it_starts_from_the_beginning(
    whole: Path, corpus: dict[str, str], tmp_path: Path
) -> None:
    """And forgets what it had written about the steps it takes again."""
    out = tmp_path / "run"
    run = Run.create(out, recipe=foretell.load_recipe(averaging(corpus)).text(), resume=False)
    run.append({"kind": "valid", "stage": "training", "step": 3, "loss": 9.9})
    with run.metrics_file.open("a") as file:
        file.write('{"kind": "tr')  # cut off
    foretell.train(averaging(corpus), out, resume=True, quiet=True)
    assert outcome(out) == outcome(whole)
    assert losses(out) == losses(whole)


def test_without_an_intact_checkpoint_nothing_begins_anew(whole: Path, corpus: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for file in out.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(foretell.ConfigError, match=r"model\.safetensors: does not match its checksum.*another --out"):
        foretell.train(averaging(corpus), out, resume=True, quiet=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    for folder in out.glob("checkpoints/step-*"):
        shutil.rmtree(folder)
    with pytest.raises(foretell.ConfigError, match="no checkpoint of this run can be used: they are gone"):
        foretell.train(averaging(corpus), out, resume=True, quiet=True)


# --- sudden death ---------------------------------------------------------------------------------

SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["foretell.api.train", "torch._dynamo"])  # what a first step imports takes long


def start(operation: int, recipe: dict[str, Any], out: Path) -> BaseProcess:
    child = SPAWN.Process(target=train_dying_at, args=(operation, recipe, out))
    child.start()
    return child


def survive_kills(corpus: dict[str, str], whole: Path, out: Path, kills: int, **changes: Any) -> None:
    """Kill -9 at random moments, then let it finish."""
    draw = random.Random(kills)
    recipe = averaging(corpus, **changes)
    start(1, recipe, out.with_name("warming-up")).join()  # the server of children has to start too
    begun, died = time.monotonic(), 0
    start(0, recipe, out.with_name("timing")).join()
    seconds = time.monotonic() - begun
    for _ in range(kills):
        child = start(0, recipe, out)
        child.join(draw.uniform(0.1, 2.0) * seconds / kills + 0.02)
        child.kill()
        child.join()
        died += child.exitcode == -signal.SIGKILL
    child = start(0, recipe, out)
    child.join()
    assert child.exitcode == 0
    assert died > 0
    assert outcome(out) == outcome(whole)
    for kind in ("valid", "train"):
        assert losses(out, kind) == losses(whole, kind)


def test_killed_at_random_moments(whole: Path, corpus: dict[str, str], tmp_path: Path) -> None:
    survive_kills(corpus, whole, tmp_path / "run", kills=1)


@pytest.mark.slow
def test_killed_at_random_moments_while_saving_all_the_time(corpus: dict[str, str], tmp_path: Path) -> None:
    changes = {"checkpoint": {"every": "1steps", "keep": 2}, "limit": "8epochs"}
    foretell.train(averaging(corpus, **changes), tmp_path / "whole", quiet=True)
    survive_kills(corpus, tmp_path / "whole", tmp_path / "run", kills=20, **changes)


def die_at(operations: range, corpus: dict[str, str], folder: Path) -> None:
    """A death before each of these operations on the disk, and a second one soon after going on."""
    recipe = averaging(corpus, limit="15steps", checkpoint={"every": "4steps", "keep": 1})
    foretell.train(recipe, folder / "whole", quiet=True)
    expected = outcome(folder / "whole")
    exits = set()
    for operation in operations:
        out = folder / f"{operation}"
        for attempt in (operation, operation // 2 + 1, 0):
            child = start(attempt, recipe, out)
            child.join()
            exits.add(child.exitcode)
        assert outcome(out) == expected, operation
        for kind in ("valid", "train"):
            assert losses(out, kind) == losses(folder / "whole", kind), operation
    assert exits == {9, 0}


def test_dead_before_some_operations_on_the_disk(corpus: dict[str, str], tmp_path: Path) -> None:
    die_at(range(9, 120, 60), corpus, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dead_before_every_operation_on_the_disk(corpus: dict[str, str], tmp_path: Path) -> None:
    die_at(range(1, 140), corpus, tmp_path)


# --- whatever keeps a state of its own ------------------------------------------------------------

KEEPING = {
    "adagrad": {"optimizer": {"kind": "adagrad", "initial": 0.1}},
    "adadelta": {"optimizer": "adadelta"},
    "rmsprop": {"optimizer": {"kind": "rmsprop", "momentum": 0.5, "centered": True}},
    "amsgrad": {"optimizer": {"kind": "adam", "amsgrad": True}},
    "amsgrad, decoupled": {"optimizer": {"kind": "adamw", "amsgrad": True}},
    "nesterov": {"optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True}},
    "asgd": {"averaging": {"kind": "asgd", "start": "5steps"}},
    "swa": {"averaging": {"kind": "swa", "start": "4steps", "every": "100tokens"}},
    "ema": {"averaging": {"kind": "ema", "decay": 0.9}},
    "wsd, over": {"schedule": {"kind": "wsd", "over": ["100steps", "0.2epochs"], "warmup": "3steps"}},
    "one-cycle": {"schedule": "one-cycle"},
    "longest": {"training.normalise": "longest", "data.batches": {"kind": "lines", "batch": 16, "length": 4}},
}


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("stop", [7])
def test_every_strategy_goes_on(
    corpus: dict[str, str], tmp_path: Path, signal_at: Callable[..., None], name: str, stop: int
) -> None:
    recipe = tables(corpus, evaluation__every="5steps", **KEEPING[name])
    foretell.train(recipe, tmp_path / "whole", quiet=True)
    signal_at(stop)
    with pytest.raises(foretell.Interrupted):
        foretell.train(recipe, tmp_path / "run", quiet=True)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert losses(tmp_path / "run", "train") == losses(tmp_path / "whole", "train")
