"""Greedy generation with GPT-2's smallest published size, random weights."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload

PROMPT, NEW, VOCABULARY = 16, 256, 50_257


def sizes(job: Job) -> tuple[dict[str, int], int]:
    """Layers, width, heads and context; number of new tokens."""
    if job.tiny:
        return {"layers": 2, "hidden": 8, "heads": 2, "context": 32}, 4
    return {"layers": 12, "hidden": 768, "heads": 12, "context": 1024}, NEW


def prompts(rows: int) -> Any:
    """[B, T] random tokens."""
    import torch

    return torch.randint(VOCABULARY, (rows, PROMPT), generator=torch.Generator().manual_seed(1))


def ours(job: Job, rows: int) -> dict[str, Any]:
    """foretell's model and `generate`."""
    import torch

    from foretell.evaluate.generate import Sampling, generate
    from foretell.evaluate.scoring import NeuralScorer
    from foretell.recipe.loading import load_recipe

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    size, new = sizes(job)
    model = {"kind": "transformer", "activation": "gelu_tanh"} | size
    recipe = {"model": model, "head": {"tied": True, "bias": False}, "data": {"batches": {"length": PROMPT}}}
    objective = load_recipe(recipe).build(VOCABULARY).eval().requires_grad_(False)
    scorer, tokens = NeuralScorer(objective.backbone, objective.head, ranks=False), prompts(rows)
    begin = time.perf_counter()
    written = list(generate(scorer, tokens, new, Sampling(temperature=0)))
    return figures(begin, rows * len(written))


def transformers(job: Job, rows: int) -> dict[str, Any]:
    """transformers' GPT2LMHeadModel.generate with its cache."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    size, new = sizes(job)
    config = GPT2Config(
        n_layer=size["layers"],
        n_embd=size["hidden"],
        n_head=size["heads"],
        n_positions=size["context"],
        bos_token_id=None,
        eos_token_id=None,
    )
    model, tokens = GPT2LMHeadModel(config).eval(), prompts(rows)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    begin = time.perf_counter()
    with torch.inference_mode():
        written = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, min_new_tokens=new, do_sample=False
        )
    return figures(begin, rows * (written.shape[1] - PROMPT))


def figures(begin: float, tokens: int) -> dict[str, Any]:
    """Seconds since `begin`."""
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "tokens_per_second": tokens / seconds}


def workload(rows: int) -> Workload:
    """The workload of one batch size."""
    return Workload(
        name="generate" if rows == 1 else f"generate-{rows}",
        text=f"greedy generation with GPT-2 124M, {rows} at a time, compared with transformers",
        work=(
            f"GPT-2 124M with random weights, {rows} prompts of {PROMPT} tokens, exactly {NEW} new ones each, greedy; "
            "seconds in total, first call included"
        ),
        sides=(
            Side(OURS, partial(ours, rows=rows), ("torch",)),
            Side("transformers", partial(transformers, rows=rows), ("transformers", "torch")),
        ),
    )


GENERATING = (workload(1), workload(16))
