"""What is wrong with a run folder, and whether it can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from foretell.config import Tree
from foretell.data.corpus import open_corpus
from foretell.data.encoding import Tokenizer, load_tokenizer
from foretell.data.labelled import find_set
from foretell.data.store import is_store, load_counts
from foretell.errors import ConfigError
from foretell.examples import load_names
from foretell.models.ngram import NGramConfig
from foretell.nn.adapter import adapters_in
from foretell.nn.vocabulary import Counts
from foretell.objectives.masked import MaskedConfig
from foretell.objectives.replaced import ReplacedConfig
from foretell.recipe import SOME_LABELS, Recipe, load_recipe
from foretell.run import Run, free_space, judged
from foretell.tools.findings import check, read
from foretell.tools.show import readable
from foretell.training.checkpoint import Checkpoint, digest
from foretell.training.tensors import weights

EARLY = 500
"""steps after which a masked model knows the frequencies of tokens, and should know more"""
PLATEAU = 0.97
"""the share of the loss by frequencies alone above which it does not"""
BLIND = 0.01
"""the share of replaced tokens below which a main model that looks for them finds none"""


def examine_run(path: Path | str) -> Tree:
    """A run folder: recipe, tokenizer, each checkpoint, records, and whether it can be resumed."""
    run = Run.open(path)
    recipe, shapes, findings = examine_settings(run)
    saved = {p.name: examine_checkpoint(p, shapes) for p in sorted(run.checkpoints.glob("step-*"))}
    intact = [name for name, facts in saved.items() if not facts["problem"]]
    position = read_json(run.checkpoints / intact[-1] / "record.json")["position"] if intact else {}
    records = [record for record in run.metrics() if "loss" in record]
    valid = [record for record in records if record["kind"] == "valid"]
    result = {
        "what": "run",
        "run": str(run.path),
        "checkpoints": saved,
        **{name: read_json(run.checkpoints / f"{name}.json") for name in ("best", "last")},
        "half_written": [p.name for p in run.checkpoints.glob(".step-*")],
        "last_record": records[-1] if records else None,
        "best_validation": min(valid, key=judged, default=None),
        "finished": bool(position.get("finished")),
        "resumable": bool(recipe and shapes and intact and not position.get("finished")),
        "disk_free_bytes": free_space(run.path),
    }
    findings += run_findings(run, result)
    if recipe and isinstance(recipe.objective, MaskedConfig):
        findings += plateau_findings(run, recipe, valid)
    if recipe and isinstance(recipe.objective, ReplacedConfig):
        findings += blindness_findings(valid)
    return result | {"findings": findings}


def run_findings(run: Run, found: Mapping[str, Any]) -> list[Tree]:
    """What of a run's checkpoints and records needs attention."""
    saved, free = found["checkpoints"], found["disk_free_bytes"]
    findings = []
    do = "remove this folder; --resume goes on from the newest intact one"
    for name, facts in saved.items():
        text = facts["problem"] or "intact"
        findings.append(check(not facts["problem"], name, text, do, "error"))
    do = "it names no intact checkpoint: train further with --resume"
    for name in ("best", "last"):
        meant = str(found[name].get("checkpoint", "none yet"))
        findings.append(check(meant in saved and not saved[meant]["problem"], name, meant, do))
    largest = max((facts["bytes"] for facts in saved.values()), default=0)
    text = f"{readable(free)} free, a checkpoint takes {readable(largest)}"
    findings.append(check(free > 2 * largest, "disk", text, "free some before going on"))
    whole, written = sum(1 for _ in run.metrics()), len(read(str(run.metrics_file)).splitlines())
    text = f"{whole} in metrics.jsonl" + (f", {written - whole} unreadable" if written > whole else "")
    do = "a line is damaged or cut off; --resume writes what it needs again"
    return [*findings, check(whole == written, "records", text, do)]


def plateau_findings(run: Run, recipe: Recipe, valid: Sequence[Tree]) -> list[Tree]:
    """Whether a masked model has learnt more than how often each token occurs: where such trainings get stuck."""
    counts = load_counts(run.counts_file)
    if counts is None or not valid or valid[-1]["step"] < EARLY:
        return []
    by_frequency, loss = unigram_entropy(counts, load_tokenizer(run.tokenizer_file)), float(valid[-1]["masked_loss"])
    text = f"masked loss {loss:.3f} at step {valid[-1]['step']:,}; by frequency alone it would be {by_frequency:.3f}"
    do = (
        "it has learnt how often tokens occur and little else: train longer, raise optimizer.learning_rate behind a "
        "longer schedule.warmup, or make more steps of a smaller data.batches.batch"
    )
    if getattr(getattr(recipe.model, "positions", None), "kind", "") == "learned":
        do += '; model.positions.kind = "rotary" learns the order of tokens much sooner'
    return [check(loss < PLATEAU * by_frequency, "masked loss", text, do)]


