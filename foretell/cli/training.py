"""The verbs that train. What a verb needs is imported when it is called, so that help comes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretell.cli.options import Debug, Device, Json, Overrides
from foretell.tools.printing import emit, measured, properties


def demo(
    out: Annotated[Path, typer.Option(help="Where the race is left; an earlier one there is replaced.")] = Path(
        "runs/demo"
    ),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Race a 5-gram and a small AWD-LSTM on Python's own manual, anew each time: under three minutes on two cores."""
    from foretell.tools.demo import run_demo

    emit(run_demo(out, quiet=as_json), as_json, lambda result: result["table"])


def prepare(
    corpus: Annotated[
        str, typer.Argument(help="A built-in name, a path, a folder or a glob of .txt or .jsonl (also .gz, .xz, .zst).")
    ],
    out: Annotated[
        Path, typer.Option(help="The store to write; a call that was stopped goes on, a finished one is reused.")
    ],
    tokenizer: Annotated[
        str,
        typer.Option(
            help='A kind ("bpe", "word", ...), a table (\'{kind = "bpe", size = 8000}\') or a tokenizer.json.'
        ),
    ] = "bpe",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn text into a packed, memory-mapped token store, in constant memory and on all cores."""
    from foretell.tools.prepare import prepare_store

    emit(prepare_store(corpus, out, tokenizer, quiet=as_json), as_json, properties)


def train(
    recipe: Annotated[
        str, typer.Argument(help="A shipped recipe (see `foretell show recipes`), a TOML file, or a run.")
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; default runs/RECIPE, or the run itself with --resume.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on exactly where the run was stopped.")] = False,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe; stop it with Ctrl-C and go on later with --resume."""
    from foretell.api import run_recipe
    from foretell.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    named = Path(recipe) if resume and (Path(recipe) / "recipe.toml").is_file() else Path("runs") / settings.name
    folder = out or named
    trained = run_recipe(settings, folder, resume, quiet=False, device=device)
    emit(trained.summary(), as_json, lambda result: measured(result, f"{folder}, validation split"))


def find_rate(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a TOML file.")],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=2, help="How many steps to try.")] = 200,
    low: Annotated[float, typer.Option(help="The first rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The last rate.")] = 100.0,
    png: Annotated[Path | None, typer.Option(help="Draw the loss over the rate into this file.")] = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Propose a learning rate, from some steps with a rate that rises from tiny to huge; no run is written."""
    from foretell.recipe import load_recipe
    from foretell.tools import find_rate as tool

    settings = load_recipe(recipe, overrides or [])
    result = tool.find_rate(settings, steps=steps, low=low, high=high, png=png, device=device, quiet=as_json)
    emit(result, as_json, tool.table)
