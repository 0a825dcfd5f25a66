"""Examination of a run folder: damage, problems of training, and whether it can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from foretell import units
from foretell.api.loading import load
from foretell.checksums import verify
from foretell.data.store.store import load_counts
from foretell.data.tokenizers.tokenizer import Tokenizer, tokenizer_of
from foretell.errors import ConfigError
from foretell.learning.kinds import data_module
from foretell.learning.opened_text import check_trust
from foretell.nn.adapter import adapters_in
from foretell.nn.initializers import on_paper
from foretell.nn.vocabulary import Counts
from foretell.recipe.loading import recipe_of
from foretell.recipe.recipe import SOME_LABELS, Recipe
from foretell.run import Record, Run, free_space
from foretell.run_names import MEMBERS
from foretell.tools.look.diagnosis import check
from foretell.tools.machine import read
from foretell.training.checkpoint import Checkpoint, at_step, find, in_order, lost
from foretell.training.state_dict import weights
from foretell.trees import Tree

EARLY = 500
"""steps after which a model should have learned more than the frequencies of tokens"""
PLATEAU = 0.97
"""fraction of the unigram entropy above which a loss counts as no better"""
BLIND = 0.01
"""recall of replaced tokens below which a discriminator counts as blind"""


def examine_run(path: Path | str) -> Tree:
    """Examine a run folder: recipe, tokenizer, each checkpoint, records, and whether it can be resumed."""
    run = Run.find(path)
    findings = examine_files(run)
    recipe, shapes, about_settings = examine_settings(run)
    findings += about_settings
    checkpoints = in_order(run)
    saved = {saved.path.name: examine_checkpoint(saved, shapes) for saved in checkpoints}
    intact = [checkpoint for checkpoint in checkpoints if not saved[checkpoint.path.name]["problem"]]
    finished = bool(intact) and intact[-1].position().finished
    if not run.is_busy():  # training replaces checkpoints, which seem lost meanwhile
        saved |= {path.name: {"bytes": 0, "problem": problem, "lost": True} for path, problem in lost(run).items()}
    records = [record for record in run.metrics() if record["kind"] in ("train", "valid")]
    valid = [record for record in records if record["kind"] == "valid"]
    result = {
        "what": "run",
        "run": str(run.path),
        "checkpoints": saved,
        **{name: checkpoint_named(run, name) for name in ("best", "last")},
        "set_aside": sorted(p.name for p in run.checkpoints.glob("damaged-*")),
        "last_record": records[-1] if records else None,
        "best_validation": best_validation(run),
        "finished": finished,
        "resumable": bool(recipe and shapes and intact and not finished),
        "disk_free_bytes": free_space(run.path),
    }
    findings += run_findings(run, result)
    if recipe:
        findings += plateau_findings(run, recipe, valid)
    findings += blindness_findings(valid)
    findings += member_findings(run)
    return result | {"findings": findings}


def member_findings(run: Run) -> list[Tree]:
    """Whether a mixture can be opened with all its runs."""
    try:
        if not recipe_of(run).model.made_of_runs:
            return []
        with run.guarded():
            load(run.path, device="cpu", quiet=True, trust=run.is_trusted)
        problem = ""
    except ConfigError as found:
        problem = str(found)
    return [check(not problem, MEMBERS, problem or "intact", "restore them from a backup, or mix again", "error")]


def run_findings(run: Run, result: Mapping[str, Any]) -> list[Tree]:
    """Findings about checkpoints, disk and records."""
    saved, free = result["checkpoints"], result["disk_free_bytes"]
    findings = []
    others = any(not facts["problem"] for facts in saved.values())
    do = "--resume sets it aside and continues from the newest intact one" if others else "restore it from a copy"
    for name, facts in saved.items():
        text = facts["problem"] or "intact"
        remedy = "restore it from a backup, or continue from the newest left with --resume" if facts["lost"] else do
        findings.append(check(not facts["problem"], name, text, remedy, "error"))
    do = "train further with --resume"
    for name in ("best", "last"):
        checkpoint = result[name] or "none yet"
        findings.append(check(checkpoint in saved and not saved[checkpoint]["problem"], name, checkpoint, do))
    largest = max((facts["bytes"] for facts in saved.values()), default=0)
    text = f"{units.size(free)} free, a checkpoint takes {units.size(largest)}"
    findings.append(check(free > 2 * largest, "disk", text, "free some space before training further"))
    whole, written = sum(1 for _ in run.metrics()), len(read(str(run.metrics_file)).splitlines())
    text = f"{whole} in metrics.jsonl" + (f", {written - whole} unreadable" if written > whole else "")
    do = "a line is damaged or cut off; --resume writes missing records again"
    findings.append(check(whole == written, "records", text, do))
    if run.unnormalised:
        do = "do not compare its figures with those of other models; correct the file it came from and import it again"
        findings.append(check(False, "probabilities", run.unnormalised, do))
    return findings


def plateau_findings(run: Run, recipe: Recipe, valid: Sequence[Tree]) -> list[Tree]:
    """Whether training is stuck at the entropy of token frequencies, a known plateau of masked models."""
    figure = recipe.objective.token_loss
    if not figure or not valid or valid[-1]["step"] < EARLY or (counts := load_counts(run.counts_file)) is None:
        return []
    entropy, loss, name = unigram_entropy(counts, tokenizer_of(run)), float(valid[-1][figure]), figure.replace("_", " ")
    text = f"{name} {loss:.3f} at step {valid[-1]['step']:,}; the unigram entropy is {entropy:.3f}"
    do = (
        "it has learned the frequencies of tokens and little else: train longer, raise optimizer.learning_rate with a "
        "longer schedule.warmup, or take more steps with a smaller data.batches.batch"
    )
    if recipe.model.learns_positions:
        do += '; model.positions.kind = "rotary" learns the order of tokens much sooner'
    return [check(loss < PLATEAU * entropy, name, text, do)]


def blindness_findings(valid: Sequence[Tree]) -> list[Tree]:
    """Whether the discriminator of ELECTRA finds any replaced token: calling all of them original is mostly right, and
    all that a model can do whose vectors have collapsed."""
    recall = valid[-1].get("replaced_recall") if valid else None
    if recall is None or valid[-1]["step"] < EARLY:
        return []
    text = f"{recall:.1%} of replaced tokens found at step {valid[-1]['step']:,}"
    do = (
        "it calls every token original, and may never recover: train again with a lower optimizer.learning_rate and a "
        "longer schedule.warmup; features of such a model are useless"
    )
    return [check(recall > BLIND, "replaced tokens", text, do)]


def unigram_entropy(counts: Counts, tokenizer: Tokenizer) -> float:
    """Entropy in nats of the token frequencies, without special tokens, which are never masked."""
    kept = np.delete(counts, tokenizer.specials.marks)
    shares = kept[kept > 0] / kept.sum()
    return float(-(shares * np.log(shares)).sum())


def examine_settings(run: Run) -> tuple[Recipe | None, dict[str, list[int]] | None, list[Tree]]:
    """The recipe, names and shapes of the weights it describes, and findings about them."""
    try:
        recipe = recipe_of(run)
    except ConfigError as problem:
        do = "fix the file: the run is unusable without it" if run.is_trusted else "add --trust if you trust its author"
        return None, None, [check(False, "recipe", str(problem), do, "error")]
    findings, shapes = [check(True, "recipe", recipe.name or "loads", "")], None
    try:
        check_trust(run, recipe.data.corpus)
        findings.append(check(True, "corpus", data_module(recipe).source, ""))
    except ConfigError as problem:
        do = "restore the text, or change to the folder it was named from: evaluating and resuming need it"
        do = do if run.is_trusted else "name a text of your own, or add --trust if you trust its author"
        findings.append(check(False, "corpus", str(problem), do))
    labels = SOME_LABELS
    try:
        labels = len(data_module(recipe, run=run).labels)
    except ConfigError as problem:
        do = "restore it from a copy: the run cannot predict without it"
        findings.append(check(False, "labels", str(problem), do, "error"))
    try:
        vocabulary = tokenizer_of(run).size
        if not recipe.model.counted:  # its sizes follow from the text
            with on_paper():
                objective = recipe.build(vocabulary, load_counts(run.counts_file), labels)
            shapes = {name: list(tensor.shape) for name, tensor in weights(objective).items()}
    except ConfigError as problem:
        do = "restore it from a copy: the run is unusable without it"
        findings.append(check(False, "tokenizer", str(problem), do, "error"))
    return recipe, shapes, findings


def examine_files(run: Run) -> list[Tree]:
    """Findings about damaged or missing files of the run, except its checkpoints."""
    findings = []
    for name, expected in run.checksums["files"].items():
        try:
            verify(run.path, {name: expected})
        except ConfigError as problem:
            findings.append(check(False, name, problem.what, "restore it from a copy", "error"))
    return findings


def checkpoint_named(run: Run, which: str) -> str | None:
    """Name of the best or the last checkpoint, even if lost or damaged; None if there is none."""
    try:
        found = find(run, which)
    except ConfigError:
        return at_step(run, run.saved[which]).path.name if which in run.saved else None
    return found[0].path.name if found else None


def best_validation(run: Run) -> Record | None:
    """The validation of the best checkpoint; None if there is none, or if it is unreadable."""
    try:
        saved = find(run, "best")
        return (saved[0].validation() or None) if saved else None
    except ConfigError:
        return None


def examine_checkpoint(saved: Checkpoint, shapes: Mapping[str, list[int]] | None) -> Tree:
    """Size of a checkpoint, and its problem, if any."""
    facts: Tree = {
        "bytes": sum(f.lstat().st_size for f in saved.path.iterdir()),
        "problem": saved.problem(),
        "lost": False,
    }
    if facts["problem"]:
        return facts
    stored = {name: shape for file in saved.weight_files() for name, shape in shapes_in(file)}
    for name in adapters_in(stored):  # they come and go with stages
        del stored[name]
    if shapes is not None and stored != shapes:
        odd = sorted(n for n in stored.keys() | shapes if stored.get(n) != shapes.get(n))
        return facts | {"problem": f"weights do not fit the recipe: {', '.join(odd[:3])}"}
    return facts


def shapes_in(file: Path) -> list[tuple[str, list[int]]]:
    """Names and shapes of the tensors in a file."""
    with safe_open(file, framework="pt") as tensors:
        return [(name, tensors.get_slice(name).get_shape()) for name in list(tensors.keys())]
