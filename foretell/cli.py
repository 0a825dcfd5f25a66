"""The command line: one function a verb. What a verb needs is imported when it is called, so that help comes at once.

Results go to stdout, everything else to stderr; with `--json` stdout is exactly one JSON object.
Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted after saving.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from foretell.config import ConfigError

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
def evaluate(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="train, valid, test, or a text file.")] = "test",
    batch: Annotated[int | None, typer.Option(help="Units side by side; changes nothing but speed.")] = None,
    columns: Annotated[
        int, typer.Option(help="Cut carried text into parts that start fresh: faster, a little worse.")
    ] = 1,
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Loss, perplexity, bits per character and byte, top-1 and top-5, over every token of a text."""
    from foretell.api import load

    result = load(run, which=which, device=device).evaluate(split, batch=batch, columns=columns)
    emit(result, as_json, lambda result: measured(result, f"{run}, {split}"))


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
    which: Which = "best",
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write on from a prompt, token by token."""
    from foretell.api import load

    beginning = sys.stdin.read() if prompt == "-" else prompt or ""
    trained = load(run, which=which, device=device)
    pieces = trained.stream(beginning, tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
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


@app.command(rich_help_panel="Look")
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Workloads; none: list them.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="How often each side runs, in turns.")] = 9,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 2,
    peer: Annotated[list[str] | None, typer.Option(help="Only this peer; may be given several times.")] = None,
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
    from foretell.tools import bench as tool

    settings = tool.Settings(pairs, threads, tuple(peer or ()), equal_settings, python, tiny)
    if not names:
        emit(tool.list_workloads(), as_json, tool.render_list)
    elif child is None:
        emit(tool.bench(names, settings), as_json, tool.render)
    elif len(names) == 1:
        emit(tool.measure_child(names[0], child, settings), True, properties)
    else:
        raise ConfigError("--child runs one side of one workload; name one")


# --- printing -------------------------------------------------------------------------------------


def emit(result: Mapping[str, Any], as_json: bool, render: Callable[[Mapping[str, Any]], Any]) -> None:
    """The result on stdout: one JSON object, or what `render` makes of it for people."""
    if as_json:
        plain = {key: value for key, value in result.items() if key != "table"}
        sys.stdout.write(json.dumps(plain, ensure_ascii=False, default=str) + "\n")
    else:
        Console(highlight=False).print(render(result))


def measured(result: Mapping[str, Any], title: str) -> Table:
    """A measurement as a small table."""
    formats: dict[str, Callable[[Any], str]] = {
        "bits_per_byte": lambda value: f"{value:.4f}",
        "bits_per_character": lambda value: f"{value:.4f}",
        "perplexity": lambda value: f"{value:,.2f}",
        "loss": lambda value: f"{value:.4f} nats per token",
        "top1": lambda value: f"{value:.2%}",
        "top5": lambda value: f"{value:.2%}",
        "tokens": lambda value: f"{value:,}",
        "unknown_rate": lambda value: f"{value:.3%}",
        "lossy": lambda value: "yes: tokens hold less than the text" if value else "no",
        "context": str,
        "weights": str,
        "parameters": lambda value: f"{value:,}",
        "seconds": lambda value: f"{value:,.1f}",
        "tokens_per_second": lambda value: f"{value:,.0f}",
        "peak_memory_bytes": lambda value: f"{value / 2**20:,.0f} MiB",
    }
    table = Table(title=title, show_header=False, title_justify="left")
    for key, form in formats.items():
        if result.get(key) is not None:
            table.add_row(key.replace("_", " "), form(result[key]))
    return table


def properties(result: Mapping[str, Any]) -> Table:
    """Any flat result as names and values."""
    table = Table(show_header=False)
    for key, value in result.items():
        table.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    return table


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
    if type(problem).__name__ == "Diverged":
        return str(problem), 1
    if isinstance(problem, OSError):
        return f"{problem.strerror}: {problem.filename}" if problem.filename else str(problem), 1
    return f"{type(problem).__name__}: {problem} (run again with --debug for the traceback)", 1
