"""Commands that use a trained model. Each imports what it needs when called, so that help is fast."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foretell.cli.checks import Check, check_compressed, check_corpus, check_file, check_hub_name, check_import, new
from foretell.cli.options import (
    Debug,
    Device,
    Json,
    Layers,
    MixWeights,
    MixWith,
    Pooling,
    Prepare,
    Quiet,
    RunArgument,
    TokenBudget,
    Trust,
    Which,
    WithRun,
    open_model,
)
from foretell.errors import ConfigError, fields
from foretell.tools.parsing import read_mix
from foretell.tools.printing import emit, print_piece, print_rows, properties


def generate(
    run: RunArgument,
    prompt: Annotated[str | None, typer.Option(help="Start of the text; - reads it from stdin.")] = None,
    tokens: Annotated[int, typer.Option(min=0, help="Number of tokens to generate.")] = 200,
    temperature: Annotated[
        float, typer.Option(min=0, max=1000, help="Sampling temperature: below 1 favours likely tokens; 0 is greedy.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the k most likely tokens only.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Sample from the most likely tokens of this total probability only."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="Number of texts, sampled in one batch.")] = 1,
    beam: Annotated[
        int | None,
        typer.Option(
            min=1, help="Beam search with this width for the most likely text up to a boundary, without sampling."
        ),
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="With --beam: number of texts, most likely first.")] = 1,
    length_penalty: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            help="With --beam: exponent of the length penalty (arXiv:1609.08144); above 0 favours longer texts.",
        ),
    ] = 0.0,
    mix: MixWith = None,
    mix_weights: MixWeights = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Continue a prompt token by token."""
    from foretell.data.text_files import mended

    if beam is not None and count > 1:
        raise ConfigError(f"--beam does not sample, so --count does not apply; for several texts use --best {count}")
    if beam is None and (best > 1 or length_penalty):
        raise ConfigError(f"{'--best' if best > 1 else '--length-penalty'} needs --beam; add it, or leave this out")
    beginning = mended(prompt or "").text if prompt != "-" else sys.stdin.buffer.read().decode(errors="replace")
    model = open_model(run, mix, mix_weights, which, device)
    if beam is not None:
        hypotheses = model.search(beginning, tokens, width=beam, best=best, length_penalty=length_penalty)
        if as_json:
            emit({"prompt": beginning, "beam": beam, "texts": [vars(text) for text in hypotheses]}, True, properties)
        else:
            scores = [f"{text.score:.4f}\t" if best > 1 else "" for text in hypotheses]
            print_rows(score + beginning + text.text.rstrip() for score, text in zip(scores, hypotheses, strict=True))
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
        list[str] | None, typer.Option("--prompt", help="Text to continue; repeatable; default: each line of stdin.")
    ] = None,
    words: Annotated[
        int | None, typer.Option(min=1, help="Number of words, most likely first.", show_default="10")
    ] = None,
    complete: Annotated[bool, typer.Option("--complete", help="Complete the last word of the prompt.")] = False,
    characters: Annotated[
        bool, typer.Option("--characters", help="Print the next character's distribution, exact with every tokenizer.")
    ] = False,
    floor: Annotated[
        float, typer.Option(min=0, max=1, help="Ignore words (or characters) less probable than this.")
    ] = 1e-5,
    mix: MixWith = None,
    mix_weights: MixWeights = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the most likely next words and their probabilities, whole words with every tokenizer.

    Columns: prompt, word, probability. The probability is conditional on another word following on the line. With
    --characters: prompt, character (empty where the text ends), probability; --json has in `left_out` the probability
    of all below --floor.
    """
    from foretell.data.text_files import Report, mended
    from foretell.evaluate.characters import next_characters
    from foretell.evaluate.completion import next_words
    from foretell.tools.measure.score import read_lines

    model = open_model(run, mix, mix_weights, which, device)
    scorer = model.static.scorer(ranks=False)
    texts = read_lines([], Report()) if prompts is None else [mended(prompt).text for prompt in prompts]
    if characters:
        if complete:
            raise ConfigError("--characters follow the prompt as it is; leave out --complete")
        if words is not None:
            raise ConfigError("--words counts words, and --characters prints all that --floor leaves; leave one out")
        found = (
            (text, noted(text, next_characters(scorer, model.tokenizer, text, model.device, floor=floor), floor))
            for text in texts
        )
        if as_json:
            listed = [
                {"prompt": text, "characters": [one._asdict() for one in all_], "left_out": left_out(all_)}
                for text, all_ in found
            ]
            emit({"prompts": listed}, True, properties)
        else:
            rows = ((text, one.character, one.probability) for text, all_ in found for one in all_)
            print_rows(fields(text, character, f"{probability:.6f}") for text, character, probability in rows)
        return
    answers = (
        (
            prompt,
            noted(
                prompt,
                next_words(scorer, model.tokenizer, prompt, words or 10, model.device, complete=complete, floor=floor),
                floor,
            ),
        )
        for prompt in texts
    )
    if as_json:
        listed = [{"prompt": prompt, "words": [word._asdict() for word in likely]} for prompt, likely in answers]
        emit({"prompts": listed}, True, properties)
    else:
        rows = ((prompt, *word) for prompt, likely in answers for word in likely)
        print_rows(fields(prompt, word, f"{probability:.6f}") for prompt, word, probability in rows)


def left_out(found: Sequence[Any]) -> float:
    """The probability of the characters below the floor."""
    return max(0.0, 1.0 - math.fsum(one.probability for one in found))


def noted(prompt: str, found: Sequence[Any], floor: float) -> Sequence[Any]:
    """The words or characters found after a prompt; a line on stderr if there are none."""
    if not found:
        sys.stderr.write(f"nothing after {prompt[-40:]!r} has a probability of {floor:g} or more; lower --floor\n")
    return found


def compress(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to compress."), Check(check_file)],
    run: WithRun,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, as FILE.ft."), new("--out")],
    static: Annotated[
        bool, typer.Option("--static", help="Do not learn from the file, with a model that learns as it reads.")
    ] = False,
    mix: MixWith = None,
    mix_weights: MixWeights = None,
    which: Which = "best",
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compress a file by arithmetic coding: to as many bits as the model measures, and about 50 bytes.

    A model of bytes takes any file, any other model UTF-8 that its tokens restore. `decompress` needs the same run, on
    the same kind of machine and versions of libraries.
    """
    from foretell.tools.use import compress as tool

    model = open_model(run, mix, mix_weights, which, "cpu")
    emit(tool.compress(model, file, out, static=static), as_json, tool.render)


