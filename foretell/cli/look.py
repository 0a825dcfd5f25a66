"""Commands that inspect runs, recipes and the machine. Imports are deferred so that help is fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from foretell.cli import completion
from foretell.cli.checks import (
    Check,
    check_examined,
    check_file,
    check_labelled,
    check_run_or_race,
    check_shown,
    ends_in,
    seconds_of,
)
from foretell.cli.options import Debug, Json, Overrides, Quiet, RunArgument, Trust
from foretell.errors import ConfigError, printable
from foretell.tools.printing import emit, properties

DataSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings of labelled data, as in data.reader.label=stars."),
]
Axis = Literal["steps", "epochs", "tokens", "seconds"]
Measure = Literal["loss", "bits_per_byte", "perplexity", "metric"]


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of the runs.")] = Path("runs"),
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="CONDITION", help="Condition such as 'bits_per_byte<2'; repeatable, all must hold."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column to sort by, as in bits_per_byte or -when (latest first)."),
    ] = None,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="NAME", help="Delete this run; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without confirmation.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the runs below a folder with model, score, size and state."""
    from foretell.tools.look import runs as tool

    if not delete:
        listed = tool.list_runs(folder, filters=filters or [], sort=sort)
        emit({"folder": str(folder), "runs": listed}, as_json, tool.render)
        return
    paths = tool.deletable(folder, delete)
    names = ", ".join(map(str, paths))
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigError(f"{names}: add --yes to delete without confirmation")
        typer.confirm(printable(f"Delete {names}?"), abort=True, err=True)
    tool.delete(paths)
    emit({"deleted": [str(path) for path in paths]}, as_json, properties)


def show(
    what: Annotated[
        str,
        typer.Argument(
            help="Recipe, run, kind (lstm, bpe, cosine), section (model, head), recipes, or schema.",
            autocompletion=completion.words_to_show,
        ),
        Check(check_shown),
    ] = "recipes",
    overrides: Overrides = None,
    vocabulary: Annotated[
        int | None, typer.Option(min=2, max=2**24, help="Vocabulary size to count parameters for.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="For recipes: mark those that take longer here, as in 10m."),
        Check(seconds_of),
    ] = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a resolved recipe with parameters, memory and FLOPs, a run, or a kind with its settings."""
    if what == "recipes" and not overrides:
        from foretell.tools.look.recipes import list_recipes, render_recipes  # at once: without torch

        emit(list_recipes(None if time is None else seconds_of(time)), as_json, render_recipes)
        return
    if time is not None:
        raise ConfigError("--for is for the list of recipes: foretell show recipes --for 10m")
    from foretell.tools.look.show import describe, render

    emit(describe(what, overrides or [], vocabulary), as_json or what == "schema", render)


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders to draw into one plot, or races.", autocompletion=completion.runs
        ),
        Check(check_run_or_race),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="PNG to write; default: plot.png in the first run."),
        ends_in("--out", ".png"),
    ] = None,
    x: Annotated[Axis, typer.Option(help="Horizontal axis.")] = "steps",
    y: Annotated[
        Measure | None,
        typer.Option(
            help="Vertical axis; metric: the metric of a task. Default: bits_per_byte if all runs have it, or loss."
        ),
    ] = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Plot training and validation, learning rate, and gradient norms of runs; of races, bits per byte by budget."""
    from foretell.tools.look.plot import plot_runs
    from foretell.tools.look.plot_races import is_race, plot_races

    races = [run for run in runs if is_race(run)]
    if races and (len(races) < len(runs) or x != "steps" or y is not None):
        raise ConfigError("a race is plotted with other races alone, and without --x and --y")
    emit(plot_races(races, out) if races else plot_runs(runs, out, x, y), as_json, properties)


def plan(
    what: Annotated[
        str, typer.Argument(metavar="TEXT_OR_TABLE", help="Text, or labelled data, to train on."), Check(check_labelled)
    ],
    settings: DataSettings = None,
    budget: Annotated[str, typer.Option(help="Time for training, as in 10m or 2h."), Check(seconds_of)] = "10m",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Propose recipes for a text or labelled data in a given time, with what to expect and the commands.

    Looks at the text and measures the speed of this machine, which takes some seconds. Every figure was measured, here
    or in docs/results.md. Settings say what is in a table, as in plan reviews.csv data.reader.label=stars.
    """
    from foretell.tools.look import plan as tool

    emit(tool.plan(what, seconds_of(budget), settings=settings or []), as_json, tool.render)


def trace(
    run: RunArgument,
    text: Annotated[
        Path, typer.Argument(metavar="[TEXT]", help="Text file; - or none: stdin."), Check(check_file)
    ] = Path("-"),
    top: Annotated[int, typer.Option(min=1, help="Number of passages in the table, the longest.")] = 20,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show where predictions come from: the longest text before each token that occurs in the training text.

    With --json for every token; the table has the longest passages. Positions, lengths and offsets are in tokens. Works
    for every run whose training text is there; its index is kept in the cache.
    """
    from foretell.tools.look import trace as tool

    emit(tool.trace(run, text, quiet=quiet or as_json), as_json, lambda result: tool.render(result, top))


def doctor(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHAT]",
            help="Corpus, labelled file, recipe or run to examine; default: this installation.",
            autocompletion=completion.recipes_and_runs,
        ),
        Check(check_examined),
    ] = None,
    overrides: Overrides = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find problems of this installation, a corpus, labelled data or a run, and suggest remedies.

    Labelled data are a named set, a table (.csv, .tsv, .jsonl), a CoNLL file, or the data of a recipe for a task, as in
    doctor classify init=RUN data.corpus=FILE.
    """
    from foretell.tools.look import doctor as tool

    result = tool.examine_machine() if what is None else tool.examine(what, overrides or [])
    emit(result, as_json, tool.render)
    if any(finding["level"] == "error" for finding in result["findings"]):
        raise typer.Exit(1)
