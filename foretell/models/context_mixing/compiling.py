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
from foretell.coding import range_coder

SOURCES = (*sorted(Path(__file__).parent.glob("*.py")), Path(range_coder.__file__))


def folder() -> Path:
    """The place of the functions that these sources compile to: next to them, or in the cache if they are read-only."""
    own = Path(__file__).parent
    place = own / "__pycache__" if os.access(own, os.W_OK) else cache_folder() / "compiled"
    return place / digest(*(source.read_text(encoding="utf-8") for source in SOURCES))


FOLDER = folder()


def compiled(**options: Any) -> Any:
    """A decorator that compiles a function at its first call."""

    def decorate(function: Callable[..., Any]) -> Any:
        usual, config.CACHE_DIR = config.CACHE_DIR, str(FOLDER)
        try:
            return njit(cache=True, nogil=True, **options)(function)
        finally:
            config.CACHE_DIR = usual

    return decorate
