"""`load` opens every run folder."""

from pathlib import Path

import pytest
from predictors import trained

import foretell


def test_single_runs_and_mixtures_are_opened(corpus: dict[str, str], tmp_path: Path) -> None:
    runs = [trained(name, corpus, tmp_path) for name in ("ngram", "lstm")]
    foretell.mix(runs, [0.25, 0.75], out=tmp_path / "both")
    single, mixed = foretell.load(tmp_path / "lstm", which="last"), foretell.load(tmp_path / "both")
    assert isinstance(single, foretell.Trained) and single.which == "last"
    assert isinstance(mixed, foretell.Mixed) and mixed.weights == (0.25, 0.75)
    with pytest.raises(foretell.ConfigError, match="is not a run"):
        foretell.load(tmp_path / "none")
