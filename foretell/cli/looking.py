"""The verbs that look at what there is. What a verb needs is imported when it is called, so that help comes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from foretell.cli.options import Debug, Json, Overrides, Trust
from foretell.errors import ConfigError, printable
from foretell.tools.printing import emit, properties

Axis = Literal["steps", "epochs", "tokens", "seconds"]
Measure = Literal["loss", "bits_per_byte", "perplexity", "metric"]


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the runs are.")] = Path("runs"),
    filters: Annotated[
        list[str] | None, typer.Option("--filter", metavar="CONDITION", help="'bits_per_byte<2'; all have to hold.")
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="COLUMN", help="bits_per_byte, -when (latest first), ...")] = None,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="NAME", help="Delete this run; can be repeated.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The runs below a folder: what they are, how good, how large, and whether they are finished."""
    from foretell.tools.look import runs as tool

    if not delete:
        found = tool.list_runs(folder, filters=filters or [], sort=sort)
        emit({"folder": str(folder), "runs": found}, as_json, tool.render)
        return
    paths = tool.deletable(folder, delete)
    names = ", ".join(map(str, paths))
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigError(f"{names}: add --yes to delete without being asked")
        typer.confirm(printable(f"Delete {names}?"), abort=True, err=True)
    tool.delete(paths)
    emit({"deleted": [str(path) for path in paths]}, as_json, properties)


def show(
    what: Annotated[
        str,
        typer.Argument(
            help="A recipe, a run, a kind (lstm, bpe, cosine), a section (model, head), recipes, or schema."
        ),
    ] = "recipes",
    overrides: Overrides = None,
    vocabulary: Annotated[
        int | None, typer.Option(min=2, max=2**24, help="Count parameters for this many tokens.")
    ] = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The resolved recipe with parameters, memory and FLOPs; a run; or a kind with its settings."""
    from foretell.tools.look.show import describe, render

    emit(describe(what, overrides or [], vocabulary), as_json or what == "schema", render)


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, drawn into one picture.")],
    out: Annotated[Path | None, typer.Option(help="The PNG; default: plot.png in the first run.")] = None,
    x: Annotated[Axis, typer.Option(help="What to draw over.")] = "steps",
    y: Annotated[
        Measure, typer.Option(help="What to draw of training and validation; metric: that of a task.")
    ] = "loss",
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw runs: training and validation, learning rate, gradient norms and how they are spread."""
    from foretell.tools.look.plot import plot_runs

    emit(plot_runs(runs, out, x, y), as_json, properties)


def doctor(
    what: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="A corpus or a run to look at; nothing: this installation.")
    ] = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What is wrong with this installation, a corpus or a run, and what to do about it."""
    from foretell.tools.look import doctor as tool

    if what is None:
        result = tool.examine_machine()
    elif (Path(what) / "recipe.toml").exists():
        result = tool.examine_run(Path(what))
    else:
        result = tool.examine_corpus(what)
    emit(result, as_json, tool.render)
    if any(finding["level"] == "error" for finding in result["findings"]):
        raise typer.Exit(1)
