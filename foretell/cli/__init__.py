"""The command line: one function a verb.

Results go to stdout, everything else to stderr; with `--json` stdout is exactly one JSON object.
Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted after saving.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable

import typer

from foretell.cli import looking, measuring, training, using
from foretell.errors import ConfigError

VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Train": {
        "demo": training.demo,
        "prepare": training.prepare,
        "train": training.train,
        "transfer": training.transfer,
        "find-rate": training.find_rate,
    },
    "Measure": {
        "evaluate": measuring.evaluate,
        "score": measuring.score,
        "probe": measuring.probe,
        "compare": measuring.compare,
        "race": measuring.race,
        "bench": measuring.bench,
    },
    "Use": {
        "generate": using.generate,
        "next": using.following,
        "features": using.features,
        "predict": using.predict,
        "export": using.export,
        "import": using.import_,
    },
    "Look": {
        "runs": looking.runs,
        "show": looking.show,
        "plot": looking.plot,
        "doctor": looking.doctor,
    },
}

app = typer.Typer(
    name="foretell",
    help="Train language models on your own text, compare them fairly, carry them over to your task.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, verbs in VERBS.items():
    for name, verb in verbs.items():
        app.command(name, rich_help_panel=panel)(verb)


def run() -> None:
    """The `foretell` command: errors in one line, and the exit codes promised above."""
    debug = "--debug" in sys.argv
    try:
        app()
    except BrokenPipeError:  # the reader of our output went away: `foretell generate ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as problem:
        if debug:
            traceback.print_exc()
        fail(problem)


def fail(problem: BaseException) -> None:
    """One line about what went wrong, and the exit code that belongs to it."""
    text, code = explain(problem)
    sys.stderr.write(f"error: {text}\n" if code != 130 else f"{text}\n")
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": text, "exit_code": code}) + "\n")
    sys.exit(code)


def explain(problem: BaseException) -> tuple[str, int]:
    """What to say, and the exit code."""
    if isinstance(problem, ConfigError):
        return str(problem), 2
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted", 130
    if type(problem).__name__ == "Interrupted":
        return str(problem), 130
    if isinstance(problem, OSError) and problem.errno == 28:
        return (
            f"the disk is full ({problem.filename or 'no file named'}); nothing finished was lost: "
            "free some space and go on with --resume",
            1,
        )
    if type(problem).__name__ in ("Diverged", "OutOfMemory"):
        return str(problem), 1
    if isinstance(problem, OSError):
        return f"{problem.strerror}: {problem.filename}" if problem.filename else str(problem), 1
    return f"{type(problem).__name__}: {problem} (run again with --debug for the traceback)", 1
