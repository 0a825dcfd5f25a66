"""Runs that advise a context-mixing run: exact probabilities, no looking ahead, better than alone."""

from typing import Any

import numpy as np
import pytest
from predictors import trained

import foretell

Runs = dict[str, foretell.Trained]


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("members")
    return {name: trained(name, corpus, folder) for name in ("context-mixing", "ngram", "lstm")}


def test_log_odds_need_a_run_that_mixes_contexts(runs: Runs) -> None:
    with pytest.raises(foretell.ConfigError, match="none is among these"):
        foretell.mix([runs["ngram"], runs["lstm"]], online="logistic")


def test_an_expert_that_peeks_is_caught(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    from foretell.api import logistic_mixing

    honest = logistic_mixing.advice_of

    def peeking(experts: Any, text: Any) -> Any:
        advice, byte = honest(experts, text), np.maximum(np.array(text.tokens, dtype=np.int64) - 1, 0)
        advice[:, 0] = 4.0 * (2 * (byte[:, None] >> (7 - np.arange(8)) & 1) - 1)
        return advice

    mixed = foretell.mix([*runs.values()], online="logistic")
    plain = mixed.evaluate("test")["adaptive"]["loss"]
    monkeypatch.setattr(logistic_mixing, "advice_of", peeking)
    cheating = foretell.mix([*runs.values()], online="logistic").evaluate("test", audit=True)["adaptive"]
    assert cheating["loss"] < plain - 0.2 and not cheating["audit"]["passed"]


def test_an_expert_that_learns_to_mislead_is_unlearned(runs: Runs) -> None:
    alone = runs["context-mixing"].evaluate("test", adaptive=True)["adaptive"]["loss"]
    advised = foretell.mix([*runs.values()], online="logistic").evaluate("test")["adaptive"]["loss"]
    assert advised < alone
