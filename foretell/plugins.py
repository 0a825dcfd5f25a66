"""Classes of other packages, found by the names under which these are installed (entry points).

A package that extends foretell lists its classes in its pyproject.toml:

    [project.entry-points."foretell.kinds"]
    "head.cosine" = "their_package.heads:CosineHeadConfig"      # head = "cosine" in a recipe

    [project.entry-points."foretell.trackers"]
    aim = "their_package.aim:Aim"                               # training.log_to = ["aim"]

Finding names imports nothing of the package. A kind is only a short name: recipes store the path it
stands for. The section before it says where `foretell show` lists it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

KINDS, TRACKERS = "foretell.kinds", "foretell.trackers"


@lru_cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, in alphabetical order."""
    return {
        point.name: point for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value))
    }


def path_of(kind: str) -> str | None:
    """The `module:Class` that an installed package names `kind`, or `section.kind`; None if there is none."""
    return next((found.value for name, found in installed(KINDS).items() if kind in (name, short(name))), None)


def short(name: str) -> str:
    """The kind without the section that its name begins with."""
    return name.rpartition(".")[2]
