"""Defaults of the commands that train."""

from pathlib import Path
from typing import Any

import pytest


class Stop(Exception):
    """Ends a command once its arguments are known."""


def test_a_run_continues_in_its_own_folder(
    run: Path, said: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders: list[Path] = []

    def stop(recipe: Any, out: Path, *_: Any, **__: Any) -> None:
        folders.append(out)
        raise Stop

    monkeypatch.setattr("foretell.api.train.run_recipe", stop)
    said("train", run, "--resume")
    said("train", run)
    said("train", "char-lstm")
    said("train", "char-lstm", "--out", tmp_path)
    assert folders[0] == run and folders[2:] == [Path("runs/char-lstm"), tmp_path]


def test_arguments_of_transfer_are_data_sets_and_settings(
    run: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def stop(*arguments: Any, **options: Any) -> None:
        calls.append((*arguments[1:], options["out"]))
        raise Stop

    monkeypatch.setattr("foretell.tools.train.transfer.transfer", stop)
    said("transfer", run, "sst2", "limit=1epochs", "trec")
    assert calls == [(["sst2", "trec"], ["limit=1epochs"], Path("runs") / f"{run.name}-transfer")]