def decompress(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that compress wrote."), Check(check_compressed)],
    run: WithRun,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write."), new("--out")],
    mix: MixWith = None,
    which: Which = "best",
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Restore a compressed file, with the run that it was compressed with (and --mix, where a mixture was used)."""
    from foretell.tools.use import compress as tool

    weights = ",".join(["1", *["0"] * len(mix)]) if mix else None  # those it was compressed with are in the file
    model = open_model(run, mix, weights, which, "cpu")
    emit(tool.decompress(model, file, out), as_json, tool.render)


def features(
    run: RunArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]", help="Text files, one text per line; - or none: stdin."),
        Check(check_file),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=".npy or .parquet file to write; default: rows of numbers on stdout."),
        new("--out"),
    ] = None,
    pooling: Pooling = "mean",
    layers: Layers = "-1",
    mix: Annotated[
        Path | None,
        typer.Option(metavar="PROBE", help="Mix layers with the weights learned by a probe."),
        Check(read_mix),
    ] = None,
    prepare: Prepare = None,
    tokens: TokenBudget = 4096,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compute a vector per line, in order and in constant memory, from any layers and pooling."""
    from foretell.api.trained import load_run
    from foretell.tools.use import features as tool

    paths = files or []
    settings = tool.settings_of(pooling, layers, prepare, tokens, mix)
    extractor = load_run(run, which=which, device=device).extractor(**settings)
    if out is not None:
        emit(tool.write_features(extractor, paths, out, quiet=as_json), as_json, properties)
    elif as_json:
        emit(tool.all_features(extractor, paths), True, properties)
    else:
        print_rows(tool.print_features(extractor, paths))


def predict(
    run: RunArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]", help="Files of examples; - or none: stdin."),
        Check(check_file),
    ] = None,
    form: Annotated[
        Literal["lines", "data"] | None,
        typer.Option(
            help="lines: an example per line, parts separated by tabs; data: files in the format of the training data; "
            "default: data for a file like those."
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="In files like the training data: skip rows that are not valid examples.")
    ] = False,
    with_text: Annotated[bool, typer.Option("--with-text", help="Print each text after its prediction.")] = False,
    words: Annotated[
        Literal["punctuation", "whitespace"] | None,
        typer.Option(
            help="Tags: split punctuation from words, or (tokenised text) only at whitespace; default: as in the run."
        ),
    ] = None,
    which: Which = "best",
    device: Device = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the prediction of a task for each example, in order; with --json including texts and probabilities.

    A line is a text, or a pair separated by a tab; a context and its options; a question and a passage. An empty line
    is answered by an empty line. Positions in a text are characters from 0, the end exclusive.
    """
    from foretell.api.trained import load_run
    from foretell.tools.use.predict import Source, all_predictions, print_predictions

    model, source = load_run(run, which=which, device=device), Source(files or [], form, skip_bad, words)
    if as_json:
        emit(all_predictions(model, source), True, properties)
    else:
        print_rows(print_predictions(model, source, with_text))


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="File (.arpa, .arpa.gz) or folder to write."), new("--out")],
    to: Annotated[
        Literal["arpa", "hf"] | None,
        typer.Option(help="Format: arpa, or hf for a Hugging Face folder; default: by --out and the model."),
    ] = None,
    which: Which = "best",
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Export a model: n-grams as an ARPA file, Transformers as a Hugging Face folder."""
    from foretell.api.trained import load_run
    from foretell.tools.use.convert import export_run

    emit(export_run(load_run(run, which=which, device="cpu"), out, to), as_json, properties)


