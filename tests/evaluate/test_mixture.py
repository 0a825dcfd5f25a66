"""Mixtures: against sums of probabilities by hand, and weights against a fine grid and scipy-free calculus."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import assert_same, tables

import foretell
from foretell.errors import ConfigError
from foretell.evaluate.mixture import Mixture, fit_weights, mixed_logp
from foretell.types import Inputs


def random_logp(members: int, tokens: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.log(draw.beta(0.4, 2.0, size=(members, tokens)) + 1e-6)


def loss(logp: np.ndarray, weights: Any) -> float:
    """By plain sums."""
    return -sum(math.log(sum(w * math.exp(p) for w, p in zip(weights, token, strict=True))) for token in logp.T) / len(
        logp.T
    )


# --- weights --------------------------------------------------------------------------------------


def test_mixed_by_hand() -> None:
    logp = random_logp(3, 50)
    assert -mixed_logp(logp, [0.2, 0.5, 0.3]).mean() == pytest.approx(loss(logp, [0.2, 0.5, 0.3]), rel=1e-12)
    assert_same(torch.from_numpy(mixed_logp(logp, [0, 1, 0])), torch.from_numpy(logp[1]), 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_no_weights_on_a_fine_grid_are_better(seed: int) -> None:
    logp = random_logp(2, 200, seed)
    logp[1] -= seed  # an ever worse second model; at last its weight is zero
    fit = fit_weights(logp)
    grid = [(w, -mixed_logp(logp, [1 - w, w]).mean()) for w in np.linspace(0, 1, 2001)]
    best, least = min(grid, key=lambda pair: pair[1])
    assert fit.loss <= least + 1e-7
    assert fit.weights[1] == pytest.approx(best, abs=2e-3)
    assert fit.loss == pytest.approx(loss(logp, fit.weights), rel=1e-12)


def test_the_loss_never_rises_and_the_gap_bounds_what_is_left() -> None:
    logp = random_logp(4, 300)
    exact = fit_weights(logp, tolerance=1e-12, steps=20000).loss
    fit = fit_weights(logp)
    assert all(after <= before + 1e-14 for before, after in zip(fit.history, fit.history[1:], strict=False))
    for steps in (0, 1, 3, 10, 50):
        stopped = fit_weights(logp, steps=steps)
        assert exact <= stopped.loss <= exact + stopped.gap + 1e-12
    assert sum(fit.weights) == pytest.approx(1) and fit.gap < 1e-7


def test_the_condition_of_the_optimum() -> None:
    """At the best weights the mean of p_m / p is 1 for every member in use and at most 1 for the others."""
    logp = random_logp(5, 400, 3)
    logp[4] -= 3
    fit = fit_weights(logp, tolerance=1e-10, steps=50000)
    means = np.exp(logp - mixed_logp(logp, fit.weights)).mean(1)
    for weight, mean in zip(fit.weights, means, strict=True):
        assert mean <= 1 + 1e-9
        assert weight < 1e-4 or mean == pytest.approx(1, abs=1e-5)


def test_recovers_the_weights_that_made_the_text() -> None:
    draw = np.random.default_rng(1)
    one, two = draw.dirichlet(np.ones(30)), draw.dirichlet(np.ones(30))
    tokens = draw.choice(30, size=100_000, p=0.3 * one + 0.7 * two)
    fit = fit_weights(np.log(np.stack([one[tokens], two[tokens]])))
    assert fit.weights == pytest.approx((0.3, 0.7), abs=0.015)


def test_a_token_that_one_model_excludes() -> None:
    logp = np.log(np.array([[0.5, 0.5, 0.5, 0.5], [0.9, 0.9, 0.9, 1e-300]]))
    logp[1, 3] = -math.inf
    fit = fit_weights(logp)  # maximise 3 log(.5 + .4 w) + log(.5 (1 - w)): w = 0.4375
    assert fit.weights[1] == pytest.approx(0.4375, abs=1e-3)
    with pytest.raises(ConfigError, match="probability 0 in every model"):
        fit_weights(np.full((2, 3), -math.inf))


@pytest.mark.parametrize("weights", [[0.5], [0.5, 0.6], [1.5, -0.5], [math.nan, 0.5]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        Mixture([object(), object()], weights)


# --- with models ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[foretell.Trained]:
    folder = tmp_path_factory.mktemp("runs")
    changes: list[dict[str, Any]] = [{}, {"seed": 2, "data__batches": {"kind": "lines"}}, {"model__cell": "gru"}]
    return [foretell.train(tables(corpus, **change), folder / str(i), quiet=True) for i, change in enumerate(changes)]


def test_a_scorer_like_its_members(runs: list[foretell.Trained]) -> None:
    weights = [0.2, 0.3, 0.5]
    scorers = [run.scorer(ranks=False) for run in runs]
    mixture = Mixture(scorers, weights)
    tokens = torch.randint(runs[0].tokenizer.size, (2, 9), generator=torch.Generator().manual_seed(1))
    targets = tokens.roll(-1, 1)
    targets[0, 4] = -100
    whole, _ = mixture.score(Inputs(tokens=tokens), targets, None)
    parts = [scorer.score(Inputs(tokens=tokens), targets, None)[0].logp for scorer in scorers]
    expected = sum(w * part.exp() for w, part in zip(weights, parts, strict=True)).log()
    expected[0, 4] = 0
    assert_same(whole.logp, expected, 1e-12)
    assert whole.logp[0, 4] == 0 and whole.rank is None
    # two windows with carried state are one
    first, state = mixture.score(Inputs(tokens=tokens[:, :4]), targets[:, :4], None)
    second, state = mixture.score(Inputs(tokens=tokens[:, 4:]), targets[:, 4:], state)
    assert_same(torch.cat([first.logp, second.logp], 1), whole.logp, 1e-5)
    log_probs, _ = mixture.next(tokens, None)
    assert_same(log_probs.exp().sum(-1), torch.ones(2, dtype=torch.float64), 1e-6)
    last = torch.full_like(targets, -100)
    last[:, -1] = 3
    assert_same(mixture.score(Inputs(tokens=tokens), last, None)[0].logp[:, -1], log_probs[:, 3], 1e-5)


def test_weights_are_fitted_on_valid(runs: list[foretell.Trained], corpus: dict[str, str]) -> None:
    mixed = foretell.mix(runs)
    assert mixed.fitted_to == "valid" and mixed.fitted_loss is not None
    measured = mixed.evaluate("valid")
    assert measured["loss"] == pytest.approx(mixed.fitted_loss)
    singles = [run.evaluate("valid")["loss"] for run in runs]
    assert measured["loss"] <= min(singles) + 1e-7
    even = foretell.mix(runs, [1 / 3] * 3).evaluate("valid")
    assert even["loss"] >= measured["loss"] - 1e-7 and even["weights_fitted_to"] is None
    assert [member["weight"] for member in measured["mixture"]] == list(mixed.weights)
    assert measured["parameters"] == sum(run.parameters for run in runs) + 2
    assert mixed.evaluate("test")["tokens"] == runs[0].evaluate("test")["tokens"]
    with pytest.raises(ConfigError, match="two runs"):
        foretell.mix(runs[:1])


def test_with_a_counted_model(runs: list[foretell.Trained], corpus: dict[str, str], tmp_path: Path) -> None:
    counted = foretell.train(tables(corpus, model={"kind": "ngram", "order": 2}), tmp_path / "run", quiet=True)
    mixed = foretell.mix([runs[0], counted])
    losses = [run.evaluate("valid")["loss"] for run in (runs[0], counted, mixed)]
    assert losses[2] <= min(losses[:2]) + 1e-7
    one, two = (run.score(["the cat sat"])[0].token_logp for run in (runs[0], counted))
    expected = [
        math.log(mixed.weights[0] * math.exp(p) + mixed.weights[1] * math.exp(q)) for p, q in zip(one, two, strict=True)
    ]
    assert mixed.score(["the cat sat"])[0].token_logp == pytest.approx(expected, abs=1e-5)
    assert mixed.generate("the", tokens=5)


def test_all_weight_on_one_is_that_one(runs: list[foretell.Trained]) -> None:
    mixed = foretell.mix(runs[:2], [0.0, 1.0])
    assert mixed.evaluate("test")["bits_per_byte"] == pytest.approx(runs[1].evaluate("test")["bits_per_byte"])
    assert mixed.generate("the", tokens=20, seed=3) == runs[1].generate("the", tokens=20, seed=3)
    assert mixed.score(["the cat sat"])[0].logp == pytest.approx(runs[1].score(["the cat sat"])[0].logp)


def test_other_vocabularies_are_refused(runs: list[foretell.Trained], corpus: dict[str, str], tmp_path: Path) -> None:
    other = foretell.train(tables(corpus, data__tokenizer="character"), tmp_path / "run", quiet=True)
    with pytest.raises(ConfigError, match="have different tokenizers"):
        foretell.mix([runs[0], other])


def test_weights_that_are_measured_where_they_were_found_are_told(
    runs: list[foretell.Trained], corpus: dict[str, str], tmp_path: Path
) -> None:
    mixed = foretell.mix(runs)
    copy = tmp_path / "another-name.txt"
    copy.write_text(Path(corpus["valid"]).read_text())
    for split in ("valid", str(copy)):
        assert mixed.evaluate(split)["fitted_here"] == ["mixture weights"]
    assert mixed.evaluate("test")["fitted_here"] == []
    assert foretell.mix(runs, split="test").evaluate("test")["fitted_here"] == ["mixture weights"]
    assert foretell.mix(runs, [1 / 3] * 3).evaluate("valid")["fitted_here"] == []
