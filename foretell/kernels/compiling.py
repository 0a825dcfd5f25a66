"""Compilation by numba, kept on disk under a digest of all sources.

numba compiles a function again only where its own file has changed, and not where one that it calls has: an old loop
that reads new tables ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit

from foretell.cache import cache_folder, digest
from foretell.errors import ConfigError

PART: dict[str, Any] = {"_nrt": False, "error_model": "numpy"}
"""options of a part of a loop: it makes and returns no arrays. To count references to those it is given would take
longer than its work"""


def folder(*sources: str | Path) -> Path:
    """The place of what these files, and all Python files of these folders, compile to.

    It is next to this file, or in the cache if that is read-only.
    """
    files = [
        file
        for place in map(Path, (*sources, __file__))
        for file in (sorted(place.glob("*.py")) if place.is_dir() else [place])
    ]
    own = Path(__file__).parent
    place = own / "__pycache__" if os.access(own, os.W_OK) else cache_folder() / "compiled"
    return place / digest(*(file.read_text(encoding="utf-8") for file in files))


def compiled(*sources: str | Path, **options: Any) -> Any:
    """A decorator that compiles a function at its first call.

    `sources`: the files, or folders of files, of the function and of all compiled functions that it calls. `options`
    are numba's.
    """
    kept = str(folder(*sources))

    def decorate(function: Callable[..., Any]) -> Any:
        usual, config.CACHE_DIR = config.CACHE_DIR, kept
        try:
            return njit(cache=True, nogil=True, **options)(function)
        finally:
            config.CACHE_DIR = usual

    return decorate


def check_compiles(what: str) -> None:
    """Raise `ConfigError` where numba is set not to compile."""
    if config.DISABLE_JIT:
        raise ConfigError(
            f"{what} needs compiled loops, and NUMBA_DISABLE_JIT is set",
            remedy="unset it, or set NUMBA_DISABLE_JIT=0",
        )


def inlined(*sources: str | Path) -> Any:
    """`compiled` for parts of a loop, which are copied into it; see `PART`."""
    return compiled(*sources, forceinline=True, **PART)
