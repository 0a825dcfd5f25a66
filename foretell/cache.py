"""The cache folder and the hashes its entries are named by."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`$FORETELL_CACHE`, or the platform's usual place for what can be made again."""
    if own := os.environ.get("FORETELL_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "foretell"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "foretell" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foretell"


def digest(*parts: str) -> str:
    """A hash of some strings."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
