"""The command line: one function a verb. What a verb needs is imported when it is called, so that help comes at once.

Results go to stdout, everything else to stderr; with `--json` stdout is exactly one JSON object.
Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted after saving.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from foretell.config import ConfigError
from foretell.tools.printing import emit, measured, print_rows, properties

if TYPE_CHECKING:
    from foretell import Mixed, Trained

Axis = Literal["steps", "epochs", "tokens", "seconds"]
Measure = Literal["loss", "bits_per_byte", "perplexity"]

app = typer.Typer(
    name="foretell",
    help="Train language models on your own text, compare them fairly, carry them over to your task.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; default: the accelerator if there is one.")]
Which = Annotated[str, typer.Option(help="Which checkpoint: best or last.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, the --out of a training.")]
MixWith = Annotated[
    list[Path] | None, typer.Option("--mix", metavar="RUN2", help="Mix its probabilities in; can be repeated.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--mix-weights",
        "--weights",
        help="Of the mixture, in the order of the runs: 0.7,0.3; default: what is best for the valid split.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]", help="Settings that differ, by dotted name: model.layers=2"),
]


@app.command(rich_help_panel="Train")
def demo(
    out: Annotated[Path, typer.Option(help="Where the run is left; an earlier one there is replaced.")] = Path(
        "runs/demo"
    ),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train and measure a small AWD-LSTM on Python's own manual, anew each time: under three minutes on two cores."""
    from foretell.tools.demo import run_demo

    emit(run_demo(out, quiet=as_json), as_json, lambda result: result["table"])


@app.command(rich_help_panel="Train")
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


@app.command(rich_help_panel="Train")
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (see `foretell show recipes`) or a TOML file.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; default runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on exactly where the run was stopped.")] = False,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a recipe; stop it with Ctrl-C and go on later with --resume."""
    from foretell.api import run_recipe
    from foretell.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    folder = out or Path("runs") / settings.name
    trained = run_recipe(settings, folder, resume, as_json, device)
    emit(trained.summary(), as_json, lambda result: measured(result, f"{folder}, validation split"))


