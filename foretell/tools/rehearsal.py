"""A recipe's trainer on tokens that stand for a text: it takes real steps, and saves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.api.stages import assemble_stage
from foretell.data.batches.batches import Ints
from foretell.data.tokenizers.specials import Specials
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.evaluate.evaluator import FunctionEvaluator
from foretell.recipe.recipe import Recipe
from foretell.run import Run
from foretell.training.checkpoint import TrainState
from foretell.training.monitor import Monitor
from foretell.training.trainer import Trainer

Tokens = NDArray[np.unsignedinteger]


class RunningText:
    """Tokens [N] as a text without documents and lines."""

    def __init__(self, tokens: Tokens):
        self.tokens = tokens
        self.documents: Ints = np.zeros(0, dtype=np.int64)
        self.lines = self.documents


def rehearsal(
    recipe: Recipe,
    vocabulary: int,
    tokens: Tokens,
    folder: Path,
    device: torch.device | str = "cpu",
    tokenizer: Tokenizer | None = None,
) -> Trainer:
    """A trainer for a recipe on given tokens [N]; masked objectives need the tokenizer.

    `folder` is where records of training are written to, if it exists.
    """
    specials = Specials(boundary=0) if tokenizer is None else tokenizer.specials
    batches = recipe.text_batches.build(RunningText(tokens), specials, recipe.seed)
    if tokenizer is not None:
        batches = recipe.objective.batches(batches, tokenizer, recipe.seed)
    stage = assemble_stage(
        recipe,
        recipe.build(vocabulary).to(device),
        batches,
        FunctionEvaluator(dict),
        name="rehearsal",
        bytes_per_token=1.0,
    )
    return Trainer(Run(folder), stage, TrainState(), seed=0, monitor=Monitor(quiet=True))
