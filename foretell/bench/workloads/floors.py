"""The limits of the machine: memory bandwidth and matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload

SHAPES = {
    "2048 x 2048 x 2048": (2048, 2048, 2048),
    "1400 x 1150 x 4600": (1400, 1150, 4600),  # AWD-LSTM: inputs of a window
    "20 x 1150 x 4600": (20, 1150, 4600),  # AWD-LSTM: one time step
    "1400 x 400 x 10000": (1400, 400, 10_000),  # AWD-LSTM: the head
    "768 x 128 x 512": (768, 128, 512),  # shakespeare: a feed-forward network
    "2048 x 256 x 50257": (2048, 256, 50_257),  # a small GPT's head
    "16 x 768 x 3072": (16, 768, 3072),  # GPT-2 124M generates sixteen texts: a feed-forward network
    "1 x 768 x 50257": (1, 768, 50_257),  # GPT-2 124M generates one text: the head
}
"""rows x inner x columns of products in other workloads"""


def measure(job: Job) -> dict[str, Any]:
    """GB/s of copy and triad over 256 MB arrays, GFLOP/s of fp32 products, on 1 and on `job.threads` threads."""
    import torch

    begin = time.perf_counter()
    floors = {}
    for threads in sorted({1, job.threads}):
        torch.set_num_threads(threads)
        floors[f"{threads} threads" if threads > 1 else "1 thread"] = dict(bandwidths(job)) | dict(products(job))
    return {"seconds": time.perf_counter() - begin, "floors": floors, "versions": {"torch": torch.__version__}}


def bandwidths(job: Job) -> Iterator[tuple[str, float]]:
    """GB/s, reads and writes counted once each."""
    import torch

    size = 2**20 if job.tiny else 2**26
    one, two, three = (torch.rand(size) for _ in range(3))
    yield "copy GB/s", 8 * size / typical(lambda: two.copy_(one), job) / 1e9
    yield "triad GB/s", 12 * size / typical(lambda: torch.add(one, two, alpha=0.5, out=three), job) / 1e9


def products(job: Job) -> Iterator[tuple[str, float]]:
    """GFLOP/s of torch and of `kernels.matmul`."""
    import torch

    from foretell.kernels.matmul import FEW, PACKED_FROM, product, repeated_product

    for name, (rows, inner, columns) in SHAPES.items():
        if job.tiny and rows * inner * columns > 1e9:
            continue
        inputs, weight = torch.randn(rows, inner), torch.randn(columns, inner)
        with torch.no_grad():
            again = repeated_product(weight, PACKED_FROM) if 1 < rows <= FEW else partial(product, weight=weight)
            for how, multiply in (("", partial(torch.nn.functional.linear, weight=weight)), (", ours", again)):
                seconds = typical(partial(multiply, inputs), job)
                yield f"{name} GFLOP/s{how}", 2 * rows * inner * columns / seconds / 1e9


def typical(function: Callable[[], Any], job: Job) -> float:
    """Median seconds of a call, after two warm-up calls."""
    times = []
    for _ in range(3 if job.tiny else 7):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[2:])


FLOORS = Workload(
    name="floors",
    text="limits of the machine: memory bandwidth and matrix products",
    work="copy and triad over 256 MB arrays; fp32 products (rows x inner x columns) at shapes of the other workloads",
    sides=(Side(OURS, measure, ("torch",)),),
)
