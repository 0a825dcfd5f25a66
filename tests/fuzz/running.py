"""Runs cases: in forks of one process that has foretell loaded, or each command as a process of its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz.cases import SECONDS, Answer, Case, Content, Fifo, Link, Sparse

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 4 << 30
"""bytes that a command may ask for: what would take more has to end in advice"""
Arcs = dict[str, set[tuple[int, int]]]


class Runner:
    """Runs cases on copies of seeds; `traced` are files whose branches are noted in `arcs`."""

    def __init__(self, seeds: Path, traced: tuple[str, ...] = ()):
        self.seeds, self.traced = seeds, traced
        self.arcs: Arcs = defaultdict(set)
        self.place = Path(tempfile.mkdtemp(prefix="foretell-fuzz-"))
        self.process = self.started()

    def started(self) -> subprocess.Popen[str]:
        """A process that has foretell loaded."""
        words = [sys.executable, "-P", str(Path(__file__).with_name("zygote.py")), *self.traced]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(words, env=environment(self.place, self.seeds), text=True, **pipes)
        self.reply(process)
        return process

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def run(self, case: Case, **limits: Any) -> list[Answer]:
        """The answers to a case."""
        with self.laid_out(case) as folder:
            return self.run_in(folder, case, **limits)

    def run_in(
        self,
        folder: Path,
        case: Case,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY,
        more: Mapping[str, str] | None = None,
        kill_after: float | None = None,
    ) -> list[Answer]:
        """The answers to a case whose files are there; `more`: variables of its environment (see `dying`)."""
        assert self.process.stdin is not None
        job = {
            "folder": str(folder),
            "commands": [[as_latin(word) for word in command] for command in case.commands],
            "environment": {"FORETELL_CACHE": str(folder / "cache"), "COLUMNS": "120", **(more or {})},
            "stdin": case.stdin.decode("latin-1"),
            "memory": memory,
            "seconds": seconds,
            "kill_after": kill_after,
        }
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return [Answer(**answer) for answer in self.reply(self.process)["answers"]]

    def reply(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """One line of the process."""
        assert process.stdout is not None
        found: dict[str, Any] = json.loads(process.stdout.readline())
        for file, arcs in found["arcs"].items():
            self.arcs[file].update(map(tuple, arcs))
        return found

    def run_as_processes(self, case: Case, *, seconds: float = SECONDS) -> list[Answer]:
        """The same, each command as a process that a shell would start."""
        with self.laid_out(case) as folder:
            variables = environment(folder, self.seeds) | {"FORETELL_CACHE": str(folder / "cache"), "COLUMNS": "120"}
            return [as_process(command, folder, variables, case.stdin, seconds) for command in case.commands]

    @contextmanager
    def laid_out(self, case: Case) -> Iterator[Path]:
        """A folder with the files of a case."""
        with tempfile.TemporaryDirectory(dir=self.place, ignore_cleanup_errors=True) as name:
            folder = Path(name) / "here"
            lay_out(case, self.seeds, folder)
            yield folder


def lay_out(case: Case, seeds: Path, folder: Path) -> None:
    """Make a folder with the files of a case."""
    if case.base:
        shutil.copytree(seeds / case.base, folder, symlinks=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in case.gone:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in case.files.items():
        write(folder / name, content)


def write(path: Path, content: Content) -> None:
    """A file of a case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if isinstance(content, Link):
        path.symlink_to(content.target)
    elif isinstance(content, Fifo):
        os.mkfifo(path)
    else:
        assert isinstance(content, Sparse)
        path.write_bytes(content.begin)
        os.truncate(path, content.bytes)


def as_latin(word: str) -> str:
    """A word of a command line as a string of its bytes."""
    return word.encode(errors="surrogateescape").decode("latin-1")


def environment(place: Path, seeds: Path) -> dict[str, str]:
    """What a process is told: this checkout, one thread, no network, nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORETELL", "PYTHON"))}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(seeds / "state" / "matplotlib"),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "FORETELL_STATE": str(seeds / "state"),
        "FORETELL_CACHE": str(place / "cache"),
        "TMPDIR": str(place),
    }


def as_process(
    command: tuple[str, ...], folder: Path, variables: dict[str, str], stdin: bytes, seconds: float
) -> Answer:
    """One command line as a process; the limit is by the clock of the processor."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))

    words = [sys.executable, "-P", "-m", "foretell", *command]
    begin = time.monotonic()
    process = subprocess.Popen(
        [os.fsencode(word) for word in words],
        cwd=folder,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limited,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=3 * seconds)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        code = None
    if code == -signal.SIGXCPU:
        code = None
    return Answer(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"), time.monotonic() - begin)
