"""Speed of training steps, output layers and scans on a device.

Steps run through foretell's trainer, compared with plain torch and transformers, if installed, in a loop that neither
loads nor masks anything. TFLOP/s count matrix products as in PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix
B): 6 per weight that a token is multiplied by, including the output layer but no tables of words and positions, and
12 x layers x width x length for attention over whole rows. An output layer counts for the tokens that need it: 15 % of
them in a masked model, though peers compute all. Recomputation counts once. Shares of the peak refer to the best large
product measured here in the same precision; in brackets, without attention.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import torch
from gpu_models import WORK, Work
from gpu_plan import Plan, Record
from torch import Tensor, nn

from foretell.bench.workloads import bert
from foretell.bench.workloads.workload import random_tokens, trainer_of
from foretell.kernels.scan import linear_scan
from foretell.nn.heads import AdaptiveHeadConfig, FullHeadConfig, Head
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.types import IGNORED


def speeds(plan: Plan, peaks: Record) -> Iterator[Record]:
    """Time steps of foretell and of plain loops, with tokens/s and TFLOP/s."""
    for work in WORK:
        work = work.shrunk() if plan.tiny else work
        for precision in work.precisions:
            for side in ("ours", "ours, compiled", *work.peers):
                record: Record = {"work": work.name, "precision": precision, "side": side}
                skipped = plan.tiny or precision == "fp32" or not work.compiled
                if plan.late or (side == "ours, compiled" and skipped):
                    if plan.late:
                        yield record | {"not_measured": "no time left"}
                    continue
                try:
                    yield record | speed(work, precision, side, plan, peaks[f"{precision} TFLOP/s"])
                except (RuntimeError, ImportError) as problem:  # out of memory, or not installed
                    yield record | {"not_measured": str(problem).splitlines()[0][:200]}


def output_layers(plan: Plan, peaks: Record) -> Iterator[Record]:
    """Time forward and backward of heads over a large vocabulary, compared with torch."""
    vocabulary, width, rows, cutoffs = (300, 16, 12, (20, 90)) if plan.tiny else (267_735, 1024, 4096, (20_000, 60_000))
    adaptive = AdaptiveHeadConfig(cutoffs=cutoffs, bias=False)
    sides: dict[str, tuple[str, Callable[[], nn.Module]]] = {
        "ours": ("adaptive softmax", lambda: adaptive.build(width, vocabulary, None)),
        "torch.nn.AdaptiveLogSoftmaxWithLoss": (
            "adaptive softmax",
            lambda: nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary, list(cutoffs), 4.0),
        ),
        "ours, full": ("full softmax", lambda: FullHeadConfig().build(width, vocabulary, None)),
        "torch.nn.Linear": ("full softmax", lambda: nn.Linear(width, vocabulary)),
    }
    frequencies = 1 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    targets = torch.multinomial(frequencies, rows, replacement=True).to(plan.device)
    hidden = torch.randn(rows, width, device=plan.device, requires_grad=True)
    for side, (work, make) in sides.items():
        for precision in ("fp32",) if "Adaptive" in side else ("fp32", "bf16"):  # torch's fails under autocast
            record: Record = {"work": work, "precision": precision, "side": side}
            if plan.late:
                yield record | {"not_measured": "no time left"}
                continue
            module = make().to(plan.device)
            if plan.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()

            def step(module: nn.Module = module, precision: str = precision) -> None:
                module.zero_grad(set_to_none=True)
                with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    loss = head_loss(module, hidden, targets)
                loss.backward()

            seconds = plan.seconds(step, 10)
            rate = None if work == "adaptive softmax" else 6 * rows * width * vocabulary / seconds / 1e12
            yield record | {
                "milliseconds": 1000 * seconds,
                "tokens_per_second": rows / seconds,
                "teraflops": rate,
                "share_of_peak": None if rate is None else rate / peaks[f"{precision} TFLOP/s"],
                "peak_memory_bytes": torch.cuda.max_memory_allocated() if plan.device.type == "cuda" else None,
            }


def head_loss(module: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of a head of foretell or torch."""
    if isinstance(module, Head):
        return module.nll(hidden, targets).mean()
    if isinstance(module, nn.Linear):
        return nn.functional.cross_entropy(module(hidden).float(), targets)
    loss: Tensor = module(hidden, targets).loss
    return loss