def blindness_findings(valid: Sequence[Tree]) -> list[Tree]:
    """Whether the main model of ELECTRA finds any token that was replaced: calling all of them original is right for
    the most part, and all that a model can do whose vectors have become alike."""
    found = valid[-1].get("replaced_recall") if valid else None
    if found is None or valid[-1]["step"] < EARLY:
        return []
    text = f"{found:.1%} of replaced tokens found at step {valid[-1]['step']:,}"
    do = (
        "it calls every token original, and may stay like that: train anew with a lower optimizer.learning_rate and a "
        "longer schedule.warmup; features of such a model are worth nothing"
    )
    return [check(found > BLIND, "replaced tokens", text, do)]


def unigram_entropy(counts: Counts, tokenizer: Tokenizer) -> float:
    """The loss in nats of guessing tokens of text by how often they occur, those left out that are never masked."""
    of_text = np.delete(counts, tokenizer.specials.marks)
    share = of_text[of_text > 0] / of_text.sum()
    return float(-(share * np.log(share)).sum())


def examine_settings(run: Run) -> tuple[Recipe | None, dict[str, list[int]] | None, list[Tree]]:
    """The recipe, the names and shapes of the weights it asks for, and what is wrong with these."""
    try:
        recipe = load_recipe(run.recipe_file)
    except ConfigError as problem:
        do = "mend the file: nothing can be used without it"
        return None, None, [check(False, "recipe", str(problem), do, "error")]
    findings, shapes = [check(True, "recipe", recipe.name or "loads", "")], None
    try:
        findings.append(check(True, "corpus", found_corpus(recipe), ""))
    except ConfigError as problem:
        do = "bring the text back: evaluating and resuming need it"
        findings.append(check(False, "corpus", str(problem), do))
    labels = SOME_LABELS
    try:
        labels = len(load_names(run.labels_file)) if recipe.is_task else SOME_LABELS
    except ConfigError as problem:
        do = "bring it back from a copy: nothing can be predicted without it"
        findings.append(check(False, "labels", str(problem), do, "error"))
    try:
        vocabulary = load_tokenizer(run.tokenizer_file).size
        if not isinstance(recipe.model, NGramConfig):  # whose sizes follow from the text
            with torch.device("meta"):
                objective = recipe.build(vocabulary, load_counts(run.counts_file), labels)
            shapes = {name: list(tensor.shape) for name, tensor in weights(objective).items()}
    except ConfigError as problem:
        do = "bring it back from a copy: nothing can be used without it"
        findings.append(check(False, "tokenizer", str(problem), do, "error"))
    return recipe, shapes, findings


def found_corpus(recipe: Recipe) -> str:
    """What a recipe learns from, by name; a `ConfigError` if it is not there."""
    corpus = recipe.data.corpus
    if recipe.is_task:
        files, _ = find_set(corpus, recipe.data.reader)
        return corpus if isinstance(corpus, str) else ", ".join(files)
    return corpus if is_store(corpus) else open_corpus(corpus).name


def examine_checkpoint(path: Path, shapes: Mapping[str, list[int]] | None) -> Tree:
    """The size of a checkpoint and what is wrong with it, if anything."""
    facts: Tree = {"bytes": sum(f.stat().st_size for f in path.iterdir()), "problem": ""}
    record = read_json(path / "record.json")
    if "files" not in record or "position" not in record:
        return facts | {"problem": "record.json is missing or damaged"}
    if not Checkpoint(path).intact():
        wrong = [name for name, known in record["files"].items() if not same(path / name, known)]
        return facts | {"problem": f"damaged or missing: {', '.join(wrong)}"}
    try:
        found = {name: shape for file in Checkpoint(path).weight_files() for name, shape in shapes_in(file)}
    except (OSError, SafetensorError) as problem:
        return facts | {"problem": f"model.safetensors: {problem}"}
    for name in adapters_in(found):  # which come and go with stages
        del found[name]
    if shapes is not None and found != shapes:
        odd = sorted(n for n in found.keys() | shapes if found.get(n) != shapes.get(n))
        return facts | {"problem": f"weights do not fit the recipe: {', '.join(odd[:3])}"}
    return facts


def shapes_in(file: Path) -> list[tuple[str, list[int]]]:
    """The tensors of a file."""
    with safe_open(file, framework="pt") as tensors:
        return [(name, tensors.get_slice(name).get_shape()) for name in list(tensors.keys())]


def same(file: Path, known: str) -> bool:
    """Whether a file is there and has the digest it was written with."""
    return file.is_file() and digest(file) == known


def read_json(path: Path) -> Tree:
    """A JSON object; empty where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
