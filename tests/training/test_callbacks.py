"""Callbacks see a training and do not change it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import tables
from safetensors.torch import load_file

import foretell
from foretell.optim.progress import Progress
from foretell.run import Run

Corpus = dict[str, str]


class Meddling(foretell.Callback):
    """Notes its calls, draws random numbers and alters what it is given."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self.records: list[dict[str, Any]] = []
        self.validations: list[float] = []
        self.saved: list[Path] = []

    def on_step(self, progress: Progress) -> None:
        self.steps.append(progress)
        torch.manual_seed(1), torch.rand(3), np.random.rand(), random.random()

    def on_record(self, record: Any) -> None:
        self.records.append(dict(record))
        record.clear()
        torch.rand(3)

    def on_validation(self, record: Any) -> None:
        self.validations.append(record["loss"])
        record["loss"] = 0.0

    def on_save(self, folder: Path) -> None:
        self.saved.append(folder)


SETTINGS: dict[str, Any] = {
    "model__dropout": {"output": 0.5},
    "limit": "6steps",
    "evaluation__every": "2steps",
    "training__log_every": "2steps",
}


def records(run: Path) -> list[dict[str, Any]]:
    timed = ("seconds", "tokens_per_second", "validation_seconds")
    return [{k: v for k, v in r.items() if k not in timed} for r in Run(run).metrics() if r["kind"] != "callbacks"]


def test_weights_and_figures_are_the_same_with_and_without(corpus: Corpus, tmp_path: Path) -> None:
    recipe = tables(corpus, **SETTINGS)
    plain = foretell.train(recipe, tmp_path / "plain", quiet=True)
    watching = Meddling()
    watched = foretell.train(recipe, tmp_path / "watched", quiet=True, callbacks=[watching])
    assert records(tmp_path / "watched") == records(tmp_path / "plain")
    assert plain.weights.keys() == watched.weights.keys()
    assert all(torch.equal(plain.weights[name], watched.weights[name]) for name in plain.weights)
    assert [progress.step for progress in watching.steps] == [1, 2, 3, 4, 5, 6]
    assert watching.steps[-1].fraction == 1
    kept = [r for r in Run(tmp_path / "watched").metrics() if r["kind"] in ("train", "valid")]
    assert watching.records == kept
    assert watching.validations == [r["loss"] for r in kept if r["kind"] == "valid"]
    assert watching.saved and load_file(watching.saved[-1] / "model.safetensors")


def test_a_run_says_who_watched(corpus: Corpus, tmp_path: Path) -> None:
    foretell.train(tables(corpus, **SETTINGS), tmp_path / "run", quiet=True, callbacks=[Meddling()])
    (record,) = (record for record in Run(tmp_path / "run").metrics() if record["kind"] == "callbacks")
    assert record["names"] == [f"{Meddling.__module__}:Meddling"]


def test_an_exception_ends_training_and_resume_continues(corpus: Corpus, tmp_path: Path) -> None:
    class Stop(foretell.Callback):
        def on_step(self, progress: Progress) -> None:
            if progress.step == 5:
                raise ConnectionError

    recipe = tables(corpus, **SETTINGS)
    with pytest.raises(ConnectionError):
        foretell.train(recipe, tmp_path / "run", quiet=True, callbacks=[Stop()])
    again = foretell.train(recipe, tmp_path / "run", quiet=True, resume=True)
    whole = foretell.train(recipe, tmp_path / "whole", quiet=True)
    assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)
