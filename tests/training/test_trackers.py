"""Trackers repeat what metrics.jsonl says, also over an interruption."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import tables

import foretell
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.training.trackers import numbers
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
    assert begun[0]["mode"] == mode and begun[0]["dir"] == str(tmp_path / "run")
    assert begun[1:] == [{"finished": True}]
    assert logged == expected(tmp_path / "run")


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_named(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"training.log_to: {name} is not installed; .*foretell\[{name}\]"):
        foretell.train(tables(corpus, training__log_to=[name]), tmp_path / "run", quiet=True)


def test_none_by_default(corpus: Corpus, tmp_path: Path) -> None:
    foretell.train(tables(corpus, limit="2steps"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "tensorboard").exists()
