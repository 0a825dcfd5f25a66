"""This machine: processor, cores and memory, as the system reports them."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path

from foretell.run import processor
from foretell.trees import Tree


def hardware() -> Tree:
    """Platform, processor, cores and memory, within the limits of a container; needs no torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit():
        cores = max(1, min(cores, math.ceil(int(quota) / int(period))))
    memory = {k: int(v) << 10 for k, v in re.findall(r"(\w+):\s+(\d+) kB", read("/proc/meminfo"))}
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    limit = read("/sys/fs/cgroup/memory.max").strip()
    if limit.isdigit() and total and available and int(limit) < total:
        used = int(read("/sys/fs/cgroup/memory.current") or 0)
        total, available = int(limit), min(available, int(limit) - used)
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores,
        "memory_bytes": total,
        "memory_available_bytes": available,
    }


def read(path: str) -> str:
    """Read a small file of the system; empty if it is missing."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
