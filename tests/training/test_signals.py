"""Which signals end a training politely."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import losses, outcome, tables

import foretell
from foretell.training.signals import ending_signals
from foretell.training.trainer import Trainer


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Whatever started the tests may ignore SIGHUP, as nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_saves(corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foretell.train(tables(corpus), tmp_path / "whole", quiet=True)
    original = Trainer.step

    def patched(self: Trainer, *args: object) -> None:
        if self.position.step == 5:
            for _ in range(2):  # from the system, and from whoever started us
                os.kill(os.getpid(), signal.SIGHUP)
        original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", patched)
        with pytest.raises(foretell.Interrupted):
            foretell.train(tables(corpus), tmp_path / "run", quiet=True)
    foretell.train(tables(corpus), tmp_path / "run", resume=True, quiet=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert losses(tmp_path / "run", "train") == losses(tmp_path / "whole", "train")


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals(lambda number, frame: pytest.fail("heard")):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_gone_does_not_keep_from_saving(corpus: dict[str, str], tmp_path: Path) -> None:
    """Standard error is a pipe that nobody reads any more."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(foretell.load_recipe(tables(corpus, limit="2000steps", evaluation__every="5steps")).text())
    out = tmp_path / "run"
    command = [sys.executable, "-m", "foretell", "train", str(recipe), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"validation" not in process.stderr.readline():
            pass
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=120) == 130
    assert not foretell.load(out, which="last").checkpoint.position().finished
