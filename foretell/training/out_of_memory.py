"""Running out of memory: how to recognise it, and advice."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from foretell import units
from foretell.nn.initializers import on_paper

M = TypeVar("M", bound=nn.Module)

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
    """Whether an exception means that memory ran out, on a device or the host."""
    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(problem).replace("primitive descriptor", "")
    return isinstance(problem, RuntimeError) and any(sign in text for sign in SIGNS)


def release(device: torch.device) -> None:
    """Return cached memory to the device before an attempt with other sizes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Turn running out of memory into an `OutOfMemory` with this advice."""
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if not out_of_memory(problem):
            raise
        raise OutOfMemory(f"out of memory {advice}") from problem


def build_within(build: Callable[[], M]) -> M:
    """Build a module on the default device.

    Raises `OutOfMemory` with the size of its weights if they do not fit. The size is found on the meta device first: a
    system that overcommits memory kills processes without a message.
    """
    device = torch.get_default_device()
    if device.type == "meta":
        return build()
    needed = 0
    with on_paper(), suppress(NotImplementedError, RuntimeError):  # a class from outside may not support it
        needed = sum(weight.numel() * weight.element_size() for weight in build().parameters())
    advice = "make it smaller by model.hidden, model.layers or, for its vocabulary, data.tokenizer"
    takes = f"its weights alone take {units.size(needed)}"
    if needed > (there := memory_of(device)):
        raise OutOfMemory(f"the model does not fit: {takes}, and there are {units.size(there)}; {advice}")
    with advising(f"while the model was built: {takes}; {advice}"):
        return build()


def memory_of(device: torch.device) -> int:
    """Bytes of memory of a device that this process may use."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    found += [limit for limit in (resource.getrlimit(resource.RLIMIT_AS)[0],) if limit != resource.RLIM_INFINITY]
    with suppress(OSError, ValueError):  # a container's limit; "max" where there is none
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found)
