"""Models that are counted in one pass, not trained by gradient."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from foretell.learning.data_module import DataModule
from foretell.learning.text import LikelihoodEvaluator, TextModule
from foretell.models.counted import CountedConfig
from foretell.recipe.recipe import Recipe
from foretell.run import Record, Run
from foretell.training import checkpoint
from foretell.training.checkpoint import TrainState
from foretell.training.monitor import Monitor


def count(run: Run, recipe: Recipe, data: DataModule, monitor: Monitor) -> None:
    """Count on the training split, measure the model, save it as the run's only checkpoint."""
    begin, module, config = time.monotonic(), cast(TextModule, data), cast(CountedConfig, recipe.model)
    text, tokenizer, resets = module.train, module.tokenizer, recipe.data.batches.resets
    starts = {"documents": text.documents, "lines": text.lines}.get(resets, np.zeros(0, dtype=np.int64))
    tokens = text.tokens[: int(recipe.limit.value)] if recipe.limit.unit == "tokens" else text.tokens
    starts = np.asarray(starts[:-1])
    module.check("valid")
    monitor.say(f"counting {len(tokens):,} tokens")
    with monitor.activity("counting") as on_progress:
        model = config.fit(tokens, starts[starts < len(tokens)], tokenizer.boundary, tokenizer.size, on_progress)
    unit = "line" if tokenizer.ends_lines or resets == "lines" else "document"
    for line in model.summary_lines(unit):
        monitor.say(line)
    place = {"stage": "counting", "step": 0, "epoch": 1.0}
    counted = {"tokens": len(tokens), "seconds": time.monotonic() - begin}
    run.append({"kind": "fit", **place, **counted, **model.report()})
    columns, scorer = recipe.evaluation.columns, model.scorer(ranks=False)
    measured = LikelihoodEvaluator(module, scorer, torch.device("cpu"), columns=columns).evaluate("valid")
    validation = {"kind": "valid", **place, **measured}
    run.append(validation)
    monitor.say(f"validation perplexity {measured['perplexity']:.2f}  {measured['bits_per_byte']:.4f} bits/byte")
    save_finished(run, model.tensors(), validation)


def save_finished(run: Run, tensors: Mapping[str, Tensor], validation: Record | None = None) -> None:
    """A model that is complete as it is, as the run's only checkpoint."""
    facts = {"step": 0, "weights": "raw"}
    record = {"pointers": {"last": facts, "best": facts}, "position": vars(TrainState(finished=True))}
    checkpoint.save(run, 0, {"model": tensors}, {**record, "validation": validation or {}})
