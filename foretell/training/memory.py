"""When memory runs out: how to tell, and what to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SIGNS = (
    "can't allocate memory",  # torch on a CPU
    "not enough memory",  # the same on Windows
    "could not create a primitive",  # oneDNN; also where something is not supported, which then says "descriptor"
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


class OutOfMemory(RuntimeError):
    """Memory ran out; the message says which settings need less."""


def out_of_memory(problem: BaseException) -> bool:
    """Whether an exception means that memory ran out, on an accelerator or the host."""
    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(problem).replace("primitive descriptor", "")
    return isinstance(problem, RuntimeError) and any(sign in text for sign in SIGNS)


def release(device: torch.device) -> None:
    """Give back to the device what no tensor holds any more: a new attempt wants it in other sizes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Turns running out of memory into an `OutOfMemory` that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if not out_of_memory(problem):
            raise
        raise OutOfMemory(f"out of memory {advice}") from problem
