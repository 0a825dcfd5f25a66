"""glibc's allocator, told to keep freed memory instead of giving it back to the system at once.

Every training step frees and takes the same large tensors. By default glibc maps and unmaps them each time, and the
kernel clears the pages again and again; kept in the heap they are simply reused. Measured on two cores: 1.2 to 1.5
times the speed, for up to a third more memory (docs/results.md). Standard library only: it has to run before torch is
loaded.

Set FORETELL_ALLOCATOR=default to leave the allocator alone. Here are also what else a process is told at its start, and
how much memory it has held.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
SWITCH = "FORETELL_ALLOCATOR"
SPIN = "10000"
"""how often an idle thread looks before it sleeps"""
_active = False


def active() -> bool:
    """Whether this process keeps freed memory: `keep_freed_memory` was called, and understood."""
    return _active


def keep_freed_memory() -> bool:
    """Tell glibc; true if it understood. Only the command line calls this: a library must not change its host."""
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


def prepare_process() -> None:
    """What has to be set before anything loads torch; a user's own settings stay."""
    keep_freed_memory()
    # note: idle OpenMP threads spin for long by default; beside any other busy process the spinning takes the core that
    # the slowest thread needs, and training becomes several times slower (docs/results.md). Here they soon go to sleep.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN)


def peak_memory() -> int:
    """Most memory this process has held, in bytes."""
    # note: getrusage starts at the peak of whoever started this process; Linux also tells our own
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
