"""Accidents that are asked for in the environment of a fork.

FUZZ_DIE_AT=7          SIGKILL before the seventh operation that changes files
FUZZ_DIE_BYTES=4000    the system kills it in the middle of the write that makes a file longer than that
FUZZ_COUNT=file        how many operations that change files there were is written there
FUZZ_STOP_AT=6         SIGTERM in the sixth step of a training
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

CHANGING = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


DONE = {"operations": 0}


def arrange() -> None:
    """Let what the environment asks for come."""
    asked = os.environ.get
    if bound := asked("FUZZ_DIE_BYTES"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(bound), int(bound)))
    if asked("FUZZ_DIE_AT") or asked("FUZZ_COUNT"):
        count_operations(int(asked("FUZZ_DIE_AT", "0")))
    if step := asked("FUZZ_STOP_AT"):
        stop_at(int(step))
    if asked("FUZZ_WATCH"):
        watch(*os.environ["FUZZ_WATCH"].split(":"))


def tell() -> None:
    """Write how many operations there were, where that is asked for."""
    if file := os.environ.get("FUZZ_COUNT"):
        Path(file).write_text(str(DONE["operations"]))


def count_operations(fatal: int) -> None:
    """Count what changes files in this process; the fatal one is its last."""
    mother = os.getpid()

    def another() -> None:
        DONE["operations"] += os.getpid() == mother
        if DONE["operations"] == fatal and os.getpid() == mother:
            os.kill(mother, signal.SIGKILL)

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGING or (event == "open" and is_writing(*arguments)):
            another()

    def syncing(number: int) -> None:
        another()
        fsync(number)

    fsync, os.fsync = os.fsync, syncing
    sys.addaudithook(seen)


def watch(*watched: str) -> None:
    """Write down in the last of these files what is opened, listed, made or removed below the other paths, by whatever
    path."""
    *places, file = watched
    told = os.open(file, os.O_WRONLY | os.O_APPEND)

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if (
            event.startswith(("open", "os.", "shutil."))
            and arguments
            and isinstance(arguments[0], str | bytes | os.PathLike)
        ):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path.startswith(tuple(places)):
                os.write(told, f"{event} {path}\n".encode())

    sys.addaudithook(seen)


def is_writing(path: object, mode: object, flags: object) -> bool:
    """Whether a file is opened to be changed; not the terminal's, nor those of the harness."""
    if isinstance(path, int) or str(path).startswith(("/dev/", "/proc/")) or f"{os.sep}answers-" in str(path):
        return False
    return bool(int(str(flags)) & WRITING) if isinstance(flags, int) else "w" in str(mode)


def stop_at(step: int) -> None:
    """Let the signal to stop come in a step of the training."""
    from foretell.training.trainer import Trainer

    original = Trainer.step

    def stopped(self: Trainer, *rest: Any, **more: Any) -> Any:
        if self.position.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *rest, **more)

    Trainer.step = stopped  # type: ignore[method-assign]
