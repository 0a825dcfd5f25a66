"""The neural cache against a double loop in Python, over every edge of a window."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from builders import assert_same
from torch import Tensor

from foretell.evaluate.cache import CacheConfig, CachedPass, CacheScorer, NeuralCache, loss_and_weight, tune_cache
from foretell.evaluate.dynamic import DynamicConfig, DynamicScorer
from foretell.evaluate.mixture import Mixture
from foretell.evaluate.scoring import NeuralScorer
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig
from foretell.types import Batch, Inputs, select_rows

CPU = torch.device("cpu")
VOCABULARY = 7


@pytest.fixture(scope="module")
def model() -> NeuralScorer:
    torch.manual_seed(3)
    backbone = RecurrentConfig(embedding_dim=5, hidden=4, layers=1, embedding_range=2.0, init_range=1.5).build(
        VOCABULARY
    )
    head = FullHeadConfig(init_range=1.0).build(4, VOCABULARY, None)
    both = torch.nn.ModuleList([backbone, head]).double().eval().requires_grad_(False)
    return NeuralScorer(both[0], both[1], ranks=False)


def text(rows: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and targets [B, T]."""
    tokens = torch.randint(VOCABULARY, (rows, steps + 1), generator=torch.Generator().manual_seed(seed))
    return tokens[:, :-1], tokens[:, 1:]


def double_loop(model: NeuralScorer, tokens: Tensor, window: int, theta: float, weight: float) -> np.ndarray:
    """tokens [T + 1] -> probabilities [T, V] of what comes after each of the first T, from the equation."""
    hidden = model.backbone(Inputs(tokens=tokens[None, :-1]), None).last[0]
    vocabulary = model.head.log_probs(hidden).exp().numpy()
    h, words = hidden.numpy(), tokens.tolist()
    result = []
    for t in range(len(h)):
        pairs = range(max(0, t - window), t)  # pair i is (h_i, w_(i+1)), and w_t is the last word known at t
        if not pairs:
            result.append(vocabulary[t])
            continue
        likeness = [math.exp(theta * sum(a * b for a, b in zip(h[t], h[i], strict=True))) for i in pairs]
        cache = np.zeros(VOCABULARY)
        for i, share in zip(pairs, likeness, strict=True):
            cache[words[i + 1]] += share / sum(likeness)
        result.append((1 - weight) * vocabulary[t] + weight * cache)
    return np.array(result)


@pytest.mark.parametrize("window", [1, 2, 5, 11, 12, 13, 50])
@pytest.mark.parametrize(("theta", "weight"), [(0.7, 0.3), (0.0, 0.9), (3.0, 0.1), (0.5, 0.0)])
def test_equal_to_a_double_loop(model: NeuralScorer, window: int, theta: float, weight: float) -> None:
    inputs, targets = text(1, 12)
    expected = double_loop(model, torch.cat([inputs[0], targets[0, -1:]]), window, theta, weight)
    wanted = torch.from_numpy(np.log(expected[range(12), targets[0].tolist()]))
    scorer = CacheScorer(model, NeuralCache(window, theta), weight)
    scores, _ = scorer.score(Inputs(tokens=inputs), targets, None)
    assert_same(scores.logp[0], wanted, 1e-10)
    # cut anywhere, and cut into single tokens
    for cuts in ([0, 5, 12], [0, 1, 2, 11, 12], list(range(13))):
        state, parts = None, []
        for begin, end in pairwise(cuts):
            part, state = scorer.score(Inputs(tokens=inputs[:, begin:end]), targets[:, begin:end], state)
            parts.append(part.logp[0])
        assert_same(torch.cat(parts), wanted, 1e-10)
    # `next` after every beginning, read at once or in two parts
    for end in range(1, 13):
        found, _ = scorer.next(inputs[:, :end], None)
        assert_same(found[0].exp(), torch.from_numpy(expected[end - 1]), 1e-10)
        assert float(found.exp().sum()) == pytest.approx(1, abs=1e-10)
    _, state = scorer.score(Inputs(tokens=inputs[:, :7]), targets[:, :7], None)
    assert_same(scorer.next(inputs[:, 7:9], state)[0][0].exp(), torch.from_numpy(expected[8]), 1e-10)


def test_rows_side_by_side_are_as_alone(model: NeuralScorer) -> None:
    """Rows of different lengths, then a second window in which some start anew and others go on."""
    scorer = CacheScorer(model, NeuralCache(4, 1.0), 0.5)
    lengths = torch.tensor([9, 3, 6])
    inputs, targets = text(3, 9)
    targets = targets.masked_fill(torch.arange(9) >= lengths[:, None], -100)
    together, state = scorer.score(Inputs(tokens=inputs, lengths=lengths), targets, None)
    more, wanted = text(3, 5, seed=1)
    fresh = torch.tensor([False, False, True])
    after, _ = scorer.score(Inputs(tokens=more, fresh=fresh), wanted, state)
    for row, length in enumerate(lengths.tolist()):
        own = slice(row, row + 1)
        alone, carried = scorer.score(Inputs(tokens=inputs[own, :length]), targets[own, :length], None)
        assert_same(together.logp[row, :length], alone.logp[0], 1e-10)
        assert bool((together.logp[row, length:] == 0).all())
        second, _ = scorer.score(Inputs(tokens=more[own]), wanted[own], None if fresh[row] else carried)
        assert_same(after.logp[row], second.logp[0], 1e-10)
    picked, _ = scorer.score(Inputs(tokens=more[1:2]), wanted[1:2], select_rows(state, slice(1, 2)))
    assert_same(picked.logp[0], after.logp[1], 1e-10)


