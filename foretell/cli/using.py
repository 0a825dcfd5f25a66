"""The verbs that use a trained model. What a verb needs is imported when it is called, so that help comes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from foretell.cli.options import (
    Debug,
    Device,
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
    open_model,
)
from foretell.errors import ConfigError, fields
from foretell.tools.printing import emit, print_piece, print_rows, properties


def generate(
    run: RunArgument,
    prompt: Annotated[str | None, typer.Option(help="How the text begins; - reads it from stdin.")] = None,
    tokens: Annotated[int, typer.Option(min=0, help="How many tokens to add.")] = 200,
    temperature: Annotated[
        float, typer.Option(min=0, max=1000, help="Below 1 bolder with likely words; 0: always the likeliest.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Only among the k likeliest.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only among the likeliest of this total probability.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another text.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many texts, drawn side by side.")] = 1,
    beam: Annotated[
        int | None,
        typer.Option(min=1, help="Search for the likeliest text up to a boundary, following so many; draws nothing."),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="With --beam: how many texts, the likeliest first.")] = 1,
    length_penalty: Annotated[
        float, typer.Option(min=0, max=100, help="With --beam: above 0 longer texts lose less (arXiv:1609.08144).")
    ] = 0.0,
    mix: MixWith = None,
    weights: Weights = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write on from a prompt, token by token."""
    from foretell.data.text_files import mended

    if beam is not None and count > 1:
        raise ConfigError(f"--beam draws nothing, so --count has no place; for several texts take --best {count}")
    if beam is None and (best > 1 or length_penalty):
        raise ConfigError(f"{'--best' if best > 1 else '--length-penalty'} is for --beam; add it, or leave this out")
    beginning = mended(prompt or "").text if prompt != "-" else sys.stdin.buffer.read().decode(errors="replace")
    model = open_model(run, mix, weights, which, device)
    if beam is not None:
        found = model.search(beginning, tokens, width=beam, best=best, length_penalty=length_penalty)
        if as_json:
            emit({"prompt": beginning, "beam": beam, "texts": [vars(one) for one in found]}, True, properties)
        else:
            scores = [f"{one.score:.4f}\t" if best > 1 else "" for one in found]
            print_rows(score + beginning + one.text.rstrip() for score, one in zip(scores, found, strict=True))
        return
    if count > 1:
        texts = model.texts(count, beginning, tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        if as_json:
            emit({"prompt": beginning, "texts": texts, "tokens": tokens, "seed": seed}, True, properties)
        else:
            print_rows(beginning + text for text in texts)
        return
    pieces = model.stream(beginning, tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    if as_json:
        emit({"prompt": beginning, "text": "".join(pieces), "tokens": tokens, "seed": seed}, True, properties)
        return
    print_piece(beginning)
    for piece in pieces:
        print_piece(piece)
    print_piece("\n")


def following(
    run: RunArgument,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="Can be repeated; none: each line of stdin.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="How many words, the likeliest first.")] = 10,
    complete: Annotated[bool, typer.Option("--complete", help="The prompt's last word is only a beginning.")] = False,
    floor: Annotated[float, typer.Option(min=0, max=1, help="Do not look for words less probable than this.")] = 1e-5,
    mix: MixWith = None,
    weights: Weights = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The likeliest next words and their probabilities, whole words for every kind of token.

    A row for each: prompt, word, probability. It is the probability among words: given that the line goes on with one.
    """
    from foretell.data.text_files import Report, mended
    from foretell.evaluate.completion import next_words
    from foretell.tools.measure.score import read_lines

    model = open_model(run, mix, weights, which, device)
    scorer = model.scorer(ranks=False)
    asked = read_lines([], Report()) if prompts is None else [mended(prompt).text for prompt in prompts]
    answers = (
        (prompt, next_words(scorer, model.tokenizer, prompt, words, model.device, complete=complete, floor=floor))
        for prompt in asked
    )
    if as_json:
        listed = [{"prompt": prompt, "words": [word._asdict() for word in found]} for prompt, found in answers]
        emit({"prompts": listed}, True, properties)
    else:
        rows = ((prompt, *word) for prompt, found in answers for word in found)
        print_rows(fields(prompt, word, f"{probability:.6f}") for prompt, word, probability in rows)


def features(
    run: RunArgument,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]", help="Texts, one a line; - or none: stdin.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A .npy or .parquet file to write; none: rows of numbers on stdout.")
    ] = None,
    pooling: Pooling = "mean",
    layers: Layers = "-1",
    mix: Annotated[
        Path | None, typer.Option(metavar="PROBE", help="Add layers up with the weights that a probe has learnt.")
    ] = None,
    prepare: Prepare = None,
    tokens: TokenBudget = 4096,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Vectors of texts, one for each line, in order and in constant memory: of any layers, pooled in any way."""
    from foretell.api.trained import load
    from foretell.tools.use import features as tool

    paths = files or []
    settings = tool.settings_of(pooling, layers, prepare, tokens, mix)
    extractor = load(run, which=which, device=device).extractor(**settings)
    if out is not None:
        emit(tool.write_features(extractor, paths, out, quiet=as_json), as_json, properties)
    elif as_json:
        emit(tool.all_features(extractor, paths), True, properties)
    else:
        print_rows(tool.print_features(extractor, paths))


def predict(
    run: RunArgument,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]", help="What to tell of; - or none: stdin.")
    ] = None,
    form: Annotated[
        Literal["lines", "data"],
        typer.Option(help="lines: one a line, parts between tabs; data: files as those the run has learnt from."),
    ] = "lines",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="With --form data: leave bad rows out.")] = False,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What a task says of texts, one line for each, in order; with --json all there is to know, probabilities included.

    A line is a text, or two of a pair with a tab between them; a context and its options; the words of a sentence; a
    question and a passage. Places in a text are counted in characters from 0, the end is that behind the last one.
    """
    from foretell.api.trained import load
    from foretell.tools.use.predict import all_predictions, print_predictions

    model = load(run, which=which, device=device)
    if as_json:
        emit(all_predictions(model, files or [], form, skip_bad), True, properties)
    else:
        print_rows(print_predictions(model, files or [], form, skip_bad))


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The file to write (.arpa, .arpa.gz), or the folder to make.")],
    to: Annotated[
        str | None, typer.Option(help="arpa or hf, a Hugging Face folder; default: what --out and the model say.")
    ] = None,
    which: Which = "best",
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a model for other programs: n-grams as an ARPA file, Transformers as a Hugging Face folder."""
    from foretell.api.trained import load
    from foretell.tools.use.convert import export_run

    emit(export_run(load(run, which=which, device="cpu"), out, to), as_json, properties)


def import_(
    path: Annotated[Path, typer.Argument(help="A file, .arpa or .arpa.gz, or a Hugging Face folder.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    corpus: Annotated[str, typer.Option(help="The corpus whose splits the run is measured on.")] = "python-docs",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="The tokenizer.json of its vocabulary; default: what the folder has, the file's words."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a run of a model that another program wrote."""
    from foretell.tools.use.convert import import_path

    emit(import_path(path, out, corpus, tokenizer), as_json, properties)
