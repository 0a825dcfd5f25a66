"""Trackers repeat what metrics.jsonl says, also over an interruption."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import tables
from outside_tracker import Listing

import foretell
from foretell import plugins
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.training.trackers import Tracked, numbers, open_trackers
from foretell.training.trainer import Trainer

Corpus = dict[str, str]
RECORD = {"kind": "train", "stage": "one", "step": 3, "loss": 1.5, "tokens": 120, "lossy": False, "none": None}


def test_numbers_of_a_record() -> None:
    assert numbers(RECORD) == {"train/loss": 1.5, "train/tokens": 120.0}


def expected(run: Path) -> dict[str, dict[int, float]]:
    """What metrics.jsonl holds, by figure and step."""
    found: dict[str, dict[int, float]] = {}
    for record in Run(run).metrics():
        for name, value in numbers(record).items():
            found.setdefault(name, {})[record["step"]] = value
    return found


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training is stopped after its fifth step."""
    original, done = Trainer.after_step, []

    def patched(self: Trainer, *given: Any) -> None:
        original(self, *given)
        if self.position.step == 5 and not done:
            done.append(True)
            raise ConnectionError  # it dies: the last checkpoint is two steps old

    monkeypatch.setattr(Trainer, "after_step", patched)


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_tensorboard(corpus: Corpus, tmp_path: Path, interrupted: None) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = tables(corpus, training__log_to=["tensorboard"], checkpoint__every="3steps", evaluation__every="4steps")
    with pytest.raises(ConnectionError):
        foretell.train(recipe, tmp_path / "run", quiet=True)
    foretell.train(recipe, tmp_path / "run", resume=True, quiet=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    found = {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}
    wanted = expected(tmp_path / "run")
    assert found.keys() == wanted.keys()
    assert {"train/loss", "train/learning_rate", "valid/bits_per_byte"} <= found.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-6)
        assert len(events.Scalars(name)) == len(values)  # steps 4 and 5 were made twice, and count once


@pytest.mark.parametrize(("setting", "mode"), [(None, "offline"), ("online", "online")])
def test_weights_and_biases(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None, mode: str
) -> None:
    """Against a stand-in for its module: nothing is sent anywhere unless that is asked for."""
    logged: dict[str, dict[int, float]] = {}
    begun: list[dict[str, Any]] = []

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            logged.setdefault(name, {})[step] = value

    def init(**given: Any) -> SimpleNamespace:
        begun.append(given)
        return SimpleNamespace(log=log, finish=lambda: begun.append({"finished": True}))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if setting:
        monkeypatch.setenv("WANDB_MODE", setting)
    foretell.train(tables(corpus, training__log_to=["wandb"]), tmp_path / "run", quiet=True)
    assert begun[0]["config"]["training.log_to"] == "['wandb']" and begun[0]["config"]["limit"]
    assert begun[0]["mode"] == mode and begun[0]["dir"] == str(tmp_path / "run")
    assert begun[1:] == [{"finished": True}]
    assert logged == expected(tmp_path / "run")


@pytest.mark.parametrize(("setting", "place"), [("", "sqlite:///{folder}/mlflow.db"), ("http://there", "http://there")])
def test_mlflow(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, place: str) -> None:
    """Against a stand-in for its client, with the limits that its server has."""
    logged: dict[str, dict[int, float]] = {}
    calls: list[Any] = []

    class Client:
        def __init__(self, uri: str):
            calls.append(uri)

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            return f"id of {name}"

        def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
            calls.append((experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="7"))

        def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
            assert run == "7" and len(metrics) <= 1000 and len(params) <= 100
            for metric in metrics:
                logged.setdefault(metric[0], {})[metric[3]] = metric[1]
            settings.extend(params)

        def set_terminated(self, run: str) -> None:
            calls.append(run)

    settings: list[tuple[str, str]] = []
    as_tuple = lambda *given: given  # noqa: E731
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Metric=as_tuple, Param=as_tuple))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", setting)
    foretell.train(tables(corpus, training__log_to=["mlflow"]), tmp_path / "run", quiet=True)
    assert calls == [place.format(folder=(tmp_path / "run").resolve()), ("id of foretell", "run"), "7"]
    assert logged == expected(tmp_path / "run")
    params = dict(settings)
    assert params["training.log_to"] == "['mlflow']" and len(params) == len(settings)


def test_a_tracker_of_an_installed_package(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "listing": EntryPoint("listing", "outside_tracker:Listing", plugins.TRACKERS),
        "broken": EntryPoint("broken", "no_such_package:Tracker", plugins.TRACKERS),
        "other": EntryPoint("other", "pathlib:Path", plugins.TRACKERS),
    }
    monkeypatch.setattr(plugins, "installed", lambda group: points if group == plugins.TRACKERS else {})
    foretell.train(tables(corpus, training__log_to=["listing"]), tmp_path / "run", quiet=True)
    (tracker,) = Listing.opened
    found: dict[str, dict[int, float]] = {}
    for (step, name), value in tracker.written.items():
        found.setdefault(name, {})[step] = value
    assert found == expected(tmp_path / "run") and tracker.closed
    assert tracker.tracked.folder == tmp_path / "run" and tracker.tracked.step == 0
    for name, fault in (("broken", "cannot load 'broken' from no_such_package"), ("other", "pathlib:Path is not a")):
        with pytest.raises(ConfigError, match=f"training.log_to: {fault}"):
            open_trackers([name], Tracked(tmp_path, 0, {}))


def test_an_unknown_tracker_is_found_before_a_run_folder_exists(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        foretell.train(tables(corpus, training__log_to=["tensorbord"]), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "module"), [("mlflow", "mlflow"), ("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")]
)
def test_a_missing_package_is_named(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"training.log_to: {name} is not installed; .*foretell\[{name}\]"):
        foretell.train(tables(corpus, training__log_to=[name]), tmp_path / "run", quiet=True)


def test_none_by_default(corpus: Corpus, tmp_path: Path) -> None:
    foretell.train(tables(corpus, limit="2steps"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "tensorboard").exists()
