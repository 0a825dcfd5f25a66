"""Runs opened for use, single ones and mixtures."""

from __future__ import annotations

from pathlib import Path

import torch

from foretell.api.mixed import Mixed
from foretell.api.mixture_run import open_mixture
from foretell.api.trained import Trained
from foretell.recipe.loading import recipe_of
from foretell.run import Run
from foretell.training.devices import device_of

Model = Trained | Mixed


def load(
    path: str | Path,
    *,
    which: str = "best",
    device: torch.device | str | None = None,
    quiet: bool = False,
    trust: bool = False,
) -> Model:
    """A run folder, opened for use with the weights of its `best` (or `last`) checkpoint; a mixture as `Mixed`.

    Passes of more than ten seconds report progress on stderr, unless `quiet`. A run made elsewhere may import classes
    from outside the package, and open the corpus that its recipe names, only with `trust`. Raises `ConfigError` if a
    file of the run is missing or damaged.
    """
    run = Run.open(path)
    run.trust = trust
    if recipe_of(run).model.made_of_runs:
        return open_mixture(run, device=device, quiet=quiet)
    return Trained(run, which, device_of(device), quiet=quiet)
