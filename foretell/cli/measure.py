"""Commands that measure. Imports are deferred so that help is fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from foretell.cli import completion
from foretell.cli.checks import (
    Check,
    check_budget,
    check_file,
    check_labelled,
    check_mixture,
    check_split,
    ends_in,
    new,
)
from foretell.cli.options import (
    Adapt,
    Adaptive,
    Audit,
    Cache,
    Debug,
    Device,
    Dynamic,
    Gated,
    Json,
    Layers,
    Log,
    MixWeights,
    MixWith,
    Online,
    Pooling,
    Prepare,
    Quiet,
    RunArgument,
    TokenBudget,
    Trust,
    Which,
    adaptation_of,
    learned_by,
    open_model,
)
from foretell.errors import ConfigError
from foretell.tools.parsing import numbers_of, parse_weights
from foretell.tools.printing import emit, print_rows, properties


def evaluate(
    run: RunArgument,
    split: Annotated[
        str,
        typer.Option(help="train, valid, test, or a file of text (for a task: of examples)."),
        Check(check_split),
    ] = "test",
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size; affects speed only.")] = None,
    columns: Annotated[
        int, typer.Option(min=1, help="Read the text in N columns, each from a fresh state: faster, slightly worse.")
    ] = 1,
    pseudo: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS", min=1, help="For a masked model, also compute the pseudo-perplexity of this many tokens."
        ),
    ] = None,
    mix: MixWith = None,
    mix_weights: MixWeights = None,
    online: Online = False,
    gated: Gated = False,
    logistic: Log = False,
    adaptive: Adaptive = False,
    dynamic: Dynamic = False,
    cache: Cache = False,
    adapt: Adapt = None,
    audit: Audit = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="For a task: skip rows that are not valid examples.")
    ] = False,
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For a task: write its wrong predictions, the worst first, to a .csv or .jsonl file; of scores, all.",
        ),
        ends_in("--errors", ".csv", ".jsonl"),
        new("--errors"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="For a task: draw confusions and calibration; of scores, their errors."),
        ends_in("--plot", ".png"),
    ] = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure loss, perplexity, bits per character and byte, top-1 and top-5 accuracy over all tokens of a text.

    A masked model is measured by loss and accuracy of masked tokens and pairs, on fixed masks; ELECTRA also by its
    recall of replaced tokens; a task by its metrics on labelled examples, with each label, confusions and calibration.
    """
    from foretell.api.trained import Trained
    from foretell.tools.baselines import beside
    from foretell.tools.measure import analysis, audits

    adaptation = adaptation_of(dynamic, cache, adapt)
    learned = learned_by(online, gated, logistic)
    if adaptive and learned:  # results have both parts anyway
        adaptation, adaptive = adaptation or {"dynamic": {}}, False
    members = {} if adaptive else adaptation
    model = open_model(run, mix, mix_weights, which, device, columns, adaptation=members, online=learned)
    if (skip_bad or pseudo is not None) and not isinstance(model, Trained):
        raise ConfigError("a mixture is not a task and has no pseudo-perplexity; leave out --skip-bad and --pseudo")
    if errors is not None or plot is not None:
        result = analysis.analysed(model, split, skip_bad=skip_bad, errors=errors, plot=plot)
    else:
        options = {name: True for name, given in (("skip_bad", skip_bad), ("audit", audit)) if given}
        options |= {"adaptive": True, **adaptation} if adaptive else {}
        result = model.evaluate(split, batch=batch, columns=columns, **options)
    if isinstance(model, Trained):
        result |= ({} if pseudo is None else model.pseudo_likelihood(split, pseudo)) | beside(model, split)
    emit(result, as_json, lambda result: analysis.render(result, f"{result['run']}, {split}"))
    if audit:
        audits.keep(None if adaptation or columns > 1 else model.run, result)
        raise typer.Exit(0 if audits.passed(result) else 1)


