"""Estimating a 5-gram model: counting, discounts, saving, one validation."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload


def inputs(folder: Path, tiny: bool) -> dict[str, str]:
    """Training and validation text of WikiText-2, or a few lines."""
    from foretell.data.text.builtin import open_builtin

    paths = {split: folder / f"{split}.txt" for split in ("train", "valid")}
    for split, path in paths.items():
        pieces = [] if tiny else [piece.text for piece in open_builtin("wikitext-2").pieces(split)]
        path.write_text("".join(pieces) or "a rose is a rose is a rose\nand a nose is not\n" * 50, encoding="utf-8")
    return {split: str(path) for split, path in paths.items()}


def ours(job: Job) -> dict[str, Any]:
    """The work of `foretell train ngram-5`."""
    import torch

    from foretell.api.train import run_recipe
    from foretell.recipe.loading import load_recipe

    torch.set_num_threads(job.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORETELL_CACHE"] = f"{folder}/cache"  # an empty cache
        recipe = load_recipe("ngram-5", {"data.corpus": job.inputs})
        trained = run_recipe(recipe, Path(folder) / "run", False, True)
        record = trained.summary()
    return {"seconds": job.elapsed(), "loss": record["loss"], "tokens": record["trained_tokens"]}


NGRAM = Workload(
    name="ngram",
    text="estimating a 5-gram model on WikiText-2",
    work=(
        "interpolated modified Kneser-Ney of order 5 over the 2.1 million words of WikiText-2; seconds from the start "
        "of the process until the model is counted from plain text, saved, validated and opened again"
    ),
    sides=(Side(OURS, ours, ("torch",)),),
    inputs=inputs,
)
