"""Run folders below a folder, found without reading them."""

from __future__ import annotations

import os
from pathlib import Path

from foretell.artifacts import is_draft
from foretell.run_names import RECIPE


def find_runs(folder: Path) -> list[Path]:
    """The run folders at or below a folder, sorted; folders inside a run are not searched."""
    runs = []
    for path, inner, _ in os.walk(folder):  # does not follow links
        if is_run(Path(path)):
            runs.append(Path(path))
            inner.clear()
        inner[:] = [name for name in inner if not is_draft(Path(name))]
    return sorted(runs)


def is_run(path: Path) -> bool:
    """Whether a folder is a run."""
    return (path / RECIPE).is_file() and (path / "checkpoints").is_dir()