def score(
    run: RunArgument,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]", help="Text files; - or none: stdin."), Check(check_file)
    ] = None,
    context: Annotated[
        Literal["lines", "carried"],
        typer.Option(help="lines: each line from a fresh state; carried: given the lines before."),
    ] = "lines",
    end: Annotated[bool, typer.Option("--end/--no-end", help="Predict the newline of a line, too.")] = True,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Print a row per token: line, token, surprisal in bits.")
    ] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Print a CSV row per word: word, start, end, surprisal in bits.")
    ] = False,
    header: Annotated[bool, typer.Option("--header", help="Print a header with the column names.")] = False,
    group: Annotated[
        bool, typer.Option("--group", help="Rescore n-best lists with lines group⇥[scores⇥]text (⇥: tab).")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="With --group: print all hypotheses, best first.")] = False,
    tune: Annotated[
        Path | None,
        typer.Option(metavar="DEV", help="Tune weights on lines group⇥errors⇥[scores⇥]text; implies --group."),
        Check(check_file),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="With --group: weights, as in lm=1,words=0.3,score1=0.5; default: 1 for lm and scores."),
        Check(parse_weights),
    ] = None,
    mix: MixWith = None,
    mix_weights: MixWeights = None,
    dynamic: Dynamic = False,
    cache: Cache = False,
    adapt: Adapt = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the log-probability of each line, in order.

    Columns: logp (natural logarithm), tokens, unknown (tokens outside the vocabulary), bits per byte, bits per
    character, perplexity, lossy. A line includes its newline. Invalid UTF-8 is read as U+FFFD and reported on stderr.
    An unknown word has the probability of the unknown token, so figures of its line are too good.
    With --words the surprisal of a word includes that it ends there, so that figures are alike with every tokenizer;
    start and end count the characters of all input.

    By default each line is scored alone, so --dynamic and --cache need --context carried to reach beyond a line.

    With --group the columns are: group, weighted total, logp, words, other scores, text of the best hypothesis. --tune
    prints weights, and uses them if there is a list to rescore (- for stdin).
    """
    from foretell.tools.measure import rescore as lists
    from foretell.tools.measure import score as tool
    from foretell.tools.measure.words import print_words

    model = open_model(run, mix, mix_weights, which, device, adaptation=adaptation_of(dynamic, cache, adapt))
    paths = files or []
    check_rows(group or tune is not None, words, tokens, end)
    if tune is not None:
        if weights is not None:
            raise ConfigError("--tune and --weights exclude each other; leave one out")
        tuned = lists.tuned(model, tune)
        if not paths:
            return emit(tuned, as_json, lambda it: properties({**it, "weights": lists.as_option(it["weights"])}))
        sys.stderr.write(f"--weights {lists.as_option(tuned['weights'])}\n")
    if group or tune is not None:
        factors = tuned["weights"] if tune is not None else parse_weights(weights) if weights else None
        return lists.print_ranked(lists.rescore(model, paths, factors, every=every), factors, as_json)
    if words:
        print_words(model, paths, context, as_json)
    elif as_json:
        emit(tool.all_scores(model, paths, context=context, end=end, tokens=tokens), True, properties)
    else:
        print_rows(tool.print_scores(model, paths, context=context, end=end, tokens=tokens, header=header))


def probe(
    run: RunArgument,
    on: Annotated[
        str,
        typer.Option(help="Labelled data set by name, files, or {train=..., valid=..., test=...}."),
        Check(check_labelled),
    ],
    reader: Annotated[
        str | None, typer.Option(help='Reader of the files, as data.reader: {kind="table", label="stars"}.')
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip rows that are not valid examples.")] = False,
    pooling: Pooling = "mean",
    layers: Layers = "-1",
    mix: Annotated[
        bool, typer.Option("--mix", help="Learn a weighted mix of the layers; saved in the folder.")
    ] = False,
    prepare: Prepare = None,
    strengths: Annotated[
        str | None,
        typer.Option("--C", metavar="GRID", help="Inverse regularisation strengths to try; default: 2^-8 to 2^0."),
        Check(lambda text: numbers_of(text, "--C", float)),
    ] = None,
    top: Annotated[
        str,
        typer.Option(help="Also probe this many of the heaviest units alone."),
        Check(lambda text: numbers_of(text, "--top", int)),
    ] = "1,10",
    text: Annotated[list[str] | None, typer.Option(help="Text for a heat map of the best unit; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for scores and plots; default: in the run.")] = None,
    tokens: TokenBudget = 4096,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a linear classifier on the vectors of a run, compare it with a bag of words, and plot its best unit.

    Logistic regression with an L1 penalty, trained on the training split, its strength chosen on the validation split,
    measured on the test split; then again on the heaviest units alone.
    """
    from foretell.api.trained import load_run
    from foretell.evaluate.probing import GRID
    from foretell.tools.measure import probe as tool
    from foretell.tools.use.features import settings_of

    model = load_run(run, which=which, device=device)
    record = tool.probe(
        model,
        tool.read_data(on, reader, skip_bad),
        out or model.run.path / f"probe-{Path(on).name if '=' not in on else 'own'}",
        features=settings_of(pooling, layers, prepare, tokens),
        mixed=mix,
        grid=numbers_of(strengths, "--C", float) if strengths else GRID,
        top=numbers_of(top, "--top", int),
        texts=text or (),
        quiet=as_json,
    )
    emit(record, as_json, tool.render)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN ...", help="Run folders; A+B is a mixture of two.", autocompletion=completion.runs
        ),
        Check(check_mixture),
    ],
    split: Annotated[str, typer.Option(help="train, valid, test, or a text file."), Check(check_split)] = "test",
    columns: Annotated[
        int, typer.Option(min=1, help="Read the text in N columns, each from a fresh state: faster, slightly worse.")
    ] = 1,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 4000,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare runs on one text, with confidence intervals and a breakdown of differences; tokenizers may differ."""
    from foretell.tools.measure.compare import compare, render

    paths = [[Path(name)] if Path(name).exists() else [Path(part) for part in name.split("+")] for name in runs]
    models = [open_model(first, rest, None, which, device, columns) for first, *rest in paths]
    emit(compare(models, split, columns=columns, resamples=resamples), as_json, render)


def check_rows(ranked: bool, words: bool, tokens: bool, end: bool) -> None:
    """Refuse options of `score` that ask for different rows."""
    if ranked and (words or tokens):
        raise ConfigError("--group and --tune rank whole texts; leave out --words and --tokens")
    if words and (tokens or not end):
        raise ConfigError("--words prints words alone; leave out --tokens and --no-end")


def race(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE... [KEY=VALUE]...",
            help="Recipes, and settings for all of them.",
            autocompletion=completion.recipes_and_settings,
        ),
    ],
    budget: Annotated[
        str,
        typer.Option(help='Budget of each training: time ("5m"), "5e6tokens" or "1e15flops".'),
        Check(check_budget),
    ] = "5m",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds per recipe.")] = 1,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTINGS", help="Settings that the recipe also runs with, to see what they change; repeatable."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split to measure on: train, valid, test, or a text file."), Check(check_split)
    ] = "test",
    out: Annotated[Path, typer.Option(help="Folder for runs, results and plot.")] = Path("runs/race"),
    resume: Annotated[bool, typer.Option(help="Continue a stopped race.")] = False,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train several recipes on the same text under the same budget; print one table, draw one plot."""
    from foretell.tools.measure.race import render, run_race

    names = [item for item in recipes if "=" not in item]
    overrides = [item for item in recipes if "=" in item]
    result = run_race(
        names,
        overrides,
        budget,
        seeds=seeds,
        split=split,
        out=out,
        resume=resume,
        quiet=as_json,
        variations=vary or (),
    )
    emit(result, as_json, render)


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Workloads to run (default: list them).")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Runs of each side, in alternation.")] = 9,
    threads: Annotated[int, typer.Option(min=1, help="Threads per process.")] = 2,
    peer: Annotated[list[str] | None, typer.Option(help="Measure only this peer; repeatable.")] = None,
    equal_settings: Annotated[
        bool,
        typer.Option("--equal-settings", help="Also run peers with the allocator and thread settings of foretell."),
    ] = False,
    python: Annotated[
        str, typer.Option(help="Python interpreter of the peers' environment.", show_default="this one")
    ] = sys.executable,
    child: Annotated[
        str | None,
        typer.Option(metavar="SIDE", help='Run one side once ("ours" or a peer) and print one line of JSON.'),
    ] = None,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Run a miniature as a smoke test; its times are meaningless.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare speed with other libraries and the limits of the machine, in alternating processes."""
    from foretell.bench import bench as tool

    settings = tool.Settings(pairs, threads, tuple(peer or ()), equal_settings, python, tiny)
    if not names:
        emit(tool.list_workloads(), as_json, tool.render_list)
    elif child is None:
        emit(tool.bench(names, settings), as_json, tool.render)
    elif len(names) == 1:
        emit(tool.measure_child(names[0], child, settings), True, properties)
    else:
        raise ConfigError("--child runs one side of one workload; name one workload")
