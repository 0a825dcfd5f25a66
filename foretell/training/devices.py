"""Devices."""

from __future__ import annotations

import torch

from foretell.errors import ConfigError


def default_device() -> torch.device:
    """The accelerator if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(given: torch.device | str | None) -> torch.device:
    """The device of that name, or the default one.

    Raises `ConfigError` if this machine has no such device.
    """
    if given is None or given == "":
        return default_device()
    accelerators = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    here = ", ".join(["cpu", *accelerators[:8]])
    try:
        device = torch.device(given)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, TypeError):  # as torch's backends see fit
        raise ConfigError(f"no device {str(given)!r:.80} here", remedy=f"choose among {here}") from None
    if device.type == "meta":
        raise ConfigError("the device meta holds no numbers", remedy=f"choose among {here}")
    return device
