"""Settings of a process, made before torch is loaded, and the memory it has used. Standard library only.

The allocator. Every training step frees and takes the same large tensors. By default glibc maps and unmaps them each
time, and the kernel clears the pages again and again; kept in the heap they are simply reused. Measured on two cores:
1.2 to 1.5 times the speed, for up to a third more memory (docs/results.md). FORETELL_ALLOCATOR=default leaves it alone.

Idle threads. By default OpenMP's idle threads spin for a long time. While another process is busy, that takes the core
the slowest thread needs, and training becomes several times slower (docs/results.md). Here they soon go to sleep.

The compiler. The first optimiser loads torch's compiler only to disable it for its steps: more than a second at every
start. Here it is loaded when another part of it is used.

Child processes do not import from the current folder (PYTHONSAFEPATH), where others may have put files.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
SWITCH = "FORETELL_ALLOCATOR"
SPIN = "10000"
"""how often an idle thread polls before it sleeps"""
COMPILER = "torch._dynamo"
_active = False


def prepare_process() -> None:
    """Make all these settings except those of the user. For the command line: a library must not change its host."""
    keep_freed_memory()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    os.environ["RUST_BACKTRACE"] = "0"  # the tokenizers library prints pages of it for a file it cannot read
    if COMPILER not in sys.modules:
        sys.modules[COMPILER] = Later(COMPILER)


def active() -> bool:
    """Whether this process keeps freed memory: `keep_freed_memory` was called, and understood."""
    return _active


def keep_freed_memory() -> bool:
    """Set glibc's allocator to keep freed memory; whether it did."""
    global _active
    if os.environ.get(SWITCH) == "default" or sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20))
    _active = all([mallopt(name, value) == 1 for name, value in settings])
    return _active


class Later(ModuleType):
    """The compiler until it is needed: what optimisers ask of it means nothing where nothing is compiled."""

    def disable(self, function: Any = None, *_: Any, **__: Any) -> Any:
        """The function, which is not compiled anyway."""
        return function if function is not None else lambda later: later

    def graph_break(self, *_: Any, **__: Any) -> None:
        """Nothing to break."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # others look through all modules for such names
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


def peak_memory() -> int:
    """Most memory this process has held, in bytes."""
    # note: getrusage starts at the peak of the parent process; Linux also reports our own
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
