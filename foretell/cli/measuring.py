"""The verbs that measure. What a verb needs is imported when it is called, so that help comes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from foretell.cli.options import (
    Adapt,
    Cache,
    Debug,
    Device,
    Dynamic,
    Json,
    Layers,
    MixWith,
    Pooling,
    Prepare,
    RunArgument,
    TokenBudget,
    Trust,
    Weights,
    Which,
    adaptation_of,
    open_model,
)
from foretell.errors import ConfigError
from foretell.tools.printing import emit, evaluated, print_rows, properties


def evaluate(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="train, valid, test, or a file: of text, of a task of examples.")] = "test",
    batch: Annotated[
        int | None, typer.Option(min=1, help="How much is computed side by side; changes nothing but speed.")
    ] = None,
    columns: Annotated[
        int, typer.Option(min=1, help="Cut carried text into parts that start fresh: faster, a little worse.")
    ] = 1,
    pseudo: Annotated[
        int | None,
        typer.Option(metavar="TOKENS", min=1, help="Of a masked model also the pseudo-perplexity, of so many tokens."),
    ] = None,
    mix: MixWith = None,
    weights: Weights = None,
    dynamic: Dynamic = False,
    cache: Cache = False,
    adapt: Adapt = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Of a task: leave out what is no example.")] = False,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Loss, perplexity, bits per character and byte, top-1 and top-5, over every token of a text.

    A masked model has none of these: it gets the loss and accuracy of masked tokens, and of pairs, on fixed masks, and
    ELECTRA how many replaced tokens it finds. A task gets its metrics on labelled examples.
    """
    from foretell.api.trained import Trained

    adaptation = adaptation_of(dynamic, cache, adapt)
    model = open_model(run, mix, weights, which, device, columns, adaptation=adaptation)
    if skip_bad and not isinstance(model, Trained):
        raise ConfigError("a mixture is no task; leave out --mix or --skip-bad")
    leaving_out = {"skip_bad": True} if skip_bad else {}
    result = model.evaluate(split, batch=batch, columns=columns, **leaving_out)
    if pseudo is not None:
        if not isinstance(model, Trained):
            raise ConfigError("a mixture has no pseudo-perplexity; leave out --mix or --pseudo")
        result |= model.pseudo_likelihood(split, pseudo)
    emit(result, as_json, lambda result: evaluated(result, f"{result['run']}, {split}"))


