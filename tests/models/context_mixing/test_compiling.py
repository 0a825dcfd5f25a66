"""Compiled functions are kept by all of their sources."""

from pathlib import Path

import pytest
from numba import config

from foretell.models.context_mixing import coding, compiled, compiling


def test_functions_are_kept_under_the_digest_of_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (compiled.read, coding.code, coding.settle):
        assert Path(function._cache.cache_path).is_relative_to(compiling.FOLDER)
    assert str(compiling.FOLDER) != config.CACHE_DIR
    before, source = compiling.folder(), tmp_path / "source.py"
    source.write_text("changed = True")
    monkeypatch.setattr(compiling, "SOURCES", (*compiling.SOURCES[:-1], source))
    assert compiling.folder() != before
