"""What the machine reports about itself."""

import os

import pytest

from foretell.tools import machine
from foretell.tools.machine import hardware


def test_cores_and_memory_are_those_of_the_system() -> None:
    """Against os.sysconf, which asks the C library."""
    found = hardware()
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)
    assert found["memory_available_bytes"] <= found["memory_bytes"]
    assert found["memory_bytes"] <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_container_limits_both(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/sys/fs/cgroup/cpu.max": "50000 100000",
        "/proc/meminfo": "MemTotal:  8 kB\nMemAvailable:  7 kB\n",
        "/sys/fs/cgroup/memory.max": "4096\n",
        "/sys/fs/cgroup/memory.current": "1024\n",
    }
    monkeypatch.setattr(machine, "read", lambda path: files.get(path, ""))
    found = hardware()
    assert (found["cores"], found["memory_bytes"], found["memory_available_bytes"]) == (1, 4096, 3072)
