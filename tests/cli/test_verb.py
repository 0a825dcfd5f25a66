"""Checks of arguments that all commands share."""

import json
from pathlib import Path
from typing import Any

import pytest

from foretell.cli.verb import home, option


def test_home_is_spelled_as_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text('base = "char-lstm"\nseed = 7\n')
    assert "seed = 7" in json.loads(said("show", "~/a.toml", "--vocabulary", "9", "--json")[1])["toml"]
    assert json.loads(said("runs", "~", "--json")[1])["folder"] == str(tmp_path)
    outs: list[Path] = []
    monkeypatch.setattr(
        "foretell.tools.train.prepare.prepare_store", lambda corpus, out, *_, **__: outs.append(out) or {}
    )
    said("prepare", "a.toml", "--out", "~/store")
    assert outs == [tmp_path / "store"]


def test_a_home_folder_that_does_not_exist_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home("~no-such-user-here/x") == "~no-such-user-here/x"


def test_options_are_named_with_dashes() -> None:
    assert option("skip_bad") == "--skip-bad"