def test_before_any_pair_the_model_has_all_the_weight(model: NeuralScorer) -> None:
    scorer = CacheScorer(model, NeuralCache(5, 1.0), 0.6)
    inputs, targets = text(2, 4)
    plain, _ = model.score(Inputs(tokens=inputs), targets, None)
    cached, _ = scorer.score(Inputs(tokens=inputs), targets, None)
    assert_same(cached.logp[:, 0], plain.logp[:, 0])
    novel = torch.tensor([[0, 1, 2]]), torch.tensor([[1, 2, 3]])  # no word comes twice: never a hit
    plain, _ = model.score(Inputs(tokens=novel[0]), novel[1], None)
    cached, _ = scorer.score(Inputs(tokens=novel[0]), novel[1], None)
    assert_same(cached.logp[:, 1:], plain.logp[:, 1:] + math.log(0.4), 1e-12)


def test_very_unlike_vectors_do_not_overflow(model: NeuralScorer) -> None:
    inputs, targets = text(1, 12)
    for theta in (1e4, 1e6):
        scorer = CacheScorer(model, NeuralCache(5, theta), 0.5)
        assert bool(scorer.score(Inputs(tokens=inputs), targets, None)[0].logp.isfinite().all())
        assert float(scorer.next(inputs, None)[0].exp().sum()) == pytest.approx(1)


# --- around and inside others ---------------------------------------------------------------------


def test_around_dynamic_evaluation(model: NeuralScorer) -> None:
    """The cache sees the vectors of the weights of their time; both together by hand from the parts."""
    config = DynamicConfig(rule="sgd", learning_rate=0.5, decay=0.1, segment=3)
    inputs, targets = text(1, 12)
    dynamic, _ = DynamicScorer(model.backbone, model.head, config).score(Inputs(tokens=inputs), targets, None)
    assert dynamic.vectors is not None
    recalled, seen, _ = NeuralCache(4, 0.8).recall(dynamic.vectors, Inputs(tokens=inputs), targets, None)
    expected = torch.where(seen, 0.7 * dynamic.logp.exp() + 0.3 * recalled.exp(), dynamic.logp.exp()).log()
    scorer = CacheScorer(DynamicScorer(model.backbone, model.head, config), NeuralCache(4, 0.8), 0.3)
    found, state = scorer.score(Inputs(tokens=inputs), targets, None)
    assert_same(found.logp, expected, 1e-10)
    assert not scorer.independent
    assert float(scorer.next(targets[:, -1:], state)[0].exp().sum()) == pytest.approx(1)


def test_inside_a_mixture(model: NeuralScorer) -> None:
    scorer = CacheScorer(model, NeuralCache(4, 0.8), 0.3)
    inputs, targets = text(2, 6)
    mixture = Mixture([scorer, model], [0.25, 0.75])
    found, state = mixture.score(Inputs(tokens=inputs), targets, None)
    parts = [one.score(Inputs(tokens=inputs), targets, None)[0].logp for one in (scorer, model)]
    assert_same(found.logp, (0.25 * parts[0].exp() + 0.75 * parts[1].exp()).log(), 1e-12)
    assert mixture.independent
    assert_same(mixture.next(targets[:, -1:], state)[0].exp().sum(-1), torch.ones(2, dtype=torch.float64), 1e-10)


# --- tuning ---------------------------------------------------------------------------------------


def listened(model: NeuralScorer) -> list[CachedPass]:
    """A text in which a few words come again and again for a while."""
    draw = np.random.default_rng(0)
    words = np.concatenate([draw.choice(draw.choice(VOCABULARY, 2), 12) for _ in range(10)])
    tokens = torch.from_numpy(words)[None]
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    batches = [Batch(Inputs(tokens=inputs[:, k : k + 17]), targets[:, k : k + 17]) for k in range(0, 119, 17)]
    return CachedPass.record(model, batches, CPU)


def test_no_settings_on_a_grid_are_better(model: NeuralScorer) -> None:
    heard = listened(model)
    best, loss = tune_cache(CacheConfig(window=10), heard)
    assert best.window == 10 and best.sharpness is not None and best.weight is not None
    for sharpness in (0.05, 0.1, 0.2, 0.4, 0.8):
        for weight in np.linspace(0, 0.99, 40):
            assert loss_and_weight(NeuralCache(10, sharpness), heard, float(weight))[0] >= loss - 1e-6
    # the loss that was promised is that of the scorer
    scorer = CacheScorer(model, NeuralCache(10, best.sharpness), best.weight)
    state, nats = None, 0.0
    for window in heard:
        scores, state = scorer.score(window.inputs, window.targets, state)
        nats -= float(scores.logp.sum())
    assert nats / 119 == pytest.approx(loss, abs=1e-9)
    without = -sum(float(window.logp.sum()) for window in heard) / 119
    assert loss < without - 0.05


def test_only_what_is_absent_is_sought(model: NeuralScorer) -> None:
    heard = listened(model)
    tried: list[Any] = []
    best, _ = tune_cache(CacheConfig(sharpness=0.3, weight=0.2), heard, lambda trial, _: tried.append(trial))
    assert (best.sharpness, best.weight) == (0.3, 0.2)
    assert [trial.window for trial in tried] == [100, 500, 2000]
    best, _ = tune_cache(CacheConfig(window=3, sharpness=0.3), heard)
    assert (best.window, best.sharpness) == (3, 0.3) and 0 < (best.weight or 0) < 1
