"""Names of texts and splits, looked up before anything is read, so that a mistake is found at once."""

from __future__ import annotations

import glob

from foretell.data.files import SPLITS, expanded, find_files, no_split
from foretell.data.text.corpus import split_column
from foretell.data.text.reviews import PREFIX as REVIEWS
from foretell.hub import is_on_hub


def check_corpus(spec: str) -> None:
    """Raise `ConfigError` with the nearest name if there is neither a file nor a data set that `spec` may name."""
    spec = spec.removeprefix(REVIEWS)
    if not spec or is_on_hub(spec) or may_exist(spec):
        return
    from foretell.data.text.builtin import BUILTIN  # which opens corpora, and takes time to import

    if spec not in BUILTIN:
        find_files(split_column(spec)[0], BUILTIN)


def check_split(name: str) -> None:
    """Raise `ConfigError` with the nearest name if there is neither a split nor a file that `name` may be."""
    if name not in SPLITS and not may_exist(name):
        raise no_split(name)


def may_exist(spec: str) -> bool:
    """Whether there is a file or folder of this name, or it is a pattern."""
    place, _ = split_column(spec)
    return glob.has_magic(place) or expanded(place).exists()
