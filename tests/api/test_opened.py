"""A run with its weights: its identity, and its size."""

from pathlib import Path

import pytest
import torch
from builders import tables
from predictors import trained

import foretell
from foretell.errors import ConfigError


def test_a_digest_is_of_one_checkpoint_and_adaptation(corpus: dict[str, str], tmp_path: Path) -> None:
    run = trained("lstm", corpus, tmp_path)
    again = foretell.load(run.run.path)
    assert len(run.digest) == 8 and run.digest == again.digest
    cached = run.adapted(cache={"window": 5, "sharpness": 0.1, "weight": 0.1}, quiet=True)
    other = foretell.train(tables(corpus, limit="20steps", seed=2), tmp_path / "other", quiet=True)
    assert len({run.digest, cached.digest, other.digest}) == 3


def test_a_run_reports_its_size_and_place(corpus: dict[str, str], tmp_path: Path) -> None:
    run = trained("lstm", corpus, tmp_path)
    weights = {id(part): part.numel() for part in run.objective.parameters()}
    assert run.parameters == sum(weights.values()) == run.summary()["parameters"]
    assert run.name == str(tmp_path / "lstm") and run.description()["model"] == "recurrent"
    assert not run.learns_as_it_reads and run.adapts and run.backbone is not None and run.ngram is None


def test_models_of_counts_have_no_vectors(corpus: dict[str, str], tmp_path: Path) -> None:
    ngram, mixing = trained("ngram", corpus, tmp_path), trained("context-mixing", corpus, tmp_path)
    assert ngram.ngram is not None and not ngram.adapts and mixing.learns_as_it_reads and mixing.adapts
    with pytest.raises(ConfigError, match="no hidden vectors"):
        _ = mixing.objective
    assert ngram.device == torch.device("cpu") and ngram.backbone is None
