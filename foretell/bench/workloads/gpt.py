"""Training steps of GPT-2 (Radford et al. 2019) at a small size and at its smallest published one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload, random_tokens, timed, trainer_of

VOCABULARY, CONTEXT, ROWS = 50_257, 256, 8


@dataclass(frozen=True)
class Size:
    """Size of a GPT-2."""

    layers: int
    width: int
    heads: int


SMALL, BASE = Size(4, 256, 4), Size(12, 768, 12)


def sizes(job: Job, size: Size) -> tuple[Size, int, int, int]:
    """Size of the model, vocabulary, context and rows."""
    return (Size(2, 8, 2), 50, 8, 2) if job.tiny else (size, VOCABULARY, CONTEXT, ROWS)


def ours(job: Job, size: Size) -> dict[str, Any]:
    """foretell's trainer."""
    import torch

    torch.set_num_threads(job.threads)
    trainer = make_trainer(job, size)
    _, _, context, rows = sizes(job, size)
    return timed(lambda: trainer.step(trainer.progress()), job, rows * context)


def looped(job: Job) -> dict[str, Any]:
    """CPU seconds of sixty steps of foretell's trainer, everything between steps included, and its overhead over the
    same model and batches in a plain loop; steps alternate, as the speed of the machine drifts."""
    import torch

    torch.set_num_threads(job.threads)
    trainer = make_trainer(job, SMALL)
    stage, objective = trainer.stage, trainer.stage.objective.train()

    def through_trainer(_: int) -> None:
        before = trainer.progress()
        trainer.step(before)
        trainer.after_step(before, trainer.progress())

    def plain(number: int) -> None:
        batch = stage.batches[number]
        stage.optimizer.zero_grad(set_to_none=True)
        (objective(batch, None).terms["loss"].total / batch.targets.numel()).backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        stage.optimizer.step()

    steps, warm = (2, 1) if job.tiny else (60, 2)
    spent = [[cpu_seconds(step, number) for step in (through_trainer, plain)] for number in range(warm + steps)]
    ours, theirs = map(sum, zip(*spent[warm:], strict=True))
    return {"seconds": ours, "overhead": ours / theirs - 1}


def cpu_seconds(step: Callable[[int], None], number: int) -> float:
    """CPU seconds of a step over all cores."""
    begin = time.process_time()
    step(number)
    return time.process_time() - begin


def make_trainer(job: Job, size: Size, device: str = "cpu", precision: str = "fp32") -> Any:
    """A trainer for GPT-2 without dropout on random tokens."""
    from foretell.recipe.loading import load_recipe

    size, vocabulary, context, rows = sizes(job, size)
    recipe = load_recipe(
        {
            "data": {"batches": {"kind": "crops", "batch": rows, "length": context}},
            "model": {
                "kind": "transformer",
                "layers": size.layers,
                "hidden": size.width,
                "heads": size.heads,
                "context": context,
                "activation": "gelu_tanh",
            },
            "head": {"kind": "full", "tied": True, "bias": False},
            "optimizer": {"kind": "adamw", "learning_rate": 6e-4, "betas": [0.9, 0.95], "weight_decay": 0.1},
            "training": {"gradient_clip": 1.0, "precision": precision},
            "limit": "1000steps",
            "evaluation": {"every": "1000steps"},
            "checkpoint": {"every": "1000steps"},
        }
    )
    return trainer_of(recipe, vocabulary, random_tokens(vocabulary, 16 * rows * context), device)


def transformers(job: Job, size: Size) -> dict[str, Any]:
    """transformers' GPT2LMHeadModel in a plain loop."""
    import torch
    import torch.nn.functional as F
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    size, vocabulary, context, rows = sizes(job, size)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
    tokens = torch.from_numpy(random_tokens(vocabulary, rows * (context + 1)).astype("int64")).view(rows, -1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        scores = model(input_ids=tokens[:, :-1]).logits
        F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return timed(step, job, rows * context)


def workload(name: str, text: str, size: Size) -> Workload:
    """The workload of one size."""
    return Workload(
        name=name,
        text=f"a training step of {text}, compared with transformers",
        work=(
            f"GPT-2 of {size.layers} layers, {size.width} wide, {size.heads} heads, vocabulary {VOCABULARY:,}, tied, "
            f"no dropout, {ROWS} rows x {CONTEXT} random tokens; forward, backward, clipping at 1, AdamW; seconds "
            "per step"
        ),
        sides=(
            Side(OURS, partial(ours, size=size), ("torch",)),
            Side("transformers", partial(transformers, size=size), ("transformers", "torch")),
        ),
    )


GPT_STEPS = (workload("gpt-step", "a small GPT-2", SMALL), workload("gpt-step-124m", "GPT-2 124M", BASE))
TRAINER = Workload(
    name="trainer",
    text="overhead of the trainer: sixty steps of it, alternating with a plain loop",
    work=(
        "sixty steps of gpt-step after two warm-up steps: batches, checks, records and console included; alternating "
        "with forward, backward, clipping and AdamW of the same model on the same batches; CPU seconds of ours; "
        "overhead: its excess over the plain loop"
    ),
    sides=(Side(OURS, looped, ("torch",)),),
)
