"""Mixtures of runs: weights are fitted on validation, vocabularies have to match."""

from pathlib import Path

import numpy as np
import pytest
from builders import tables

import foretell

Corpus = dict[str, str]


@pytest.fixture(scope="module")
def runs(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[foretell.Trained]:
    folder = tmp_path_factory.mktemp("mixing")
    ngram = tables(corpus, limit="1epochs", model={"kind": "ngram", "order": 2})
    return [
        foretell.train(recipe, folder / str(number), quiet=True)
        for number, recipe in enumerate((tables(corpus, limit="20steps"), ngram))
    ]


def test_fitted_weights_are_no_worse_than_any_on_a_grid(runs: list[foretell.Trained]) -> None:
    fitted = foretell.mix(runs)
    best = fitted.evaluate("valid")
    assert sum(fitted.weights) == pytest.approx(1) and best["fitted_here"] == ["mixture weights"]
    for weight in np.linspace(0, 1, 11):
        assert best["loss"] <= foretell.mix(runs, [weight, 1 - weight]).evaluate("valid")["loss"] + 1e-6
    assert fitted.evaluate("test")["fitted_here"] == []


def test_other_vocabularies_are_refused(runs: list[foretell.Trained], corpus: Corpus, tmp_path: Path) -> None:
    other = foretell.train(
        tables(corpus, limit="1steps", data__tokenizer={"kind": "character"}), tmp_path / "run", quiet=True
    )
    with pytest.raises(foretell.ConfigError, match="have different tokenizers"):
        foretell.mix([runs[0], other])
    with pytest.raises(foretell.ConfigError, match="two runs or more"):
        foretell.mix([runs[0]])


@pytest.mark.parametrize("settings", [{"adaptive": True}, {"cache": True}])
def test_a_refusal_to_adapt_says_which_runs_do(runs: list[foretell.Trained], settings: dict[str, bool]) -> None:
    ngram = runs[1]
    for model in (ngram, foretell.mix([ngram, ngram], [0.5, 0.5])):
        with pytest.raises(foretell.ConfigError, match=r"cannot adapt .*runs trained by gradient, of unbounded"):
            model.evaluate("test", **settings)
