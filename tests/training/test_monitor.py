"""Long work says how much is done and how long the rest takes: as a bar on a terminal, else now and then."""

import contextlib
import itertools
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from builders import tables
from labelled import task_tables, write_labelled

import foretell
from foretell.tasks import predictor
from foretell.training import monitor
from foretell.training.monitor import Activity, Monitor


@pytest.fixture(name="clock")
def fixture_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    return now


def test_how_much_is_done_and_how_long_the_rest_takes(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Monitor().activity("one") as activity:
        for clock[0], fraction in ((105.0, 0.1), (120.0, 0.25), (125.0, 0.3), (140.0, 0.5)):
            activity(fraction, ["loss 3.2"])
    assert capsys.readouterr().err.splitlines() == ["one: 25%, 1:00 left, loss 3.2", "one: 50%, 0:40 left, loss 3.2"]


def test_how_many_where_nobody_knows_of_how_many(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Monitor().activity("features") as activity:
        for clock[0], number in ((105.0, 10), (120.0, 5_000), (125.0, 6_000), (140.0, 8_000)):
            activity.count(number)
    said = capsys.readouterr().err.splitlines()
    assert said == ["features: 0:20, 5,000 texts, 250 texts/s", "features: 0:40, 8,000 texts, 200 texts/s"]


def test_bytes_a_second_are_those_of_the_part(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Monitor().activity("preparing") as activity:
        for clock[0], part, size, tokens in (
            (100.0, "tokenizer", 0, 0),
            (120.0, "tokenizer", 40_000_000, 0),
            (121.0, "train", 0, 0),
            (141.0, "train", 100_000_000, 25_000_000),
        ):
            activity.prepared(part, size, tokens)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "preparing: 0:20, tokenizer, 40 MB, 2 MB/s"
    assert second == "preparing: 0:41, train, 100 MB, 5 MB/s, 25 M tokens"


def test_the_time_left_is_that_of_the_part_whose_size_is_known(clock: list[float]) -> None:
    activity = Activity(Monitor(quiet=True), "preparing")
    activity.prepared("tokenizer", 0, 0, 40_000_000)
    clock[0] = 110.0
    activity.prepared("tokenizer", 20_000_000, 0, 40_000_000)
    assert activity.line(80) == "50%  0:10 left  tokenizer  20 MB  2 MB/s"
    clock[0] = 120.0
    activity.prepared("tokenizer", 40_000_000, 0, None)  # learns from what it has read
    assert activity.line(80) == "0:20  tokenizer  40 MB  2 MB/s"
    activity.prepared("train", 30_000_000, 0, 40_000_000)  # continued
    clock[0] = 125.0
    activity.prepared("train", 35_000_000, 9_000_000, 40_000_000)
    assert activity.line(80) == "88%  0:05 left  train  35 MB  1 MB/s  9 M tokens"


def test_after_a_resume_only_what_is_done_since_counts_for_the_pace(clock: list[float]) -> None:
    activity = Activity(Monitor(quiet=True), "one", done=0.5)
    clock[0] = 110.0
    activity(0.6)
    assert activity.left() == pytest.approx(40.0)
    clock[0] = 113.0  # a long step: time goes on
    assert activity.left() == pytest.approx(37.0)


def test_with_a_time_limit_the_share_follows_the_clock(clock: list[float]) -> None:
    activity = Activity(Monitor(quiet=True), "one", done=0.25, limit=40.0)
    clock[0] = 110.0
    assert activity.line(80) == "50%  0:20 left"
    clock[0] = 150.0
    assert activity.line(80) == "100%  0:00 left"


def test_a_narrow_terminal_drops_the_last_facts(clock: list[float]) -> None:
    activity = Activity(Monitor(quiet=True), "one")
    clock[0] = 110.0
    activity(0.5, ["2.100 bits/byte", "900 tokens/s", "step 12"])
    assert activity.line(80) == "50%  0:10 left  2.100 bits/byte  900 tokens/s  step 12"
    assert activity.line(45) == "50%  0:10 left  2.100 bits/byte  900 tokens/s"
    assert activity.line(44) == "50%  0:10 left  2.100 bits/byte"
    assert activity.line(1) == "50%  0:10 left"


LIVE = """
import sys, time
from foretell.training.monitor import Monitor
monitor = Monitor(quiet="quiet" in sys.argv)
with monitor.activity("training", 0.2) as outer:
    outer(0.3, ["2.100 bits/byte", "1,234 tokens/s", "step 7"])
    monitor.say("a line above the bars that is broken between words where it is too long")
    with monitor.activity("validation") as inner:
        inner(0.5)
        time.sleep(1.2)  # no call: a thread draws
    if "fail" in sys.argv:
        raise KeyboardInterrupt
"""


def on_terminal(*arguments: str) -> str:
    """All that LIVE writes to a terminal of 60 columns."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (15, 60))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-c", LIVE, *arguments], stderr=slave, stdout=subprocess.DEVNULL, env=env | {"TERM": "xterm"}
    )
    os.close(slave)
    written = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while part := os.read(master, 4096):
            written += part
    child.wait()
    os.close(master)
    return written.decode()


@pytest.mark.parametrize("arguments", [(), ("fail",)])
def test_a_bar_moves_by_itself_and_leaves_a_clean_terminal(arguments: tuple[str, ...]) -> None:
    written = on_terminal(*arguments)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", written)]
    training = [line for line in lines if line.startswith("training")]
    assert len(training) >= 3 and all(len(line) <= 60 for line in lines if "Error" not in line)
    assert re.search("training +━.* 30%  0:0\\d left  2.100 bits/byte", training[-1])
    assert any(re.match("validation +━.* 50%", line) for line in lines)
    said = [line.rstrip() for line in lines]
    assert said[said.index("a line above the bars that is broken between words where it") + 1] == "is too long"
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is shown again
    assert written.rindex("\x1b[2K") > written.rindex("training ")  # and the bars are erased


def test_quiet_writes_nothing() -> None:
    assert on_terminal("quiet") == ""


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_log_file_has_lines_only(variable: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIVE], capture_output=True, env=os.environ | {variable: "1"})
    assert done.stderr == b"a line above the bars that is broken between words where it is too long\n"


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
    shares = [int(found[1]) for line in said if (found := re.search(rf"^evaluating {path.name}: (\d+)%, ", line))]
    assert len(shares) == len([line for line in said if not line.startswith("preparing: ")]) > 1
    assert shares == sorted(shares) and shares[0] < shares[-1] < 100
