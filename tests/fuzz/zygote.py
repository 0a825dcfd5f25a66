"""A process that has foretell loaded, and forks for each case: its child calls the command line's own entry.

    python -P zygote.py [FILE]...      whose branches are to be traced

Each line on stdin is a job (`Runner.run_in` says what is in it), each line on stdout its answers. A fork is fresh
whatever was done before it, can be stopped, and has a memory of its own to be measured.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import dying

PACKAGE = os.sep + "foretell" + os.sep
TICK = os.sysconf("SC_CLK_TCK")
Record = dict[str, Any]


def main() -> None:
    """Serve until stdin ends."""
    traced = sys.argv[1:]
    tracer = tracing(traced)
    from foretell.process import prepare_process

    prepare_process()
    import torch

    import foretell.cli

    load_all()
    torch.set_num_threads(1)
    arcs = traced_by(tracer)
    foretell.cli.explain = noting(foretell.cli.explain)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    jobs = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    print(json.dumps({"arcs": arcs}), file=replies, flush=True)
    for line in jobs:
        print(json.dumps(serve(json.loads(line), traced)), file=replies, flush=True)


def load_all() -> None:
    """Import what commands import when they need it, so that no fork has to."""
    import foretell

    for module in pkgutil.walk_packages(foretell.__path__, "foretell."):
        if module.name.rpartition(".")[2] not in ("__main__", "child"):
            importlib.import_module(module.name)
    for name in (
        "sklearn.metrics",
        "sklearn.linear_model",
        "scipy.stats",
        "pyarrow.parquet",
        "pyarrow.compute",
        "matplotlib.backends.backend_agg",
        "matplotlib.pyplot",
        "zstandard",
        "typer.rich_utils",
        "rich.progress",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def serve(job: Record, traced: list[str]) -> Record:
    """The answers to a job."""
    with tempfile.TemporaryDirectory(prefix="answers-") as folder:
        answers = Path(folder)
        child = os.fork()
        if not child:
            try:
                call_all(job, answers, traced)
            except BaseException:
                traceback.print_exc()
                os._exit(70)  # the harness is at fault
            os._exit(0)
        status = watch(child, job["seconds"], answers, job["kill_after"])
        return gather(job, answers, status)


def watch(child: int, seconds: float, answers: Path, kill_after: float | None) -> int | None:
    """Wait for a child, which begins each command by writing its number; its status, None if it had to be stopped.

    It and all that it started are killed after so many seconds, where that is asked for.
    """
    begin, number, spent = time.monotonic(), -1, 0.0
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            kill_group(child)
            return status
        started = len(list(answers.glob("*.begun")))
        if started != number:
            number, begin, spent = started, time.monotonic(), processor_seconds(child)
        waited = time.monotonic() - begin
        if kill_after is not None and waited > kill_after:
            kill_group(child)
        if waited > 3 * seconds or processor_seconds(child) - spent > seconds:
            (answers / f"{number - 1}.seconds").write_text(str(waited))
            os.kill(child, signal.SIGUSR1)  # writes where it is
            time.sleep(0.3)
            kill_group(child)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002 if waited < 0.3 else 0.02)


def kill_group(child: int) -> None:
    """A child and all that it started."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except OSError:
            continue


def processor_seconds(process: int) -> float:
    """What a process has computed."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def gather(job: Record, answers: Path, status: int | None) -> Record:
    """What the child left behind, as far as it came."""
    found: list[Record] = []
    for number in range(len(job["commands"])):
        if not (answers / f"{number}.begun").exists():
            break
        told = answers / f"{number}.json"
        record = json.loads(told.read_text()) if told.exists() else {}
        texts = {name: read(answers / f"{number}.{name}") for name in ("stdout", "stderr")}
        if not record:
            record = {"code": None if status is None else os.waitstatus_to_exitcode(status)}
            if status is None:
                record["seconds"] = float(read(answers / f"{number}.seconds") or 0)
                record["place"] = innermost(read(answers / f"{number}.hung"))
        found.append(record | texts)
    traced = answers / "arcs.json"
    return {"answers": found, "arcs": json.loads(traced.read_text()) if traced.exists() else {}}


def read(file: Path) -> str:
    """The first megabytes of a file as text."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        return stream.read(4 << 20).decode(errors="replace")


def innermost(dump: str) -> str:
    """The innermost place in the package of a stack as faulthandler writes it."""
    for line in dump.splitlines():
        if PACKAGE in line and line.strip().startswith("File "):
            file, _, rest = line.strip().removeprefix('File "').partition('", line ')
            return f"{file.rpartition(PACKAGE)[2]} {rest.partition(' in ')[2]}"
    return ""


# --- in the child ---------------------------------------------------------------------------------


def call_all(job: Record, answers: Path, traced: list[str]) -> None:
    """Call each command, and leave an answer to each."""
    os.setsid()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    if job["memory"]:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + job["memory"],) * 2)
    dying.arrange()
    tracer = tracing(traced)
    for number, command in enumerate(job["commands"]):
        (answers / f"{number}.begun").touch()
        with (answers / f"{number}.hung").open("wb") as stack:
            faulthandler.register(signal.SIGUSR1, file=stack, all_threads=False)
            record = call(command, job["stdin"], answers / str(number))
        (answers / f"{number}.json").write_text(json.dumps(record))
    dying.tell()
    if traced:
        (answers / "arcs.json").write_text(json.dumps(traced_by(tracer)))


def call(command: list[str], stdin: str, answer: Path) -> Record:
    """One command line, through the entry of the `foretell` command."""
    import foretell.cli

    NOTED.clear()
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode("latin-1"))
        given.seek(0)
        os.dup2(given.fileno(), 0)
    for number in (1, 2):
        file = os.open(f"{answer}.{('stdout', 'stderr')[number - 1]}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["foretell", *(os.fsdecode(word.encode("latin-1")) for word in command)]
    begin, spent, code = time.monotonic(), sum(os.times()[:4]), 0
    try:
        foretell.cli.run()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    seconds = time.monotonic() - begin
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    processor = sum(os.times()[:4]) - spent
    place = NOTED[-1] if NOTED else ""
    return {"code": code, "seconds": seconds, "processor": processor, "peak": peak_memory(), "place": place}


NOTED: list[str] = []


def noting(explain: Any) -> Any:
    """`explain`, which notes what it explains."""

    def noted(problem: BaseException, *rest: Any, **more: Any) -> Any:
        if not type(problem).__module__.startswith("foretell"):
            frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if PACKAGE in frame.filename]
            place = f"{frames[-1].filename.rpartition(PACKAGE)[2]} {frames[-1].name}" if frames else ""
            NOTED.append(f"{type(problem).__name__} at {place}")
        return explain(problem, *rest, **more)

    return noted


def peak_memory() -> int:
    """Most memory that this process or one of its children has held, in bytes."""
    status = Path("/proc/self/status").read_text()
    mine = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * max(mine, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def tracing(files: list[str]) -> Any:
    """A tracer of branches in these files, started; None for no files."""
    if not files:
        return None
    import coverage

    tracer = coverage.Coverage(data_file=None, branch=True, include=files, config_file=False)
    tracer.start()
    return tracer


def traced_by(tracer: Any) -> dict[str, list[tuple[int, int]]]:
    """Which branches were taken, by file."""
    if tracer is None:
        return {}
    tracer.stop()
    data = tracer.get_data()
    return {file: sorted(data.arcs(file) or []) for file in data.measured_files()}


if __name__ == "__main__":
    main()
