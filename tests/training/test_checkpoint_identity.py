"""A checkpoint that is gone is noticed, and one of another run or under another name is never used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import losses, outcome, tables
from rich.console import Console

import foretell
from foretell.checksums import digest, read_checksums
from foretell.errors import ConfigError
from foretell.run import FORMAT, NUMBERS, REQUIRED, Run
from foretell.tools.look.doctor_run import examine_run
from foretell.tools.look.runs import list_runs, render
from foretell.tools.look.show import describe
from foretell.training import checkpoint

Corpus = dict[str, str]
SAVING = {"limit": "20steps", "evaluation.every": "5steps", "checkpoint.every": "5steps", "checkpoint.keep": 10}


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints of the steps 5, 10, 15 and 20, of which the last is the best; and another like it."""
    folder = tmp_path_factory.mktemp("identity")
    for name, seed in (("run", 1), ("other", 2)):
        foretell.train(tables(corpus, seed=seed, **SAVING), folder / name, quiet=True)
    assert Run(folder / "run").saved == {"last": 20, "best": 20}
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def step(run: Path, number: int) -> Path:
    return run / "checkpoints" / f"step-{number:08d}"


def resume(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said when a run goes on."""
    capsys.readouterr()
    foretell.train(foretell.load_recipe(run), run, resume=True)
    return " ".join(capsys.readouterr().err.split())


def errors(run: Path) -> dict[str, str]:
    return {found["about"]: found["text"] for found in examine_run(run)["findings"] if found["level"] == "error"}


# --- gone -----------------------------------------------------------------------------------------


def test_a_checkpoint_that_is_gone_is_named_by_all_who_want_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = outcome(run), losses(run)
    shutil.rmtree(step(run, 20))
    for which in ("best", "last"):
        with pytest.raises(ConfigError, match=rf"step-00000020: the {which} checkpoint is gone; .*from step 15 with"):
            foretell.load(run, which=which)
    with pytest.raises(ConfigError, match="checkpoint is gone"):
        describe(str(run))
    assert errors(run) == {"step-00000020": "the last and best checkpoint is gone"}
    result = examine_run(run)
    assert (result["best"], result["last"], result["best_validation"]) == ("step-00000020", "step-00000020", None)
    (found,) = list_runs(run.parent)
    assert (found["state"], found["loss"], found["bits_per_byte"]) == ("damaged", None, None)
    assert "step-00000020: the last checkpoint is gone" in found["problem"]
    console = Console(width=300)
    with console.capture() as shown:
        console.print(render({"folder": ".", "runs": [found]}))
    assert "step-00000020: the last checkpoint is gone" in " ".join(shown.get().split())
    said = resume(run, capsys)
    assert "step-00000020: the last and best checkpoint is gone" in said and "resuming after step 15" in said
    assert (outcome(run), losses(run)) == whole
    assert errors(run) == {} and list_runs(run.parent)[0]["problem"] == ""


def test_one_that_nothing_stands_on_may_go(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = foretell.load(run).evaluate("valid")["loss"]
    for number in (5, 15):
        shutil.rmtree(step(run, number))
    assert foretell.load(run).evaluate("valid")["loss"] == expected
    assert errors(run) == {}
    assert "gone" not in resume(run, capsys)


def test_a_best_one_that_is_gone_is_told_once_and_not_held_for_another(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, worse = tmp_path / "run", {"optimizer": {"kind": "sgd", "learning_rate": 30.0}}
    foretell.train(tables(corpus, **SAVING | worse), run, quiet=True)
    best = Run(run).saved["best"]
    assert best < Run(run).saved["last"] == 20
    foretell.load(run, which="last")
    shutil.rmtree(step(run, best))
    foretell.load(run, which="last")
    with pytest.raises(ConfigError, match=rf"step-{best:08d}: the best checkpoint is gone"):
        foretell.load(run)
    assert checkpoint.to_resume(Run.open(run))[1] == [f"{step(run, best)}: the best checkpoint is gone"]
    assert Run(run).saved.get("best", 0) < best
    assert checkpoint.to_resume(Run.open(run))[1] == []


def test_all_checkpoints_gone(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ConfigError, match=r"step-00000020: the best checkpoint is gone; restore it from a backup$"):
        foretell.load(run)


@pytest.mark.parametrize("stop", ["note_saved", "prune"])
def test_a_kill_between_a_checkpoint_and_its_note_is_no_alarm(
    corpus: Corpus, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class Killed(BaseException):
        pass

    run = tmp_path / "run"
    calls = 0

    def killed(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        original(*_)

    place: Any = Run if stop == "note_saved" else checkpoint
    original: Callable[..., None] = getattr(place, stop)
    with monkeypatch.context() as patch:
        patch.setattr(place, stop, killed)
        with pytest.raises(Killed):
            foretell.train(tables(corpus, **SAVING | {"seed": 1, "checkpoint.keep": 1}), run, quiet=True)
    assert step(run, 15).exists() and Run(run).saved["last"] == (10 if stop == "note_saved" else 15)
    assert foretell.load(run).facts["step"] == foretell.load(run, which="last").facts["step"] == 15
    assert errors(run) == {}
    said = resume(run, capsys)
    assert "gone" not in said and "resuming after step 15" in said
    assert outcome(run) == outcome(trained / "run")
    assert [path.name for path in run.glob("checkpoints/step-*")] == ["step-00000020"]


def test_what_is_set_aside_is_not_held_for_gone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = step(run, 20) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    found, told = checkpoint.to_resume(Run.open(run))
    assert found is not None and found.step == 15
    assert len(told) == 1 and "model.safetensors" in told[0] and "set aside" in told[0]
    assert Run(run).saved == {"last": 15, "best": 15}
    assert foretell.load(run).facts["step"] == 15  # as was said


# --- another's, or under another name -------------------------------------------------------------


def test_a_checkpoint_of_another_run_is_refused_by_name(
    trained: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = outcome(run)
    shutil.rmtree(step(run, 20))
    shutil.copytree(step(trained / "other", 20), step(run, 20))
    with pytest.raises(ConfigError, match=r"step-00000020: is a checkpoint of another run"):
        foretell.load(run)
    assert "another run" in errors(run)["step-00000020"]
    assert list_runs(run.parent)[0]["state"] == "damaged"
    said = resume(run, capsys)
    assert "is a checkpoint of another run" in said and "resuming after step 15" in said
    assert outcome(run) == whole
    assert [path.name for path in run.glob("checkpoints/damaged-*")] == ["damaged-step-00000020-1"]


@pytest.mark.parametrize("name", [90, 3])
def test_a_checkpoint_under_another_name_is_refused_and_intact_ones_stay(
    run: Path, name: int, capsys: pytest.CaptureFixture[str]
) -> None:
    step(run, 5).rename(step(run, name))
    before = {path: path.read_bytes() for path in run.rglob("step-000000[12]?/*")}
    assert "is the checkpoint of step 5 under another name" in errors(run)[step(run, name).name]
    if name == 90:
        with pytest.raises(ConfigError, match=r"step-00000090.*is the checkpoint of step 5 under another name"):
            foretell.load(run)
    said = resume(run, capsys)
    assert "already finished, at step 20" in said
    assert {path: path.read_bytes() for path in run.rglob("step-000000[12]?/*")} == before
    assert foretell.load(run).facts["step"] == 20


def test_a_copy_of_a_run_is_that_run_and_a_new_one_is_not(trained: Path, run: Path) -> None:
    ids = {Run(place).id for place in (run, trained / "run")}
    assert ids == {read_checksums(step(run, 5), FORMAT)["run"]} and len(ids.pop()) == 32
    assert Run(trained / "other").id != Run(run).id


@pytest.mark.parametrize(
    "facts", [{"id": None}, {"saved": None}, {"saved": {"best": "x"}}, {"resumed": 5}, {"corpus_fingerprint": [1]}]
)
def test_facts_of_another_type_are_refused_in_one_line(run: Path, facts: dict[str, Any]) -> None:
    opened = Run(run).read()
    opened.note(**facts)
    with pytest.raises(ConfigError, match=r"checksums\.json: '"):
        foretell.load(run)


@pytest.mark.parametrize("fits", [False, True])
def test_weights_that_claim_any_length_are_not_read(run: Path, monkeypatch: pytest.MonkeyPatch, fits: bool) -> None:
    saved = checkpoint.at_step(Run(run), 20)
    file = saved.path / "model.safetensors"
    size = 50 << 30
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    if fits:
        file.write_bytes(len(header).to_bytes(8, "little") + header)
    with file.open("r+b") as stream:
        stream.truncate(8 + len(header) + size)  # a hole, which takes no room
    Run(run).read().note(signature="0" * 64)  # as if somebody had sent it

    def refuse(path: Path) -> str:
        assert path.stat().st_size < 1 << 20, "it was read"
        return digest(path)

    monkeypatch.setattr("foretell.checksums.digest", refuse)
    with pytest.raises(ConfigError, match="is larger than a checkpoint of this model can be"):
        foretell.load(run)
    assert "model.safetensors: is mostly holes" in saved.problem()


# --- whose figure ---------------------------------------------------------------------------------


def test_a_figure_changed_in_the_records_ranks_nothing(run: Path) -> None:
    expected = foretell.load(run).validation()
    file = run / "metrics.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        record["loss"] = record["bits_per_byte"] = 0.001
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    (found,) = list_runs(run.parent)
    assert (found["loss"], found["bits_per_byte"]) == (expected["loss"], expected["bits_per_byte"])
    assert describe(str(run))["best"] == examine_run(run)["best_validation"] == expected


@pytest.mark.parametrize("kind", ["train", "valid", "fit"])
def test_records_with_figures_that_are_no_numbers_are_left_out(run: Path, kind: str) -> None:
    before = list(Run(run).metrics())
    whole = {"kind": kind, "step": 30, "stage": "training", "epoch": 9.0, "tokens": 1, "seconds": 1.0, "loss": 1.0}
    odd = [
        whole | {key: value} for key in (*NUMBERS, "step", "metric") for value in ("low", [1], {}, True, 10**400)
        if (key, value) != ("metric", "low")
    ]  # fmt: skip
    odd += [whole | {"stage": value} for value in (None, 3, [1])]
    odd += [{k: v for k, v in whole.items() if k != key} for key in REQUIRED.get(kind, ())]
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in odd)
    assert list(Run(run).metrics()) == before
    describe(str(run))
    examine_run(run)
    list_runs(run.parent)
    foretell.load(run).summary()


@pytest.mark.parametrize("orders", [5, [3], [{"order": 1}], [{"order": "x", "ngrams": None}]])
def test_orders_that_are_none_are_not_shown(run: Path, orders: Any) -> None:
    Run(run).append({"kind": "fit", "step": 0, "stage": "counting", "tokens": 1, "seconds": 1.0, "orders": orders})
    assert "orders" not in describe(str(run))