@app.command(rich_help_panel="Measure")
def race(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE... [KEY=VALUE]...", help="Recipes; settings for all.")
    ],
    budget: Annotated[str, typer.Option(help='What each may use: time ("5m"), "5e6tokens" or "1e15flops".')] = "5m",
    seeds: Annotated[int, typer.Option(min=1, help="Train each so often, from different random beginnings.")] = 1,
    split: Annotated[str, typer.Option(help="What all are measured on.")] = "test",
    out: Annotated[Path, typer.Option(help="The folder for the runs, the results and the picture.")] = Path(
        "runs/race"
    ),
    resume: Annotated[bool, typer.Option(help="Go on with a race that was stopped.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train several recipes on the same text under the same budget, and put them into one table and one picture."""
    from foretell.tools.race import run_race, table

    names = [item for item in recipes if "=" not in item]
    overrides = [item for item in recipes if "=" in item]
    result = run_race(names, overrides, budget, seeds=seeds, split=split, out=out, resume=resume, quiet=as_json)
    emit(result, as_json, table)


@app.command(rich_help_panel="Measure")
def evaluate(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="train, valid, test, or a text file.")] = "test",
    batch: Annotated[int | None, typer.Option(help="Units side by side; changes nothing but speed.")] = None,
    columns: Annotated[
        int, typer.Option(help="Cut carried text into parts that start fresh: faster, a little worse.")
    ] = 1,
    mix: MixWith = None,
    weights: Weights = None,
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Loss, perplexity, bits per character and byte, top-1 and top-5, over every token of a text."""
    model = open_model(run, mix, weights, which, device, columns)
    result = model.evaluate(split, batch=batch, columns=columns)
    emit(result, as_json, lambda result: measured(result, f"{result['run']}, {split}"))


@app.command(rich_help_panel="Measure")
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
    group: Annotated[bool, typer.Option("--group", help="Lines are group<TAB>[scores<TAB>]text: pick the best.")] = (
        False
    ),
    every: Annotated[bool, typer.Option("--all", help="With --group: all hypotheses, best first.")] = False,
    tune: Annotated[
        Path | None,
        typer.Option(metavar="DEV", help="Find weights on group<TAB>errors<TAB>[scores<TAB>]text; implies --group."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="For --group: lm=1,words=0.3,score1=0.5; default: the sum.")] = (
        None
    ),
    mix: MixWith = None,
    mix_weights: Annotated[str | None, typer.Option(help="Of the mixture, as in 0.7,0.3.")] = None,
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Log-probabilities of lines, one row for each, in order.

    Columns: logp (natural logarithm), tokens, unknown (tokens outside the vocabulary), bits per byte, bits per
    character, perplexity. A line counts with its newline; an empty one is its newline. Invalid UTF-8 is read as U+FFFD
    and told on stderr. An unknown word has the probability of the unknown token, so its line's figures flatter.

    With --group: group, weighted total, logp, words, other scores, text of the best hypothesis of each group. --tune
    prints weights; it also uses them where a list is named to rescore (- for stdin).
    """
    from foretell.tools import rescore as lists
    from foretell.tools import score as tool

    model = open_model(run, mix, mix_weights, which, device)
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


@app.command("next", rich_help_panel="Use")
def following(
    run: RunArgument,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="Can be repeated; none: each line of stdin.")
    ] = None,
    words: Annotated[int, typer.Option(help="How many words, the likeliest first.")] = 10,
    complete: Annotated[bool, typer.Option("--complete", help="The prompt's last word is only a beginning.")] = False,
    floor: Annotated[float, typer.Option(help="Do not look for words less probable than this.")] = 1e-5,
    mix: MixWith = None,
    weights: Weights = None,
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The likeliest next words and their probabilities, whole words for every kind of token.

    A row for each: prompt, word, probability. It is the probability among words: given that the line goes on with one.
    """
    from foretell.data.reading import Report
    from foretell.evaluate.completion import next_words
    from foretell.tools.score import read_lines

    model = open_model(run, mix, weights, which, device)
    scorer = model.scorer(ranks=False)
    asked = read_lines([], Report()) if prompts is None else prompts
    answers = (
        (prompt, next_words(scorer, model.tokenizer, prompt, words, model.device, complete=complete, floor=floor))
        for prompt in asked
    )
    if as_json:
        listed = [{"prompt": prompt, "words": [word._asdict() for word in found]} for prompt, found in answers]
        emit({"prompts": listed}, True, properties)
    else:
        rows = ((prompt, *word) for prompt, found in answers for word in found)
        print_rows(f"{prompt}\t{word}\t{probability:.6f}" for prompt, word, probability in rows)


@app.command(rich_help_panel="Measure")
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN ...", help="Run folders, trained in any way; A+B is their mixture.")
    ],
    split: Annotated[str, typer.Option(help="train, valid, test, or a text file.")] = "test",
    columns: Annotated[
        int, typer.Option(help="Cut carried text into parts that start fresh: faster, a little worse.")
    ] = 1,
    resamples: Annotated[int, typer.Option(help="Draws of the bootstrap.")] = 4000,
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Runs in one table, which of their differences are real, and where they come from; tokenizers may differ."""
    from foretell.tools.compare import compare, render

    paths = [[Path(name)] if Path(name).exists() else [Path(part) for part in name.split("+")] for name in runs]
    models = [open_model(first, rest, None, which, device, columns) for first, *rest in paths]
    emit(compare(models, split, columns=columns, resamples=resamples), as_json, render)


