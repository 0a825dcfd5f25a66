"""Errors in one line: where, what, and a remedy, with the exit code."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Collection

import typer

from foretell.errors import ConfigError, did_you_mean, printable

FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
INTERRUPTED = 130
LONGEST = 1000
"""characters of a library's message to show"""


def one_line(record: logging.LogRecord) -> bool:
    """A logging filter that spells out control characters in messages, which may quote untrusted names and texts."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def explain(problem: BaseException, options: Collection[str] = ()) -> tuple[ConfigError, int]:
    """The error with its parts, and the exit code. `options`: options of the command that failed."""
    if isinstance(problem, ConfigError):
        return problem, 2
    if isinstance(problem, typer.Abort):
        problem = problem.__cause__ or problem.__context__ or KeyboardInterrupt()
    if isinstance(problem, KeyboardInterrupt):
        return ConfigError("interrupted"), INTERRUPTED
    name, text = type(problem).__name__, str(problem)[:LONGEST]
    if name == "Interrupted":
        return ConfigError(text), INTERRUPTED
    if hasattr(problem, "format_message"):  # from the command-line parser
        return usage_error(problem), 2
    if isinstance(problem, OSError) and problem.errno is not None:
        return system_error(problem, options), 1
    if name in ("Diverged", "OutOfMemory", "Failed"):
        return ConfigError(text), 1
    if isinstance(problem, MemoryError) or ran_out(problem):
        remedy = "use a smaller model or smaller batches"
        return ConfigError("out of memory", remedy=remedy), 1
    if isinstance(problem, EOFError):
        return ConfigError("a file is truncated", remedy="download it again; --debug shows where it was read"), 1
    return ConfigError(f"{name}: {text} (run again with --debug for the traceback)"), 1


def ran_out(problem: BaseException) -> bool:
    """Whether torch reports that memory ran out."""
    if "torch" not in sys.modules:
        return False
    from foretell.training.out_of_memory import out_of_memory

    return out_of_memory(problem)


def usage_error(problem: BaseException) -> ConfigError:
    """An error of the command-line parser in one line."""
    message = " ".join(str(problem.format_message()).split()).rstrip(".")  # type: ignore[attr-defined]
    message = message.replace("Value error, ", "")
    if choice := re.search(r"'([^']*)' is not one of (.*)", message):
        message += did_you_mean(choice[1], re.findall("'([^']*)'", choice[2]))
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "foretell"
    return ConfigError(message[:1].lower() + message[1:], remedy=f"see {path} --help")


def system_error(problem: OSError, options: Collection[str]) -> ConfigError:
    """An error of the operating system, with a remedy that the command offers."""
    file = os.fsdecode(problem.filename) if isinstance(problem.filename, str | bytes | os.PathLike) else None
    if problem.errno in FULL:
        partial = next((part for part in (file or "").split(os.sep) if part.endswith(".partial")), None)
        left = "no partial output is left" if partial is None else f"it continues from {partial}"
        retry = "continue with --resume" if "resume" in options else f"run it again; {left}"
        return ConfigError("the disk is full", file=file, remedy=f"free some space and {retry}")
    if problem.errno in DENIED:
        unreadable = file is not None and os.path.exists(file) and not os.access(file, os.R_OK)
        elsewhere = "choose a writable --out" if "out" in options else ""
        remedy = "change its permissions" if unreadable or not elsewhere else elsewhere
        what = "is not readable" if unreadable else (problem.strerror or "permission denied").lower()
        return ConfigError(what, file=file, remedy=remedy)
    if problem.errno == errno.ENOMEM:
        return ConfigError("out of memory", file=file, remedy="close other programs, or use smaller batches")
    remedies = {errno.EMFILE: "raise the limit with ulimit -n", errno.ENAMETOOLONG: "use a shorter name"}
    message = problem.strerror or str(problem)
    return ConfigError(message[:1].lower() + message[1:], file=file, remedy=remedies.get(problem.errno or 0))
