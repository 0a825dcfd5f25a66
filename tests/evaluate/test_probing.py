"""The linear probe: what it chooses and finds, and the mix of layers, beside closed forms and scikit-learn itself."""

import numpy as np
import pytest
import torch

from foretell.evaluate.probing import Portion, bags, fit, learn_mix
from foretell.nn.scalar_mix import ScalarMix


def portions(classes: list[str], tells: dict[int, float], sizes: tuple[int, ...] = (300, 120, 120)) -> list[Portion]:
    """Noise in 12 units, but for those that tell the class apart by so much."""
    made = []
    for number, size in enumerate(sizes):
        draw = np.random.default_rng(number)
        labels = draw.integers(0, len(classes), size)
        x = draw.normal(size=(size, 12)).astype(np.float32)
        for unit, strength in tells.items():
            x[:, unit] += strength * (labels - (len(classes) - 1) / 2)
        made.append(Portion(x, np.array(classes)[labels]))
    return made


def test_the_unit_that_tells_is_found() -> None:
    found = fit(*portions(["down", "up"], {7: 8.0}))
    assert found.classes == ("down", "up")
    assert found.units(1) == [7] and found.weights[0, 7] > 0  # speaks for the second class
    assert found.test > 0.97 and found.converged
    alone = fit(*(part.columns([7]) for part in portions(["down", "up"], {7: 8.0})))
    assert alone.test > 0.97 and alone.weights.shape == (1, 1)


def test_a_strong_penalty_leaves_few_units() -> None:
    """And what is chosen is the best on the validation split, the smallest of equal ones."""
    three = portions(["a", "b"], {2: 2.0, 5: 1.0})
    counts = [len(fit(*three, grid=[strength]).units()) for strength in (2**-8, 2**-4, 1.0)]
    assert counts == sorted(counts) and counts[0] < counts[2]
    each = [fit(*three, grid=[strength]).valid for strength in (0.01, 0.1, 1.0)]
    chosen = fit(*three, grid=[0.01, 0.1, 1.0])
    assert chosen.valid == max(each) and chosen.strength == (0.01, 0.1, 1.0)[each.index(max(each))]
    assert chosen.bound == (chosen.strength != 0.1)


def test_the_test_split_decides_nothing() -> None:
    train, valid, test = portions(["a", "b"], {2: 2.0})
    turned = Portion(test.vectors, test.labels[::-1])
    one, other = fit(train, valid, test), fit(train, valid, turned)
    assert one.strength == other.strength and np.array_equal(one.weights, other.weights)


def test_weights_are_the_least_of_the_penalised_loss() -> None:
    """Moving any weight does not make C x (sum of losses) + sum of |weights| smaller."""
    train, *_ = portions(["a", "b"], {2: 2.0})
    found = fit(train, train, train, grid=[0.05])
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.05, l1_ratio=1.0, solver="liblinear", random_state=0, max_iter=1000)
    shift = float(model.fit(train.vectors, train.labels).intercept_[0])
    sign = np.where(train.labels == "b", 1.0, -1.0)

    def loss(weights: np.ndarray) -> float:
        margins = sign * (train.vectors @ weights + shift)
        return float(0.05 * np.log1p(np.exp(-margins)).sum() + np.abs(weights).sum())

    best = loss(found.weights[0])
    for unit in range(12):
        for step in (-0.01, 0.01):
            moved = found.weights[0].copy()
            moved[unit] += step
            assert loss(moved) > best - 1e-4


def test_more_classes_are_told_apart_one_by_one() -> None:
    found = fit(*portions(["a", "b", "c"], {3: 6.0}))
    assert found.weights.shape == (3, 12) and found.classes == ("a", "b", "c")
    assert found.units(1) == [3] and found.test > 0.6


def test_bags_by_hand() -> None:
    train, valid = bags([["A good film", "a bad bad film"], ["Good, and new"]])
    assert train.toarray().tolist() == [[0, 1, 1], [1, 1, 0]]  # bad, film, good; single letters are no words there
    assert valid.toarray().tolist() == [[0, 0, 1]]


def test_bags_of_characters_by_hand() -> None:
    (train,) = bags([["很好", "好很好"]])
    assert train.toarray().sum(1).tolist() == [3, 5]  # 很 好 很好; 很 好 很好 好很 好很好


def test_a_mix_by_hand() -> None:
    mix = ScalarMix(3)
    layers = [torch.full((2, 4), value) for value in (1.0, 2.0, 6.0)]
    assert torch.allclose(mix(layers), torch.full((2, 4), 3.0))
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([1.0, 2.0, 5.0]).log())
        mix.scale.fill_(4.0)
    assert torch.allclose(mix.weights, torch.tensor([0.5, 1.0, 2.5]))
    assert torch.allclose(mix(layers), torch.full((2, 4), 0.5 + 2.0 + 15.0))


def test_a_learnt_mix_turns_to_the_layer_that_tells() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 400)
    layers = draw.normal(size=(400, 3, 6)).astype(np.float32)
    layers[:, 1, 2] += 4 * labels
    mix = learn_mix(layers, np.array(["a", "b"])[labels])
    assert mix.weights[1] > 0.8 and float(mix.weights.sum().detach()) == pytest.approx(1)