def push(
    run: RunArgument,
    to: Annotated[
        str, typer.Argument(metavar="hf:OWNER/NAME", help="Repository on the Hugging Face hub."), Check(check_hub_name)
    ],
    public: Annotated[bool, typer.Option("--public", help="Let everyone read a new repository.")] = False,
    trust: Trust = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Upload a run to the Hugging Face hub; `hf:OWNER/NAME` then names it wherever a run is named.

    Uploaded are its recipe, tokenizer, records, best and last checkpoint, and a model card. Take care: the recipe names
    your texts, and the records your machine and command. A new repository is private unless --public.
    """
    from foretell.api.trained import load_run
    from foretell.tools.use import push as tool

    emit(tool.push(load_run(run, device="cpu"), to, public=public), as_json, properties)


def import_(
    path: Annotated[
        Path,
        typer.Argument(help="ARPA file (.arpa, .arpa.gz), Hugging Face folder, or hf:OWNER/NAME."),
        Check(check_import),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to write."), new("--out")],
    corpus: Annotated[
        str, typer.Option(help="Corpus that the run is measured on."), Check(check_corpus)
    ] = "python-docs",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="tokenizer.json of its vocabulary; default: that of the folder, or the words of the file."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Import a model of another program as a run."""
    from foretell.tools.use.convert import import_path

    result = import_path(path, out, corpus, tokenizer)
    told = ("missing", "surplus")  # by warnings
    emit(result, as_json, lambda result: properties({key: result[key] for key in result if key not in told}))
