"""The scorer of a context-mixing run that others advise gives what is measured."""

import numpy as np
import pytest
import torch
from predictors import trained

import foretell
from foretell.api.logistic_mixing import LogisticMixed
from foretell.evaluate.scoring import score_tokens

MEMBERS = ("context-mixing", "ngram", "lstm")


@pytest.fixture(scope="module")
def mixed(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Mixed:
    folder = tmp_path_factory.mktemp("members")
    return foretell.mix([trained(name, corpus, folder) for name in MEMBERS], online="logistic")


def test_its_scorer_books_what_is_measured(mixed: LogisticMixed) -> None:
    with mixed.text("test") as text:
        wanted = mixed.token_scores(text).logp
        windows = mixed.experts[0].likelihood(ranks=False).windows(text)
        found = score_tokens(mixed.scorer(), windows, mixed.device).logp
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert np.median(np.abs(found - wanted)) < 1e-5


def test_probabilities_sum_to_one_and_are_those_that_are_measured(mixed: LogisticMixed) -> None:
    with mixed.text("test") as text:
        measured, tokens = mixed.token_scores(text).logp[:60], torch.tensor(np.array(text.tokens[:60], dtype=np.int64))
    scorer, state, read = mixed.scorer(), None, torch.tensor([[mixed.tokenizer.boundary]])
    for place, token in enumerate(tokens.tolist()):
        logp, state = scorer.next(read, state)
        assert float(logp.exp().sum()) == pytest.approx(1, abs=1e-6)
        assert float(logp[0, token]) == pytest.approx(measured[place], abs=1e-4)
        read = tokens[place : place + 1][None]
    result = mixed.evaluate("test", audit=True)
    assert result["adaptive"]["audit"]["passed"]
