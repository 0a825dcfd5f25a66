"""What went wrong, in one line: where, what, and what to do about it, with the exit code that belongs to it."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Collection

import typer

from foretell.errors import ConfigError, printable

FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
INTERRUPTED = 130
LONGEST = 1000
"""letters of a message that a library wrote"""


def one_line(record: logging.LogRecord) -> bool:
    """A filter that spells out control characters in messages: names of files and texts in them come from others."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def explain(problem: BaseException, options: Collection[str] = ()) -> tuple[ConfigError, int]:
    """The error as one line with its parts, and the exit code; `options` are those of the verb that failed."""
    if isinstance(problem, ConfigError):
        return problem, 2
    if isinstance(problem, typer.Abort):
        problem = problem.__cause__ or problem.__context__ or KeyboardInterrupt()
    if isinstance(problem, KeyboardInterrupt):
        return ConfigError("interrupted"), INTERRUPTED
    name, text = type(problem).__name__, str(problem)[:LONGEST]
    if name == "Interrupted":
        return ConfigError(text), INTERRUPTED
    if hasattr(problem, "format_message"):  # the parser of the command line
        return usage(problem), 2
    if isinstance(problem, OSError) and problem.errno is not None:
        return of_system(problem, options), 1
    if name in ("Diverged", "OutOfMemory", "Failed"):
        return ConfigError(text), 1
    if isinstance(problem, MemoryError) or ran_out(problem):
        remedy = "take a smaller model, or do less at once, by the settings or options named for sizes and batches"
        return ConfigError("out of memory", remedy=remedy), 1
    if isinstance(problem, EOFError):
        return ConfigError("a file ends in the middle", remedy="fetch it anew; --debug shows where it was read"), 1
    return ConfigError(f"{name}: {text} (run again with --debug for the traceback)"), 1


def ran_out(problem: BaseException) -> bool:
    """Whether memory ran out, as torch says it."""
    if "torch" not in sys.modules:
        return False
    from foretell.training.out_of_memory import out_of_memory

    return out_of_memory(problem)


def usage(problem: BaseException) -> ConfigError:
    """What the parser of the command line says, in one line."""
    said = " ".join(str(problem.format_message()).split()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "foretell"
    return ConfigError(said[:1].lower() + said[1:], remedy=f"{path} --help lists what there is")


def of_system(problem: OSError, options: Collection[str]) -> ConfigError:
    """What the operating system refused, with a remedy that the verb has."""
    file = os.fsdecode(problem.filename) if isinstance(problem.filename, str | bytes | os.PathLike) else None
    if problem.errno in FULL:
        on = "go on with --resume" if "resume" in options else "run it again; nothing half-written is left"
        return ConfigError("the disk is full", file=file, remedy=f"free some space and {on}")
    if problem.errno in DENIED:
        unreadable = file is not None and os.path.exists(file) and not os.access(file, os.R_OK)
        elsewhere = "choose a place that you may write to, with --out" if "out" in options else ""
        remedy = "change its permissions" if unreadable or not elsewhere else elsewhere
        what = "may not be read" if unreadable else (problem.strerror or "permission denied").lower()
        return ConfigError(what, file=file, remedy=remedy)
    if problem.errno == errno.ENOMEM:
        return ConfigError("out of memory", file=file, remedy="close other programs, or do less at once")
    remedies = {errno.EMFILE: "raise the limit with ulimit -n", errno.ENAMETOOLONG: "give it a shorter name"}
    said = problem.strerror or str(problem)
    return ConfigError(said[:1].lower() + said[1:], file=file, remedy=remedies.get(problem.errno or 0))
