"""Seeds of single steps."""

from __future__ import annotations

import torch


def step_seed(seed: int, step: int) -> int:
    """A 63-bit seed for one step, well mixed (SplitMix64): dropout is a pure function of (seed, step)."""
    z = (seed * 0x9E3779B97F4A7C15 + step + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (2**64 - 1)
    return (z ^ z >> 31) >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the host's random numbers and those of the device.

    `torch.manual_seed` gives the same numbers, but queues a call with a stack trace for every accelerator that is
    missing: milliseconds and memory at each step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
