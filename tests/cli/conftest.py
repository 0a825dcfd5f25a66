"""A small run, and the command line as a program."""

import sys
from pathlib import Path
from typing import Any

import pytest
from builders import tables

import foretell
from foretell import cli


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run."""
    out = tmp_path_factory.mktemp("cli") / "run"
    foretell.train(tables(corpus), out, quiet=True)
    return out


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls the command line as the `foretell` command does: its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foretell", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.run()
        out, err = capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int)
        return code, out, err

    return call
