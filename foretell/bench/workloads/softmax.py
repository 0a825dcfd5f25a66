"""Output layers over a large vocabulary: from hidden vectors to gradients of all weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload, timed

VOCABULARY, WIDTH, POSITIONS, SAMPLES = 267_735, 400, 2800, 8192
CUTOFFS = (20_000, 40_000, 200_000)


def sizes(job: Job) -> tuple[int, int, int, tuple[int, ...], int]:
    """Vocabulary, width, positions, cutoffs of the adaptive sides, samples."""
    return (500, 64, 12, (20, 60, 200), 32) if job.tiny else (VOCABULARY, WIDTH, POSITIONS, CUTOFFS, SAMPLES)


def measure(job: Job, make: Callable[..., Any]) -> dict[str, Any]:
    """Seconds of forward and backward."""
    import torch

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    vocabulary, width, positions, _, _ = sizes(job)
    random = torch.Generator().manual_seed(1)
    frequencies = 1 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    targets = torch.multinomial(frequencies, positions, replacement=True, generator=random)
    hidden = torch.randn(positions, width, generator=random, requires_grad=True)
    module, loss = make(job)

    def step() -> None:
        hidden.grad = None
        module.zero_grad(set_to_none=True)
        loss(hidden, targets).backward()

    return timed(step, job, positions)


def head(job: Job, config: Any) -> tuple[Any, Callable[..., Any]]:
    """One of foretell's heads, in training mode."""
    vocabulary, width, *_ = sizes(job)
    built = config.build(width, vocabulary, None)
    return built, lambda hidden, targets: built.nll(hidden, targets).mean()


def adaptive(job: Job) -> dict[str, Any]:
    """foretell's adaptive head."""
    from foretell.nn.heads import AdaptiveHeadConfig

    return measure(job, lambda job: head(job, AdaptiveHeadConfig(cutoffs=sizes(job)[3], bias=False)))


def full(job: Job) -> dict[str, Any]:
    """foretell's full head."""
    from foretell.nn.heads import FullHeadConfig

    return measure(job, lambda job: head(job, FullHeadConfig()))


def sampled(job: Job) -> dict[str, Any]:
    """foretell's sampled head."""
    from foretell.nn.heads import SampledHeadConfig

    return measure(job, lambda job: head(job, SampledHeadConfig(samples=sizes(job)[4])))


def torch_adaptive(job: Job) -> dict[str, Any]:
    """torch.nn.AdaptiveLogSoftmaxWithLoss with the same cutoffs and widths."""

    def make(job: Job) -> tuple[Any, Callable[..., Any]]:
        from torch import nn

        vocabulary, width, _, cutoffs, _ = sizes(job)
        module = nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary, cutoffs=list(cutoffs), div_value=4.0)
        return module, lambda hidden, targets: module(hidden, targets).loss

    return measure(job, make)


def torch_full(job: Job) -> dict[str, Any]:
    """A linear layer and cross-entropy, all scores at once."""

    def make(job: Job) -> tuple[Any, Callable[..., Any]]:
        from torch import nn

        module = nn.Linear(sizes(job)[1], sizes(job)[0])
        return module, lambda hidden, targets: nn.functional.cross_entropy(module(hidden), targets)

    return measure(job, make)


SOFTMAX = Workload(
    name="softmax",
    text="output layers over 267,735 words: adaptive, full, sampled, compared with torch's adaptive and linear layers",
    work=(
        f"vocabulary {VOCABULARY:,}, width {WIDTH}, {POSITIONS:,} positions, target frequencies 1 / rank; adaptive: "
        f"cutoffs {', '.join(f'{cutoff:,}' for cutoff in CUTOFFS)}, tails narrower by 4 each; sampled: {SAMPLES:,} "
        "samples; forward and backward with gradients of all weights; seconds of both; ours: the adaptive head"
    ),
    sides=(
        Side(OURS, adaptive, ("torch",)),
        Side("torch-adaptive", torch_adaptive, ("torch",)),
        Side("ours-full", full, ("torch",)),
        Side("torch-full", torch_full, ("torch",)),
        Side("ours-sampled", sampled, ("torch",)),
    ),
)
