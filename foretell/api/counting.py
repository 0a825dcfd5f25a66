"""Models that are counted in one pass, not trained by gradient."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foretell import units
from foretell.data.store.store import Split
from foretell.data.tokenizers.tokenizer import Tokenizer, tokenizer_of
from foretell.errors import ConfigError
from foretell.learning.data_module import DataModule
from foretell.learning.opened_text import open_text
from foretell.learning.text import LikelihoodEvaluator, TextModule
from foretell.models.counted import CountedConfig, CountedModel
from foretell.recipe.loading import recipe_of
from foretell.recipe.recipe import Recipe
from foretell.run import Record, Run
from foretell.run_names import MEMBERS
from foretell.training import checkpoint
from foretell.training.checkpoint import TrainState
from foretell.training.monitor import Monitor

Part = tuple[NDArray[Any], NDArray[np.int64]]
"""tokens [N] of a text, and where in them contexts begin"""
NOWHERE = np.zeros(0, dtype=np.int64)


def count(run: Run, recipe: Recipe, data: DataModule, monitor: Monitor) -> CountedModel:
    """Count on the training split, measure the model, save it as the run's only checkpoint."""
    begin, module, config = time.monotonic(), cast(TextModule, data), cast(CountedConfig, recipe.model)
    tokenizer, resets = module.tokenizer, recipe.data.batches.resets
    module.check("valid")
    parts = [*texts_of(recipe, tokenizer, monitor), text_of(recipe, module.train)]
    if any(np.array_equal(tokens, parts[-1][0]) for tokens, _ in parts[:-1]):
        monitor.say(f"this text is counted twice: it is a text of {recipe.init} already")
    tokens, starts = joined(parts, tokenizer.boundary)
    monitor.say(f"counting {len(tokens):,} tokens")
    with monitor.activity("counting") as on_progress:
        limit = recipe.limit.value if recipe.limit.unit == "seconds" else math.inf
        left = max(limit - (time.monotonic() - begin), 0.5 * limit)
        model = config.fit(tokens, starts, tokenizer.boundary, tokenizer.size, on_progress, left)
    unit = "line" if tokenizer.ends_lines or resets == "lines" else "document"
    for line in model.summary_lines(unit):
        monitor.say(line)
    place = {"stage": "counting", "step": 0, "epoch": 1.0}
    fitted = {"tokens": len(tokens), "seconds": time.monotonic() - begin, **model.report()}
    run.append({"kind": "fit", **place, **fitted})
    took = units.duration(fitted["seconds"])
    if fitted["tokens"] < len(tokens):
        monitor.say(f"read {fitted['tokens']:,} of {len(tokens):,} tokens in {took}, above all the end of the text")
    elif fitted["seconds"] > limit + 5:
        monitor.say(f"took {took}, more than the limit: such a model counts all of its text")
    columns, scorer = recipe.evaluation.columns, model.scorer(ranks=False)
    measured = LikelihoodEvaluator(module, scorer, torch.device("cpu"), columns=columns).evaluate("valid")
    validation = {"kind": "valid", **place, **measured}
    run.append(validation)
    monitor.say(f"validation perplexity {measured['perplexity']:.2f}  {measured['bits_per_byte']:.4f} bits/byte")
    save_finished(run, model.tensors(), validation)
    return model


def text_of(recipe: Recipe, text: Split) -> Part:
    """The tokens of a training split that a recipe counts, and where their contexts begin."""
    starts = {"documents": text.documents, "lines": text.lines}.get(recipe.data.batches.resets, NOWHERE)
    tokens = text.tokens[: int(recipe.limit.value)] if recipe.limit.unit == "tokens" else text.tokens
    starts = np.asarray(starts[:-1])
    return tokens, starts[starts < len(tokens)]


def texts_of(to_train: Recipe, tokenizer: Tokenizer, monitor: Monitor) -> list[Part]:
    """The texts that the counts of the run `init` are of, which are counted again; none without a run.

    Raises `ConfigError` where a text is missing or has changed, or where the run has other tokens.
    """
    if not (init := to_train.init):
        return []
    run, recipe = open_counted(init)
    if (theirs := recipe.model.kind_name()) != (ours := to_train.model.kind_name()):
        monitor.say(f"init: only the text of {init} is used, as {theirs} and {ours} have no counts in common")
    if tokenizer_of(run).fingerprint != tokenizer.fingerprint:
        raise ConfigError(f"init: {init} counts other tokens; leave data.tokenizer out, so that its tokenizer is used")
    opened = open_text(run, recipe.data, tokenizer, "train", monitor)
    with opened as text:
        if opened.note():
            raise ConfigError(f"init: the text of {init} has changed since it was counted; count both texts again")
        part = text_of(recipe, text)
    return [*texts_of(recipe, tokenizer, monitor), part]


def open_counted(init: str) -> tuple[Run, Recipe]:
    """A counted run and its recipe; a `ConfigError` for another run."""
    run = Run.open(init)
    recipe = recipe_of(run).resolved_stages()[-1][1]
    if recipe.model.made_of_runs:
        raise ConfigError(f"init: {init} is a mixture; name one of its runs, in {run.path / MEMBERS}")
    if not recipe.model.counted:
        raise ConfigError(
            f"init: {init} is not an n-gram run, and an n-gram model is counted from its text alone; set init=''"
        )
    return run, recipe


def joined(parts: Sequence[Part], boundary: int) -> Part:
    """Texts one after another, each with a boundary at its end, as the documents of one text have it."""
    if len(parts) == 1:
        return parts[0]
    texts, starts, begin = [], [], 0
    for tokens, places in parts:
        ends = [] if tokens[-1:].tolist() == [boundary] else [boundary]
        texts.append(np.append(tokens, np.array(ends, dtype=tokens.dtype)))
        starts.append(places + begin)
        begin += len(texts[-1])
    return np.concatenate(texts), np.concatenate(starts)


def save_finished(run: Run, tensors: Mapping[str, Tensor], validation: Record | None = None) -> None:
    """A model that is complete as it is, as the run's only checkpoint."""
    facts = {"step": 0, "weights": "raw"}
    record = {"pointers": {"last": facts, "best": facts}, "position": vars(TrainState(finished=True))}
    checkpoint.save(run, 0, {"model": tensors}, {**record, "validation": validation or {}})
