"""Mixtures of runs: probabilities are weighted sums."""

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


def test_probabilities_are_weighted_sums(runs: list[foretell.Trained]) -> None:
    mixed = foretell.mix(runs, [0.3, 0.7])
    with mixed.text("test") as text:
        parts = [np.exp(run.token_scores(text, ranks=False).logp) for run in runs]
        logp = mixed.token_scores(text).logp
    np.testing.assert_allclose(np.exp(logp), 0.3 * parts[0] + 0.7 * parts[1], rtol=1e-9)
    assert mixed.evaluate("test")["loss"] == pytest.approx(-logp.mean())
