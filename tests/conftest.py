"""What all tests stand on: a cache of their own, and a tiny corpus. Small builders are in `builders.py`."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache as cache_results
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch
import typer.testing
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # for `builders` and `outside`

from builders import nothing, write_corpus

if TYPE_CHECKING:
    from fuzz.running import Runner

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no test is of speed
settings.load_profile("tests")
CASES = 6
"""how many cases of a test are fast; its others have the marker `case`"""


@pytest.hookimpl(tryfirst=True)  # before cases are selected by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases beyond `CASES` of each test; those that stay are spread over all of them."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if not (item.get_closest_marker("slow") or item.get_closest_marker("gpu")):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        kept = {round(place * (len(cases) - 1) / (CASES - 1)) for place in range(CASES)}
        for place, item in enumerate(cases):
            if len(cases) > CASES and place not in kept:
                item.add_marker(pytest.mark.case)


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


@pytest.fixture(autouse=True, scope="session")
def commands_made_once() -> Iterator[None]:
    """typer reads the signatures of all commands each time a test invokes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache_results(typer.testing._get_command))
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A few hundred words in three splits, as `data.corpus` takes it."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator["Runner"]:
    """Runs command lines on copies of small files and runs of all kinds, which are made once for all processes that
    test; see `fuzz/running.py` and `fuzz/seeds.py`."""
    import fcntl

    from fuzz.running import Runner
    from fuzz.seeds import load_or_make

    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with closing(Runner(shared / "fuzz-seeds")) as made:
        with (shared / "fuzz-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            load_or_make(made)
        yield made


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    """transformers, where it is installed."""
    from hugging_face import transformers_installed

    return transformers_installed()


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Tables of sines are made in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
