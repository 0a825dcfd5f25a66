"""Compiled functions are kept by all of their sources."""

from pathlib import Path

import numpy as np
import pytest
from numba import config

from foretell.coding import range_coder
from foretell.errors import ConfigError
from foretell.kernels import compiling, gate, ngram_sort, prefetching, suffix_index
from foretell.models.context_mixing import coding, compiled
from foretell.models.context_mixing.model import ContextMixingConfig
from foretell.models.context_mixing.scorer import VOCABULARY
from foretell.models.unbounded_ngram import growing, predicting

MIXING = Path(compiled.__file__).parent, range_coder.__file__, prefetching.__file__
UNBOUNDED = Path(growing.__file__).parent, suffix_index.__file__


@pytest.mark.parametrize(
    ("function", "sources"),
    [
        (compiled.read, MIXING),
        (coding.code, MIXING),
        (coding.settle, MIXING),
        (suffix_index.read, (suffix_index.__file__,)),
        (gate.read, (gate.__file__,)),
        (ngram_sort.word, (ngram_sort.__file__,)),
        (growing.append, UNBOUNDED),
        (predicting.log2, UNBOUNDED),
    ],
)
def test_functions_are_kept_under_the_digest_of_their_sources(function: object, sources: tuple[str, ...]) -> None:
    folder = compiling.folder(*sources)
    assert Path(function._cache.cache_path).is_relative_to(folder)  # type: ignore[attr-defined]
    assert str(folder) != config.CACHE_DIR


def test_any_source_that_changes_is_another_place(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    one, other = tmp_path / "folder" / "one.py", tmp_path / "other.py"
    places = set()
    for file in (one, other, one):
        file.write_text(f"state = {len(places)}")
        other.touch()
        places.add(compiling.folder(one.parent, other))
    assert len(places) == 3


def test_loops_that_need_a_compiler_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling.check_compiles("context mixing")
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    with pytest.raises(ConfigError, match="context mixing needs compiled loops, and NUMBA_DISABLE_JIT is set; unset"):
        ContextMixingConfig(table_bits=8).fit(np.zeros(3, np.int64), np.zeros(1, np.int64), 0, VOCABULARY)
