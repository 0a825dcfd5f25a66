"""Commands that train. Each imports what it needs when called, so that help is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretell.cli import completion
from foretell.cli.checks import Check, check_corpus, check_run, check_set, new
from foretell.cli.options import (
    Debug,
    Device,
    Json,
    Overrides,
    Quiet,
    RunArgument,
    Trust,
    Which,
    learned_by,
    open_model,
)
from foretell.errors import ConfigError
from foretell.tools.parsing import weights_of
from foretell.tools.printing import emit, measured, properties


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the race; an earlier race in it is replaced.")] = Path(
        "runs/demo"
    ),
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Race a 5-gram model and a small AWD-LSTM on the Python manual: under three minutes on two cores."""
    from foretell.tools.train.demo import run_demo

    emit(run_demo(out, quiet=as_json), as_json, lambda result: result["table"])


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Built-in name, hf:OWNER/NAME, or path, folder or glob of .txt, .jsonl (also compressed) or .parquet."
        ),
        Check(check_corpus),
    ],
    out: Annotated[
        Path, typer.Option(help="Store to write; an interrupted store is continued, a finished one reused.")
    ],
    tokenizer: Annotated[
        str,
        typer.Option(help='Kind ("bpe", "word", ...), table (\'{kind = "bpe", size = 8000}\') or tokenizer.json.'),
    ] = "bpe",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Tokenise text into a memory-mapped store, in constant memory and on all cores."""
    from foretell.tools.train.prepare import prepare_store

    emit(prepare_store(corpus, out, tokenizer, quiet=as_json), as_json, properties)


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Shipped recipe (see `foretell show recipes`), TOML file, or run.",
            autocompletion=completion.recipes_and_runs,
        ),
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/RECIPE, or the run itself with --resume.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue exactly where the run stopped.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip and count rows that are not valid examples.")
    ] = False,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a recipe; Ctrl-C stops it, --resume continues it."""
    from foretell.api.train import run_recipe
    from foretell.recipe.loading import load_recipe
    from foretell.tools.baselines import beside

    settings = load_recipe(recipe, [*(overrides or []), *(["data.skip_bad=true"] if skip_bad else [])])
    default = Path(recipe) if resume and (Path(recipe) / "recipe.toml").is_file() else Path("runs") / settings.name
    folder = out or default
    if settings.trials():
        from foretell.tools.train.trials import render, run_trials

        emit(run_trials(settings, folder, resume=resume, device=device), as_json, render)
        return
    trained = run_recipe(settings, folder, resume, quiet=False, device=device)
    emit(
        {**trained.summary(), **beside(trained, "valid")},
        as_json,
        lambda result: measured(result, f"{folder}, validation split"),
    )


def mix(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Run folders, two or more.", autocompletion=completion.runs),
        Check(check_run),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write."), new("--out")],
    weights: Annotated[
        str | None,
        typer.Option(help="Weights in the order of the runs, as in 0.7,0.3; default: fitted on the valid split."),
        Check(weights_of),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Learn the weights token by token, by exponentiated gradient.")
    ] = False,
    gated: Annotated[
        bool, typer.Option("--gated", help="Learn a small network that gives the weights, token by token.")
    ] = False,
    logistic: Annotated[
        bool,
        typer.Option(
            "--log",
            help="Mix log-odds bit by bit: a context-mixing run weighs what the other runs predict, and learns.",
        ),
    ] = False,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Combine runs into one model, as a run folder of its own: probabilities are weighted and summed."""
    from foretell.api.mixed import Mixed
    from foretell.api.mixture_run import save
    from foretell.tools.measure import analysis

    if len(runs) < 2:
        raise ConfigError("a mixture needs two runs or more; name another run")
    model = open_model(runs[0], runs[1:], weights, which, device, online=learned_by(online, gated, logistic))
    assert isinstance(model, Mixed)
    saved = save(model, out)
    emit(saved | {"run": str(out)}, as_json, lambda result: analysis.render(result, f"{out}, {result['split']}"))


def transfer(
    run: RunArgument,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SET]... [KEY=VALUE]...", help="Labelled data sets, by default all found; settings."),
        Check(check_set),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per data set.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder for all runs; default: runs/RUN-transfer.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue where it stopped, and retry failed trainings.")] = False,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fine-tune a run on every labelled data set found below $FORETELL_DATA, and print one table.

    A Transformer is fine-tuned as BERT, a recurrent model as ULMFiT, unfrozen layer by layer. Settings apply to all
    data sets; limit, trainable or stages replace the gradual unfreezing.
    """
    from foretell.tools.train.transfer import render
    from foretell.tools.train.transfer import transfer as fine_tune

    sets = [item for item in settings or [] if "=" not in item]
    overrides = [item for item in settings or [] if "=" in item]
    folder = out or Path("runs") / f"{run.name}-transfer"
    result = fine_tune(run, sets, overrides, seeds=seeds, out=folder, resume=resume, quiet=as_json, device=device)
    emit(result, as_json, render)


def find_lr(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe or TOML file.", autocompletion=completion.recipes)],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=2, help="Number of steps.")] = 200,
    low: Annotated[float, typer.Option(min=1e-30, max=1e30, help="First learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option(min=1e-30, max=1e30, help="Last learning rate.")] = 100.0,
    png: Annotated[Path | None, typer.Option(help="Plot the loss over the learning rate into this file.")] = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Suggest a learning rate from a short training with a rising one (range test); writes no run."""
    from foretell.recipe.loading import load_recipe
    from foretell.tools.train import lr_finder as tool

    settings = load_recipe(recipe, overrides or [])
    result = tool.find_lr(settings, steps=steps, low=low, high=high, png=png, device=device, quiet=as_json)
    emit(result, as_json, tool.render)
