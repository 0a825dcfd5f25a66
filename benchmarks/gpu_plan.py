"""Device, size and time budget of a benchmark on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Record = dict[str, Any]
BUDGET = 480.0
"""seconds after which nothing new starts; the rest is reported as not measured (the compiler may add a minute)"""


@dataclass(frozen=True)
class Plan:
    """Device, size and start of a benchmark."""

    device: torch.device
    tiny: bool
    begun: float

    @property
    def late(self) -> bool:
        """Whether the time budget is used up."""
        return time.monotonic() - self.begun > BUDGET

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any], repeat: int) -> float:
        """Median seconds of a call, after three warm-up calls."""
        times = []
        for _ in range(3 + (1 if self.tiny else repeat)):
            self.wait()
            begin = time.perf_counter()
            function()
            self.wait()
            times.append(time.perf_counter() - begin)
        return statistics.median(times[3:])
