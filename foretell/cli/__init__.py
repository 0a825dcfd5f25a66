"""The command line: one function a verb.

Results go to stdout, everything else to stderr; with `--json` stdout is exactly one JSON object.
Errors are one line, with `--json` an object too: {"error": {"file", "line", "what", "remedy"}, "exit_code"}.
Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted after saving.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable

import typer

from foretell.cli import looking, measuring, training, using
from foretell.cli.problems import INTERRUPTED, explain, one_line
from foretell.cli.verb import Verb
from foretell.tools.printing import as_json

VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Train": {
        "demo": training.demo,
        "prepare": training.prepare,
        "train": training.train,
        "transfer": training.transfer,
        "find-lr": training.find_lr,
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
CALLED = {name: verb for verbs in VERBS.values() for name, verb in verbs.items()}
for panel, verbs in VERBS.items():
    for name, verb in verbs.items():
        app.command(name, cls=Verb, rich_help_panel=panel)(verb)


def run() -> None:
    """The `foretell` command: errors in one line, and the exit codes promised above."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    logging.getLogger("foretell").addFilter(one_line)
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # which the parser has caught already
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except BrokenPipeError:  # the reader of our output went away: `foretell generate ... | head`
        discard_output()
    except (Exception, KeyboardInterrupt) as problem:
        if "--debug" in sys.argv:
            traceback.print_exc()
        fail(problem)


def fail(problem: BaseException) -> None:
    """One line about what went wrong, and the exit code that belongs to it."""
    if type(problem).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{problem.format_message()}\n")  # type: ignore[attr-defined]
        sys.exit(2)
    verb = next((word for word in sys.argv[1:] if word in CALLED), "")
    error, code = explain(problem, options_of(CALLED[verb]) if verb else ())
    with contextlib.suppress(OSError):  # the terminal may have been closed
        sys.stderr.write(f"error: {error}\n" if code != INTERRUPTED else f"{error}\n")
    try:
        if "--json" in sys.argv:
            sys.stdout.write(as_json({"error": error.record(), "exit_code": code}) + "\n")
        sys.stdout.flush()
    except OSError:  # what is printed is not kept anywhere
        discard_output()
    sys.exit(code)


def options_of(verb: Callable[..., None]) -> list[str]:
    """The names of a verb's options and arguments."""
    return list(inspect.signature(verb).parameters)


def discard_output() -> None:
    """Nobody reads our output any more; do not fail again when what is left of it is flushed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
