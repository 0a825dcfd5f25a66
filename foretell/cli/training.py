"""The verbs that train. What a verb needs is imported when it is called, so that help comes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretell.cli.options import Debug, Device, Json, Overrides, RunArgument, Trust
from foretell.tools.printing import emit, measured, properties


def demo(
    out: Annotated[Path, typer.Option(help="Where the race is left; an earlier one there is replaced.")] = Path(
        "runs/demo"
    ),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Race a 5-gram and a small AWD-LSTM on Python's own manual, anew each time: under three minutes on two cores."""
    from foretell.tools.train.demo import run_demo

    emit(run_demo(out, quiet=as_json), as_json, lambda result: result["table"])


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A built-in name, hf:OWNER/NAME, a path, a folder or a glob of .txt, .jsonl (also packed) or .parquet."
        ),
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
    from foretell.tools.train.prepare import prepare_store

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
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave rows out that are no examples, and count them.")
    ] = False,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe; stop it with Ctrl-C and go on later with --resume."""
    from foretell.api.train import run_recipe
    from foretell.recipe.loading import load_recipe

    settings = load_recipe(recipe, [*(overrides or []), *(["data.skip_bad=true"] if skip_bad else [])])
    named = Path(recipe) if resume and (Path(recipe) / "recipe.toml").is_file() else Path("runs") / settings.name
    folder = out or named
    if settings.trials():
        from foretell.tools.train.trials import run_trials, table

        emit(run_trials(settings, folder, resume=resume, device=device), as_json, table)
        return
    trained = run_recipe(settings, folder, resume, quiet=False, device=device)
    emit(trained.summary(), as_json, lambda result: measured(result, f"{folder}, validation split"))


def transfer(
    run: RunArgument,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SET]... [KEY=VALUE]...", help="Labelled sets, default all there are; settings."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train each so often, from different random beginnings.")] = 3,
    out: Annotated[Path | None, typer.Option(help="The folder for all runs; default runs/RUN-transfer.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on where it was stopped, and try again what failed.")] = False,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fine-tune a run on every labelled set found below $FORETELL_DATA, and print one table.

    A Transformer is fine-tuned as BERT is, a recurrent model as ULMFiT, thawed layer by layer; settings such as
    limit=1epochs or trainable=lora hold for all sets; with either, nothing is thawed by stages.
    """
    from foretell.tools.train.transfer import table
    from foretell.tools.train.transfer import transfer as fine_tune

    sets = [item for item in settings or [] if "=" not in item]
    overrides = [item for item in settings or [] if "=" in item]
    folder = out or Path("runs") / f"{run.name}-transfer"
    result = fine_tune(run, sets, overrides, seeds=seeds, out=folder, resume=resume, quiet=as_json, device=device)
    emit(result, as_json, table)


def find_lr(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a TOML file.")],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=2, help="How many steps to try.")] = 200,
    low: Annotated[float, typer.Option(min=1e-30, max=1e30, help="The first rate.")] = 1e-6,
    high: Annotated[float, typer.Option(min=1e-30, max=1e30, help="The last rate.")] = 100.0,
    png: Annotated[Path | None, typer.Option(help="Draw the loss over the rate into this file.")] = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Propose a learning rate, from some steps with a rate that rises from tiny to huge; no run is written."""
    from foretell.recipe.loading import load_recipe
    from foretell.tools.train import lr_finder as tool

    settings = load_recipe(recipe, overrides or [])
    result = tool.find_lr(settings, steps=steps, low=low, high=high, png=png, device=device, quiet=as_json)
    emit(result, as_json, tool.table)