def score(
    run: RunArgument,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]", help="Texts; - or none: stdin.")] = None,
    context: Annotated[
        Literal["lines", "carried"], typer.Option(help="lines: each from a fresh state; carried: given those before.")
    ] = "lines",
    end: Annotated[bool, typer.Option("--end/--no-end", help="Whether a line's newline is predicted too.")] = True,
    tokens: Annotated[bool, typer.Option("--tokens", help="A row for each token: line, token, surprisal in bits.")] = (
        False
    ),
    header: Annotated[bool, typer.Option("--header", help="Begin with the names of the columns.")] = False,
    group: Annotated[bool, typer.Option("--group", help="Lines are group⇥[scores⇥]text, ⇥ a tab: pick the best.")] = (
        False
    ),
    every: Annotated[bool, typer.Option("--all", help="With --group: all hypotheses, best first.")] = False,
    tune: Annotated[
        Path | None,
        typer.Option(metavar="DEV", help="Find weights on group⇥errors⇥[scores⇥]text; implies --group."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="For --group: lm=1,words=0.3,score1=0.5; default: the sum.")] = (
        None
    ),
    mix: MixWith = None,
    mix_weights: Annotated[str | None, typer.Option(help="Of the mixture, as in 0.7,0.3.")] = None,
    dynamic: Dynamic = False,
    cache: Cache = False,
    adapt: Adapt = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Log-probabilities of lines, one row for each, in order.

    Columns: logp (natural logarithm), tokens, unknown (tokens outside the vocabulary), bits per byte, bits per
    character, perplexity. A line counts with its newline; an empty one is its newline. Invalid UTF-8 is read as U+FFFD
    and told on stderr. An unknown word has the probability of the unknown token, so its line's figures flatter.

    Lines are scored as if each were alone, so --dynamic and --cache reach beyond a line only with --context carried.

    With --group: group, weighted total, logp, words, other scores, text of the best hypothesis of each group. --tune
    prints weights; it also uses them where a list is named to rescore (- for stdin).
    """
    from foretell.tools.measure import rescore as lists
    from foretell.tools.measure import score as tool

    model = open_model(run, mix, mix_weights, which, device, adaptation=adaptation_of(dynamic, cache, adapt))
    paths = files or []
    if tune is not None:
        if weights is not None:
            raise ConfigError("--tune finds weights and --weights gives them; leave one out")
        found = lists.tuned(model, tune)
        if not paths:
            emit(found, as_json, lambda found: properties({**found, "weights": lists.as_option(found["weights"])}))
            return
        sys.stderr.write(f"--weights {lists.as_option(found['weights'])}\n")
    if group or tune is not None:
        given = found["weights"] if tune is not None else lists.parse_weights(weights) if weights else None
        ranked = lists.rescore(model, paths, given, every=every)
        if as_json:
            emit({"hypotheses": [one.record() for one in ranked], "weights": given}, True, properties)
        else:
            print_rows(one.row() for one in ranked)
        return
    if as_json:
        emit(tool.all_scores(model, paths, context=context, end=end, tokens=tokens), True, properties)
    else:
        print_rows(tool.print_scores(model, paths, context=context, end=end, tokens=tokens, header=header))


def probe(
    run: RunArgument,
    on: Annotated[str, typer.Option(help="A labelled set by name, files, or {train=..., valid=..., test=...}.")],
    reader: Annotated[
        str | None, typer.Option(help='How files are read, as in data.reader: {kind="table", label="stars"}.')
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be read.")] = False,
    pooling: Pooling = "mean",
    layers: Layers = "-1",
    mix: Annotated[bool, typer.Option("--mix", help="Learn a mix of the layers; kept in the folder.")] = False,
    prepare: Prepare = None,
    strengths: Annotated[
        str | None, typer.Option("--C", metavar="GRID", help="Strengths to choose from; default: 2^-8 to 2^0.")
    ] = None,
    top: Annotated[str, typer.Option(help="Probe so many of the heaviest units alone.")] = "1,10",
    text: Annotated[list[str] | None, typer.Option(help="Draw the best unit over this text; can be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for figures and pictures; default: in the run.")] = None,
    tokens: TokenBudget = 4096,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What a linear classifier reads out of a run's vectors, beside a bag of words, and its best unit in pictures.

    Logistic regression with an L1 penalty whose strength is chosen on the validation split, trained on the training
    split alone, measured on the test split; then the same on the heaviest units alone.
    """
    from foretell.api.trained import load
    from foretell.evaluate.probing import GRID
    from foretell.tools.measure import probe as tool
    from foretell.tools.use.features import settings_of

    record = tool.probe(
        load(run, which=which, device=device),
        tool.read_data(on, reader, skip_bad),
        out or run / f"probe-{Path(on).name if '=' not in on else 'own'}",
        features=settings_of(pooling, layers, prepare, tokens),
        mixed=mix,
        grid=tool.numbers_of(strengths, "--C", float) if strengths else GRID,
        top=tool.numbers_of(top, "--top", int),
        texts=text or (),
        quiet=as_json,
    )
    emit(record, as_json, tool.render)


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN ...", help="Run folders, trained in any way; A+B is their mixture.")
    ],
    split: Annotated[str, typer.Option(help="train, valid, test, or a text file.")] = "test",
    columns: Annotated[
        int, typer.Option(min=1, help="Cut carried text into parts that start fresh: faster, a little worse.")
    ] = 1,
    resamples: Annotated[int, typer.Option(min=1, help="Draws of the bootstrap.")] = 4000,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Runs in one table, which of their differences are real, and where they come from; tokenizers may differ."""
    from foretell.tools.measure.compare import compare, render

    paths = [[Path(name)] if Path(name).exists() else [Path(part) for part in name.split("+")] for name in runs]
    models = [open_model(first, rest, None, which, device, columns) for first, *rest in paths]
    emit(compare(models, split, columns=columns, resamples=resamples), as_json, render)


def race(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE... [KEY=VALUE]...", help="Recipes; settings for all.")
    ],
    budget: Annotated[str, typer.Option(help='What each may use: time ("5m"), "5e6tokens" or "1e15flops".')] = "5m",
    seeds: Annotated[int, typer.Option(min=1, help="Train each so often, from different random beginnings.")] = 1,
    split: Annotated[str, typer.Option(help="What all are measured on: train, valid, test, or a text file.")] = "test",
    out: Annotated[Path, typer.Option(help="The folder for the runs, the results and the picture.")] = Path(
        "runs/race"
    ),
    resume: Annotated[bool, typer.Option(help="Go on with a race that was stopped.")] = False,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train several recipes on the same text under the same budget, and put them into one table and one picture."""
    from foretell.tools.measure.race import run_race, table

    names = [item for item in recipes if "=" not in item]
    overrides = [item for item in recipes if "=" in item]
    result = run_race(names, overrides, budget, seeds=seeds, split=split, out=out, resume=resume, quiet=as_json)
    emit(result, as_json, table)


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Workloads; none: list them.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="How often each side runs, in turns.")] = 9,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 2,
    peer: Annotated[list[str] | None, typer.Option(help="Only this peer; can be repeated.")] = None,
    equal_settings: Annotated[
        bool, typer.Option("--equal-settings", help="Run peers also with our allocator and thread settings.")
    ] = False,
    python: Annotated[str, typer.Option(help="The interpreter of the environment peers are installed in.")] = (
        sys.executable
    ),
    child: Annotated[
        str | None, typer.Option(metavar="SIDE", help='Run one side once and print one line of JSON: "ours" or a peer.')
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="A miniature, to see that it runs; its times mean nothing.")] = (
        False
    ),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Speed beside peers and the machine's own limits, in alternating processes."""
    from foretell.bench import bench as tool

    settings = tool.Settings(pairs, threads, tuple(peer or ()), equal_settings, python, tiny)
    if not names:
        emit(tool.list_workloads(), as_json, tool.render_list)
    elif child is None:
        emit(tool.bench(names, settings), as_json, tool.render)
    elif len(names) == 1:
        emit(tool.measure_child(names[0], child, settings), True, properties)
    else:
        raise ConfigError("--child runs one side of one workload; name one")