@app.command(rich_help_panel="Use")
def generate(
    run: RunArgument,
    prompt: Annotated[str | None, typer.Option(help="How the text begins; - reads it from stdin.")] = None,
    tokens: Annotated[int, typer.Option(help="How many tokens to add.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1 bolder with likely words; 0: always the likeliest.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Only among the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Only among the likeliest of this total probability.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    mix: MixWith = None,
    weights: Weights = None,
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write on from a prompt, token by token."""
    beginning = sys.stdin.read() if prompt == "-" else prompt or ""
    model = open_model(run, mix, weights, which, device)
    pieces = model.stream(beginning, tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    if as_json:
        emit({"prompt": beginning, "text": "".join(pieces), "tokens": tokens, "seed": seed}, True, properties)
        return
    sys.stdout.write(beginning)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


@app.command(rich_help_panel="Use")
def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The file to write: .arpa or .arpa.gz for an n-gram model.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a model as a file that other programs read."""
    from foretell.api import load
    from foretell.tools.exchange import export_run

    emit(export_run(load(run), out), as_json, properties)


@app.command("import", rich_help_panel="Use")
def import_(
    path: Annotated[Path, typer.Argument(help="The file to read: .arpa or .arpa.gz.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    corpus: Annotated[str, typer.Option(help="The corpus whose splits the run is measured on.")] = "python-docs",
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer.json of its vocabulary; default: its words, split at blanks.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a run of a model that another program wrote."""
    from foretell.tools.exchange import import_file

    emit(import_file(path, out, corpus, tokenizer), as_json, properties)


@app.command(rich_help_panel="Look")
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
    from foretell.tools import runs as tool

    if not delete:
        found = tool.list_runs(folder, filters=filters or [], sort=sort)
        emit({"folder": str(folder), "runs": found}, as_json, tool.render)
        return
    paths = tool.deletable(folder, delete)
    names = ", ".join(map(str, paths))
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigError(f"{names}: add --yes to delete without being asked")
        typer.confirm(f"Delete {names}?", abort=True, err=True)
    tool.delete(paths)
    emit({"deleted": [str(path) for path in paths]}, as_json, properties)


@app.command(rich_help_panel="Look")
def show(
    what: Annotated[
        str,
        typer.Argument(
            help="A recipe, a run, a kind (lstm, bpe, cosine), a section (model, head), recipes, or schema."
        ),
    ] = "recipes",
    overrides: Overrides = None,
    vocabulary: Annotated[int | None, typer.Option(help="Count parameters for this many tokens.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The resolved recipe with parameters, memory and FLOPs; a run; or a kind with its settings."""
    from foretell.tools.show import describe, render

    emit(describe(what, overrides or [], vocabulary), as_json or what == "schema", render)


@app.command(rich_help_panel="Look")
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


@app.command(rich_help_panel="Look")
def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, drawn into one picture.")],
    out: Annotated[Path | None, typer.Option(help="The PNG; default: plot.png in the first run.")] = None,
    x: Annotated[Axis, typer.Option(help="What to draw over.")] = "steps",
    y: Annotated[Measure, typer.Option(help="What to draw of training and validation.")] = "loss",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw runs: training and validation, learning rate, gradient norms and how they are spread."""
    from foretell.tools.plot import plot_runs

    emit(plot_runs(runs, out, x, y), as_json, properties)


@app.command(rich_help_panel="Look")
def doctor(
    what: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="A corpus or a run to look at; nothing: this installation.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What is wrong with this installation, a corpus or a run, and what to do about it."""
    from foretell.tools import doctor as tool

    if what is None:
        result = tool.examine_machine()
    elif (Path(what) / "recipe.toml").exists():
        result = tool.examine_run(Path(what))
    else:
        result = tool.examine_corpus(what)
    emit(result, as_json, tool.render)
    if any(finding["level"] == "error" for finding in result["findings"]):
        raise typer.Exit(1)


# --- opening --------------------------------------------------------------------------------------


def open_model(
    run: Path, mix: list[Path] | None, weights: str | None, which: str, device: str | None, columns: int = 1
) -> Trained | Mixed:
    """A run, or several as a mixture."""
    from foretell import load
    from foretell import mix as mixed

    if not mix:
        if weights is not None:
            raise ConfigError("--weights is for mixtures; name the other runs with --mix")
        return load(run, which=which, device=device)
    return mixed([run, *mix], numbers(weights), which=which, device=device, columns=columns)


def numbers(text: str | None) -> list[float] | None:
    """`0.7,0.3` as numbers."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights {text}: write numbers with commas between them, as in 0.7,0.3") from None


# --- running --------------------------------------------------------------------------------------


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
