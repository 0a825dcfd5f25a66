"""A command that finds the disk full says so, loses nothing, and ends well when there is room again."""

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from endurance.works import WORKS, Undisturbed, add_seeds, again, fresh, is_finished, temporary, variables, works_there
from fuzz.running import Runner

PAGE = 4096


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system whose size can be changed; the test is skipped where none can be mounted."""
    place = temporary("disk-")
    if shutil.which("mount") is None or run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)):
        place.rmdir()
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        run("umount", "-l", str(place))
        place.rmdir()


def run(*words: str) -> int:
    return subprocess.run(words, capture_output=True).returncode


def resize(place: Path, size: int) -> None:
    assert run("mount", "-o", f"remount,size={size}", str(place)) == 0


def used(place: Path) -> int:
    return shutil.disk_usage(place).used


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", works_there(slow=True))
def test_full_disks(runner: Runner, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    work, draw = WORKS[name], random.Random(name)
    stranded, full = [], 0
    add_seeds(runner)
    with small_disk() as place:
        whole = Undisturbed(runner, work, place)
        with fresh(work, runner.seeds, place) as folder:
            before = used(place)
            runner.run_in(folder, work.case, seconds=120, more=variables(folder))
            needed = used(place) - before
        for number in range(6):
            with fresh(work, runner.seeds, place) as folder:
                room = draw.randint(0, needed * (number + 1) // 6) // PAGE * PAGE
                resize(place, used(place) + room)
                [met] = runner.run_in(folder, work.case, seconds=120, more=variables(folder))
                resize(place, 64 << 20)
                full += not met.accepted
                problem = None if met.accepted else advice(met.stderr, met.code, folder, work.command)
                if problem is None:
                    answer = again(runner, work, folder)
                    problem = None if answer.accepted or is_finished(answer) else answer.stderr[-300:]
                    problem = problem or whole.difference(folder)
            if problem:
                stranded.append(f"{room} of {needed} bytes: {problem}")
    with capsys.disabled():
        print(f"\n{name}: 6 disks, {full} of them full, {len(stranded)} stranded")
    assert stranded == []
    assert full >= 3


def advice(said: str, code: int | None, folder: Path, command: tuple[str, ...]) -> str | None:
    """What is wrong with what is said of a full disk; None where it is in one line (behind that of a child process),
    names a place and tells what can be done there."""
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    if code != 1 or not lines or "full" not in lines[-1] or "--debug" in lines[-1]:
        return f"exit code {code}: {said[-300:]}"
    if "--resume" in lines[-1] and command[0] not in ("train", "race", "transfer"):
        return f"{command[0]} has no --resume: {lines[-1]}"
    if not re.search(r"[\w./-]*(out|new|store|run|cache|here)[\w./-]*", lines[-1]):
        return f"no file is named: {lines[-1]}"
    return None
