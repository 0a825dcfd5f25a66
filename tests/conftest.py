"""What all tests stand on: a cache of their own, and a tiny corpus. Small builders are in `builders.py`."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for `builders` and `outside`

from builders import nothing, write_corpus

if not torch.cuda.is_available():  # Triton reads it once, when it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test sees or fills the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORETELL_CACHE", str(folder))
        patch.setenv("FORETELL_STATE", str(tmp_path_factory.mktemp("state")))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def unsynced() -> Iterator[None]:
    """Faster; see `nothing`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", nothing)
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A few hundred words in three splits, as `data.corpus` takes it."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))
