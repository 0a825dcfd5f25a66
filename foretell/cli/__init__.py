"""The command line: one function per command.

Results go to stdout, everything else to stderr; with `--json` stdout holds exactly one JSON object. An error is one
line, with `--json` also an object: {"error": {"file", "line", "what", "remedy"}, "exit_code"}. Exit codes: 0 success,
1 failure, 2 wrong usage or input, 130 interrupted after saving.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from foretell import __version__
from foretell.cli import look, measure, train, use
from foretell.cli.problems import INTERRUPTED, explain, one_line
from foretell.cli.verb import Verb
from foretell.tools.printing import as_json

VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Train": {
        "demo": train.demo,
        "prepare": train.prepare,
        "train": train.train,
        "transfer": train.transfer,
        "mix": train.mix,
        "find-lr": train.find_lr,
    },
    "Measure": {
        "evaluate": measure.evaluate,
        "score": measure.score,
        "probe": measure.probe,
        "compare": measure.compare,
        "race": measure.race,
        "bench": measure.bench,
    },
    "Use": {
        "generate": use.generate,
        "next": use.following,
        "compress": use.compress,
        "decompress": use.decompress,
        "features": use.features,
        "predict": use.predict,
        "export": use.export,
        "push": use.push,
        "import": use.import_,
    },
    "Look": {
        "plan": look.plan,
        "runs": look.runs,
        "show": look.show,
        "plot": look.plot,
        "trace": look.trace,
        "doctor": look.doctor,
    },
}

BY_NAME = {name: verb for verbs in VERBS.values() for name, verb in verbs.items()}


def show_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        typer.echo(f"foretell {__version__}")
        raise typer.Exit


def options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train language models on your own text, compare them fairly, transfer them to your task."""


def make_app(panels: Mapping[str, Mapping[str, Callable[..., None]]]) -> typer.Typer:
    """An application with some of the commands."""
    made = typer.Typer(
        name="foretell",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(options_of_all)
    for panel, verbs in panels.items():
        for name, verb in verbs.items():
            made.command(name, cls=Verb, rich_help_panel=panel)(verb)
    return made


app = make_app(VERBS)


def app_for(words: Sequence[str]) -> typer.Typer:
    """The application as far as a command line needs it: parsing the signatures of all commands takes 0.1 s."""
    if "_FORETELL_COMPLETE" in os.environ:  # the words before the cursor, whose names depend on the shell
        words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    first = next((word for word in words if not word.startswith("-")), "")
    if first in BY_NAME:
        return make_app({"": {first: BY_NAME[first]}})
    return make_app(
        {panel: {name: without_options(verb) for name, verb in verbs.items()} for panel, verbs in VERBS.items()}
    )


def without_options(verb: Callable[..., None]) -> Callable[[], None]:
    """A command with the help text of another: enough to list it, or to suggest its name."""

    def listed() -> None: ...

    listed.__doc__ = verb.__doc__
    return listed


def run() -> None:
    """The `foretell` command, with errors in one line and the exit codes above."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold invalid UTF-8
    logging.getLogger("foretell").addFilter(one_line)
    try:
        code = app_for(sys.argv[1:])(standalone_mode=False)
        if code == INTERRUPTED:  # caught by typer
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except BrokenPipeError:  # the reader closed the pipe: `foretell generate ... | head`
        discard_output()
    except (Exception, KeyboardInterrupt) as problem:
        if "--debug" in sys.argv:
            traceback.print_exc()
        fail(problem)


def fail(problem: BaseException) -> None:
    """Print an error in one line and exit with its code."""
    if type(problem).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{problem.format_message()}\n")  # type: ignore[attr-defined]
        sys.exit(2)
    verb = next((word for word in sys.argv[1:] if word in BY_NAME), "")
    error, code = explain(problem, options_of(BY_NAME[verb]) if verb else ())
    with contextlib.suppress(OSError):  # the terminal may be closed
        sys.stderr.write(f"error: {error}\n" if code != INTERRUPTED else f"{error}\n")
    try:
        if "--json" in sys.argv:
            sys.stdout.write(as_json({"error": error.record(), "exit_code": code}) + "\n")
        sys.stdout.flush()
    except OSError:  # stdout is closed or full
        discard_output()
    sys.exit(code)


def options_of(verb: Callable[..., None]) -> list[str]:
    """Names of the options and arguments of a command."""
    return list(inspect.signature(verb).parameters)


def discard_output() -> None:
    """Redirect stdout to the null device, so that flushing the rest does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
