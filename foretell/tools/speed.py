"""The speed of training on this machine, measured on small recipes and kept for an hour.

A recipe of another size is taken to need time in proportion to its operations. That is rough: large layers use a
processor better than small ones, and a busy machine is slower.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from foretell import __version__
from foretell.artifacts import write_json
from foretell.cache import cache_folder, digest
from foretell.checksums import is_sealed, read_record, sealed
from foretell.errors import ConfigError
from foretell.tools.machine import hardware
from foretell.tools.sizes import Size, sizes

MEASURED = {"recurrent": ("awd-lstm-tiny", 16), "transformer": ("gpt2-wiki-mini", 4)}
"""the recipe that stands for each kind of model, and its batch"""
SECONDS = 0.7
"""time of the steps that are measured, after one that is not"""
FRESH = 3600.0
"""seconds for which a measurement is used again"""


@dataclass(frozen=True)
class Speed:
    """The speed of training on a machine."""

    flops: Mapping[str, float]
    """floating-point operations per second, by kind of model"""
    device: str
    """of torch: `cpu`, `cuda`"""
    when: float
    """time of the measurement, in seconds since 1970"""

    def tokens(self, size: Size) -> float | None:
        """Training tokens of a recipe in a second; None if unknown."""
        rate = self.flops.get(size.model)
        return rate / size.flops_per_token if rate and size.flops_per_token else None


def speed_here() -> Speed:
    """The speed of this machine, as measured within the last hour or now."""
    file = cache_folder() / "speed.json"
    known = stored(file)
    if known is not None and 0 <= time.time() - known.when < FRESH:
        return known
    found = measured()
    write_json(file, sealed({"machine": fingerprint(), **asdict(found)}))
    return found


def stored(file: Path) -> Speed | None:
    """The speed in a file; None if it is missing, altered or of another machine."""
    try:
        record: dict[str, Any] = read_record(file)
    except (ConfigError, OSError):
        return None
    if not is_sealed(record) or record.get("machine") != fingerprint():
        return None
    return Speed(record["flops"], record["device"], record["when"])


def fingerprint() -> str:
    """A hash of what the speed depends on."""
    host = hardware()
    settings = [os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")]
    return digest(host["processor"], str(host["cores"]), version("torch"), __version__, *settings)


def measured() -> Speed:
    """Train each of the recipes that stand for a kind for a moment, on random tokens."""
    from foretell.training.devices import device_of

    device = device_of(None)
    flops = {
        kind: tokens_per_second(name, batch) * (sizes()[name].flops_per_token or 0)
        for kind, (name, batch) in MEASURED.items()
    }
    return Speed(flops, device.type, time.time())


def tokens_per_second(name: str, batch: int) -> float:
    """Training tokens of a shipped recipe in a second, over `SECONDS`."""
    import tempfile

    import numpy as np
    import torch

    from foretell.recipe.loading import load_recipe
    from foretell.tools.rehearsal import rehearsal
    from foretell.training.devices import device_of

    recipe, vocabulary = load_recipe(name, {"data.batches.batch": batch}), sizes()[name].vocabulary or 2
    text = np.random.default_rng(1).integers(0, vocabulary, 1 << 17, dtype=np.uint16)
    with tempfile.TemporaryDirectory(prefix="foretell-speed-") as folder:
        device = device_of(None)
        finish: Callable[[], None] = torch.accelerator.synchronize if device.type != "cpu" else nothing
        trainer = rehearsal(recipe, vocabulary, text, Path(folder), device)
        trainer.step(trainer.progress())
        finish()
        before, begin = trainer.position.tokens, time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            trainer.step(trainer.progress())
            finish()
        return (trainer.position.tokens - before) / (time.perf_counter() - begin)


def nothing() -> None:
    """Wait for nothing: on a CPU no step is queued."""
