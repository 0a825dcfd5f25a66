"""What is wrong with a run folder, and whether it can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from foretell.checksums import verify
from foretell.config import Tree
from foretell.data.labelled.opening import find_set
from foretell.data.opening import open_corpus
from foretell.data.store.store import is_store, load_counts
from foretell.data.tokenizers.tokenizer import Tokenizer, tokenizer_of
from foretell.errors import ConfigError
from foretell.learning.labels import load_labels
from foretell.learning.opened_text import check_trust
from foretell.nn.adapter import adapters_in
from foretell.nn.initializers import on_paper
from foretell.nn.vocabulary import Counts
from foretell.objectives.electra.objective import ReplacedConfig
from foretell.objectives.masked import MaskedConfig
from foretell.recipe.loading import recipe_of
from foretell.recipe.recipe import SOME_LABELS, Recipe
from foretell.run import Record, Run, free_space
from foretell.tools.look.diagnosis import check, read
from foretell.tools.look.show import readable
from foretell.training.checkpoint import Checkpoint, at_step, find, in_order, lost
from foretell.training.state_dict import weights

EARLY = 500
"""steps after which a masked model knows the frequencies of tokens, and should know more"""
PLATEAU = 0.97
"""the share of the loss by frequencies alone above which it does not"""
BLIND = 0.01
"""the share of replaced tokens below which a main model that looks for them finds none"""


def examine_run(path: Path | str) -> Tree:
    """A run folder: recipe, tokenizer, each checkpoint, records, and whether it can be resumed."""
    run = Run.find(path)
    findings = examine_files(run)
    recipe, shapes, found = examine_settings(run)
    findings += found
    there = in_order(run)
    saved = {one.path.name: examine_checkpoint(one, shapes) for one in there}
    intact = [one for one in there if not saved[one.path.name]["problem"]]
    finished = bool(intact) and intact[-1].position().finished
    if not run.is_busy():  # or one that is replaced at this moment would seem gone
        saved |= {path.name: {"bytes": 0, "problem": what} for path, what in lost(run).items()}
    records = [record for record in run.metrics() if "loss" in record]
    valid = [record for record in records if record["kind"] == "valid"]
    result = {
        "what": "run",
        "run": str(run.path),
        "checkpoints": saved,
        **{name: meant(run, name) for name in ("best", "last")},
        "set_aside": sorted(p.name for p in run.checkpoints.glob("damaged-*")),
        "last_record": records[-1] if records else None,
        "best_validation": best_validation(run),
        "finished": finished,
        "resumable": bool(recipe and shapes and intact and not finished),
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
    others = any(not facts["problem"] for facts in saved.values())
    do = "--resume sets it aside and goes on from the newest intact one" if others else "bring it back from a copy"
    for name, facts in saved.items():
        text = facts["problem"] or "intact"
        findings.append(check(not facts["problem"], name, text, do, "error"))
    do = "train further with --resume"
    for name in ("best", "last"):
        checkpoint = found[name] or "none yet"
        findings.append(check(checkpoint in saved and not saved[checkpoint]["problem"], name, checkpoint, do))
    largest = max((facts["bytes"] for facts in saved.values()), default=0)
    text = f"{readable(free)} free, a checkpoint takes {readable(largest)}"
    findings.append(check(free > 2 * largest, "disk", text, "free some before going on"))
    whole, written = sum(1 for _ in run.metrics()), len(read(str(run.metrics_file)).splitlines())
    text = f"{whole} in metrics.jsonl" + (f", {written - whole} unreadable" if written > whole else "")
    do = "a line is damaged or cut off; --resume writes what it needs again"
    findings.append(check(whole == written, "records", text, do))
    if run.unnormalised:
        do = "do not compare its figures with those of other models; correct the file it came from and import it again"
        findings.append(check(False, "probabilities", run.unnormalised, do))
    return findings


def plateau_findings(run: Run, recipe: Recipe, valid: Sequence[Tree]) -> list[Tree]:
    """Whether a masked model has learnt more than how often each token occurs: where such trainings get stuck."""
    counts = load_counts(run.counts_file)
    if counts is None or not valid or valid[-1]["step"] < EARLY:
        return []
    by_frequency, loss = unigram_entropy(counts, tokenizer_of(run)), float(valid[-1]["masked_loss"])
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
        recipe = recipe_of(run)
    except ConfigError as problem:
        do = (
            "mend the file: nothing can be used without it"
            if run.is_trusted
            else "add --trust if you trust who made it"
        )
        return None, None, [check(False, "recipe", str(problem), do, "error")]
    findings, shapes = [check(True, "recipe", recipe.name or "loads", "")], None
    try:
        check_trust(run, recipe.data.corpus)
        findings.append(check(True, "corpus", found_corpus(recipe), ""))
    except ConfigError as problem:
        do = "bring the text back, or go to the folder it was named from: evaluating and resuming need it"
        do = do if run.is_trusted else "name a text of your own, or add --trust if you trust who made it"
        findings.append(check(False, "corpus", str(problem), do))
    labels = SOME_LABELS
    try:
        labels = len(load_labels(run.labels_file)) if recipe.is_task else SOME_LABELS
    except ConfigError as problem:
        do = "bring it back from a copy: nothing can be predicted without it"
        findings.append(check(False, "labels", str(problem), do, "error"))
    try:
        vocabulary = tokenizer_of(run).size
        if not recipe.model.counted:  # whose sizes follow from the text
            with on_paper():
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


def examine_files(run: Run) -> list[Tree]:
    """Which files of the run, its checkpoints apart, are not what was written."""
    findings = []
    for name, expected in run.checksums["files"].items():
        try:
            verify(run.path, {name: expected})
        except ConfigError as problem:
            findings.append(check(False, name, problem.what, "bring it back from a copy", "error"))
    return findings


def meant(run: Run, which: str) -> str | None:
    """The name of the best or the last checkpoint, be it gone or damaged; None where there is none."""
    try:
        found = find(run, which)
    except ConfigError:
        return at_step(run, run.saved[which]).path.name if which in run.saved else None
    return found[0].path.name if found else None


def best_validation(run: Run) -> Record | None:
    """The validation of the best checkpoint; None where there is none, or it cannot be read."""
    try:
        found = find(run, "best")
        return (found[0].validation() or None) if found else None
    except ConfigError:
        return None


def examine_checkpoint(saved: Checkpoint, shapes: Mapping[str, list[int]] | None) -> Tree:
    """The size of a checkpoint and what is wrong with it, if anything."""
    facts: Tree = {"bytes": sum(f.lstat().st_size for f in saved.path.iterdir()), "problem": saved.problem()}
    if facts["problem"]:
        return facts
    found = {name: shape for file in saved.weight_files() for name, shape in shapes_in(file)}
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
