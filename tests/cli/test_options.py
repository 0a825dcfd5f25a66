"""Models opened with a mixture or an adaptation."""

import sys
from pathlib import Path

import pytest
import typer

from foretell.cli.options import Quiet, adaptation_of, open_model
from foretell.errors import ConfigError
from foretell.training.monitor import Monitor


def test_a_setting_of_an_adaptation_enables_it() -> None:
    assert adaptation_of(False, False, None) == {}
    assert adaptation_of(True, True, None) == {"dynamic": {}, "cache": {}}
    assert adaptation_of(False, True, ["dynamic.segment=20"]) == {"dynamic": {"segment": 20}, "cache": {}}


def test_weights_need_a_mixture(run: Path) -> None:
    with pytest.raises(ConfigError, match="--mix-weights needs --mix"):
        open_model(run, None, "0.5,0.5", "best", "cpu")
    assert open_model(run, [run], "0.5,0.5", "best", "cpu").parameters > 0


def test_quiet_holds_for_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    def work(quiet: Quiet = False) -> None:
        Monitor().say("working")
        sys.stdout.write("result\n")

    for arguments, progress in ((["--quiet"], ""), ([], "working\n")):
        app(arguments, standalone_mode=False)
        assert capsys.readouterr() == ("result\n", progress)
