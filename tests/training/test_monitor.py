"""What is said of long work: now and then, how much is done, and how long the rest will take."""

import itertools
import re
from pathlib import Path

import pytest
from builders import tables
from labelled import task_tables, write_labelled

import foretell
from foretell.tasks import predictor
from foretell.training import monitor
from foretell.training.monitor import counting, reporting


@pytest.fixture(name="clock")
def fixture_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    return now


def test_how_much_is_done_and_how_long_the_rest_takes(clock: list[float]) -> None:
    said: list[str] = []
    watch = reporting(said.append, "runs/one")
    for clock[0], fraction in ((105.0, 0.1), (120.0, 0.25), (125.0, 0.3), (140.0, 0.5)):
        watch(fraction)
    assert said == ["runs/one: 25%, 1:00 left", "runs/one: 50%, 0:40 left"]


def test_how_many_where_nobody_knows_of_how_many(clock: list[float]) -> None:
    said: list[str] = []
    told = counting(said.append, "texts")
    for clock[0], number in ((105.0, 10), (120.0, 5_000), (125.0, 6_000), (140.0, 8_000)):
        told(number)
    assert said == ["5,000 texts, 250 a second", "8,000 texts, 200 a second"]


@pytest.mark.parametrize("learns", ["text", "classification"])
def test_a_run_says_how_far_a_long_pass_is(
    learns: str,
    corpus: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = learns != "text"
    recipe = task_tables(learns, "recurrent", write_labelled(learns, tmp_path)) if task else tables(corpus)
    path = foretell.train(recipe, tmp_path / "run", quiet=True, limit="1steps").run.path
    split = "valid" if task else str(tmp_path / "long.txt")
    (tmp_path / "long.txt").write_text(Path(corpus["train"]).read_text() * 20)
    capsys.readouterr()
    monkeypatch.setattr(predictor, "TOKENS_AT_ONCE", 20)
    monkeypatch.setattr(monitor.time, "monotonic", itertools.count(0, 11).__next__)
    foretell.load(path, quiet=True).evaluate(split)
    assert capsys.readouterr().err == ""
    foretell.load(path).evaluate(split)
    said = capsys.readouterr().err.splitlines()
    shares = [int(found[1]) for line in said if (found := re.fullmatch(rf"{path}: (\d+)%, \d+:\d\d left", line))]
    assert len(shares) == len(said) > 1
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 100
