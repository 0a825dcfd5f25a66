"""Names of runs: the nearest one where there is none of a name."""

from __future__ import annotations

from pathlib import Path

from foretell.errors import ConfigError, did_you_mean

RECIPE = "recipe.toml"
"""the file that makes a folder a run"""
MEMBERS = "members"
"""folder in a mixture with the runs it is made of"""


def no_run(path: Path) -> ConfigError:
    """The error where a run is expected and there is none, with the nearest run of the same folder."""
    if (path / "config.json").is_file():
        return ConfigError(f"{path} is not a run: import the checkpoint with `foretell import {path} --out RUN`")
    found = f"it has no {RECIPE}" if path.is_dir() else "there is no such folder"
    runs = [recipe.parent.name for recipe in path.parent.glob(f"*/{RECIPE}")]
    remedy = did_you_mean(path.name, runs) or "; name the --out of `foretell train` or `foretell import`"
    return ConfigError(f"{path} is not a run: {found}{remedy}")