def speed(work: Work, precision: str, side: str, plan: Plan, peak: float) -> Record:
    """Time one side of a work; `peak`: TFLOP/s of the device."""
    settings = {"training.precision": precision, "training.compile": side == "ours, compiled"}
    recipe = load_recipe(work.recipe, work.settings | settings)
    tokens = recipe.data.batches.batch * recipe.data.batches.length
    gc.collect()  # memory of the previous side
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    step = plain_step(work, recipe, precision, side, plan) if side in work.peers else our_step(work, recipe, plan)
    step()
    plan.wait()
    first = time.perf_counter() - begin
    seconds = plan.seconds(step, 20)
    memory = torch.cuda.max_memory_allocated() if plan.device.type == "cuda" else None
    rate, plain = (flops * tokens / seconds / 1e12 for flops in flops_per_token(recipe, work.vocabulary))
    return {
        "milliseconds": 1000 * seconds,
        "first_step_seconds": first,
        "tokens_per_second": tokens / seconds,
        "teraflops": rate,
        "share_of_peak": rate / peak,
        "share_of_peak_without_attention": plain / peak,
        "peak_memory_bytes": memory,
    }


def flops_per_token(recipe: Recipe, vocabulary: int) -> tuple[float, float]:
    """FLOPs per token of a training step, with and without the products of attention."""
    with torch.device("meta"):
        objective = recipe.build(vocabulary)
    length = recipe.data.batches.length
    total = objective.macs_per_token(length)
    attention = objective.backbone.macs_per_token(length) - objective.backbone.macs_per_token(0)
    return 6 * total, 6 * (total - attention)


def our_step(work: Work, recipe: Recipe, plan: Plan) -> Callable[[], None]:
    """A step of foretell's trainer, loading and masking included."""
    torch.manual_seed(0)
    if recipe.training.compile:
        torch.compiler.reset()  # it compiles only a few versions of a function
    count = recipe.data.batches.batch * recipe.data.batches.length * 50
    if recipe.requires == "rows":
        marks, tokenizer = len(bert.MARKS), bert.word_tokenizer(work.vocabulary)
        tokens = random_tokens(work.vocabulary - marks, count) + marks
    else:
        tokens, tokenizer = random_tokens(work.vocabulary, count), None
    trainer = trainer_of(recipe, work.vocabulary, tokens, str(plan.device), tokenizer)
    return lambda: trainer.step(trainer.progress())


def plain_step(work: Work, recipe: Recipe, precision: str, side: str, plan: Plan) -> Callable[[], None]:
    """A step of a plain model in a plain loop, on the same tokens each time."""
    torch.manual_seed(0)
    model = work.peers[side](recipe, work.vocabulary).to(plan.device).train()
    optimizer = recipe.optimizer.build(list(model.parameters()))
    rows, length = recipe.data.batches.batch, recipe.data.batches.length
    data = torch.randint(work.vocabulary, (rows, length + 1), device=plan.device)
    inputs, targets = data[:, :-1], data[:, 1:]
    if recipe.requires == "rows":
        targets = inputs.masked_fill(torch.rand(inputs.shape, device=plan.device) >= 0.15, IGNORED)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
            scores = model(inputs)
        nn.functional.cross_entropy(scores.float().flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.gradient_clip or 1.0)
        optimizer.step()

    return step


SCANS = ((140, 40, 1550), (512, 64, 1024), (4096, 8, 1024), (4096, 16, 4096))
"""steps, rows, width"""


def scans(plan: Plan) -> Iterator[Record]:
    """Time forward and backward of the linear scan, compared with torch.nn.LSTM of that size.

    GB/s counts nine arrays: factors and terms read, states written; factors and gradient read, gradient of the terms
    written; that and the states read, gradient of the factors written.
    """
    for steps, rows, width in ((7, 2, 3),) if plan.tiny else SCANS:
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            for side in ("scan", "nn.LSTM"):
                record: Record = {"work": f"scan {steps} x {rows} x {width}", "precision": precision, "side": side}
                if plan.late:
                    yield record | {"not_measured": "no time left"}
                    continue
                try:
                    seconds = scan_seconds(side, (steps, rows, width), dtype, plan)
                except RuntimeError as problem:
                    yield record | {"not_measured": str(problem).splitlines()[0][:200]}
                    continue
                traffic = 9 * steps * rows * width * dtype.itemsize / seconds / 1e9 if side == "scan" else None
                speed = {"milliseconds": 1000 * seconds, "tokens_per_second": steps * rows / seconds}
                yield record | speed | {"gigabytes_per_second": traffic}


def scan_seconds(side: str, shape: tuple[int, int, int], dtype: torch.dtype, plan: Plan) -> float:
    """Seconds of forward and backward of one side."""
    a, b, direction = (torch.rand(shape, device=plan.device, dtype=dtype) for _ in range(3))
    wanted = [a.requires_grad_(), b.requires_grad_()]
    if side == "scan":
        return plan.seconds(lambda: torch.autograd.grad(linear_scan(a, b), wanted, direction), 20)
    layer = nn.LSTM(shape[2], shape[2], device=plan.device, dtype=dtype)
    parameters = [b, *layer.parameters()]
    return plan.seconds(lambda: torch.autograd.grad(layer(b)[0], parameters, direction), 5)
