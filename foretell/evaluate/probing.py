"""What a linear classifier reads out of vectors: logistic regression on them as they are.

As in Radford et al. 2017 (arXiv:1704.01444, the authors' code): an L1 penalty, its strength chosen on the validation
split from a grid, trained on the training split alone. N texts, W width, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from foretell.errors import ConfigError
from foretell.nn.scalar_mix import ScalarMix

Floats = NDArray[np.float32]
Names = NDArray[np.str_]
GRID = tuple(2.0**power for power in range(-8, 1))
"""strengths C; a smaller one is a stronger penalty"""
ITERATIONS = 1000


@dataclass(frozen=True)
class Portion:
    """A split as a classifier sees it."""

    vectors: Any
    """[N, W] an array, or a sparse matrix of scipy"""
    labels: Names
    """[N]"""

    def columns(self, which: Sequence[int]) -> Portion:
        """Some units of it alone."""
        return Portion(self.vectors[:, list(which)], self.labels)


@dataclass(frozen=True)
class Fitted:
    """A classifier, with the strength that was best on the validation split."""

    classes: tuple[str, ...]
    strength: float
    valid: float
    """its accuracy there"""
    test: float
    weights: NDArray[np.float64]
    """[K, W], or [1, W] of two classes: above 0 speaks for the second"""
    bound: bool
    """whether the best strength is at an end of the grid, so that a wider one may be better"""
    converged: bool

    @property
    def importance(self) -> NDArray[np.float64]:
        """[W] how much each unit weighs, over all classes."""
        total: NDArray[np.float64] = np.abs(self.weights).sum(0)
        return total

    def units(self, most: int | None = None) -> list[int]:
        """The units that are used at all, the heaviest first."""
        order = np.argsort(-self.importance, kind="stable")
        return [int(unit) for unit in order[:most] if self.importance[unit] > 0]


def fit(
    train: Portion,
    valid: Portion,
    test: Portion,
    *,
    grid: Sequence[float] = GRID,
    penalty: Literal["l1", "l2"] = "l1",
    seed: int = 0,
) -> Fitted:
    """The classifier of the best strength; of equal ones the smallest. More than two classes: one against the rest."""
    _, regression, one_vs_rest = library()
    found: list[tuple[float, Any]] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number, strength in enumerate(grid):
            classifier = one_vs_rest(
                regression(
                    C=strength,
                    l1_ratio=1.0 if penalty == "l1" else 0.0,
                    solver="liblinear",
                    random_state=seed + number,
                    max_iter=ITERATIONS,
                )
            ).fit(train.vectors, train.labels)
            found.append((classifier.score(valid.vectors, valid.labels), classifier))
    best = int(np.argmax([accuracy for accuracy, _ in found]))
    accuracy, classifier = found[best]
    return Fitted(
        classes=tuple(str(name) for name in classifier.classes_),
        strength=grid[best],
        valid=float(accuracy),
        test=float(classifier.score(test.vectors, test.labels)),
        weights=np.concatenate([one.coef_ for one in classifier.estimators_]),
        bound=best in (0, len(grid) - 1) and len(grid) > 1,
        converged=not any("converge" in str(warning.message) for warning in told),
    )


def bags(splits: Sequence[Sequence[str]]) -> list[Any]:
    """Texts of splits, training first, as sparse 0 and 1 [N, words]: which of the training split's words occur.

    Presence rather than counts, which is the better baseline for short texts (Wang and Manning 2012).
    """
    vectorizer, _, _ = library()
    counter = vectorizer(binary=True, dtype=np.float64)
    return [counter.fit_transform(splits[0]), *(counter.transform(texts) for texts in splits[1:])]


def library() -> tuple[Any, Any, Any]:
    """What is used of scikit-learn."""
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
    except ImportError:
        raise ConfigError("probing needs scikit-learn, which is not installed; pip install 'foretell[tasks]'") from None
    return CountVectorizer, LogisticRegression, OneVsRestClassifier


def learn_mix(layers: Floats, labels: Names, steps: int = 200) -> ScalarMix:
    """The mix of layers [N, L, D] that a logistic regression on it wants, both learnt at once.

    L-BFGS brings the sum of losses in nats, and half the squared weights of the classifier (C = 1), to its least. The
    scale stays 1: the classifier has one of its own, which the penalty would not reach in the mix.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    x, y = torch.from_numpy(layers).transpose(0, 1), torch.from_numpy(numbers)  # [L, N, D], [N]
    mix, linear = ScalarMix(len(x)), torch.nn.Linear(x.shape[-1], len(classes))
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    parameters = [mix.scores, *linear.parameters()]
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = F.cross_entropy(linear(mix(x)), y, reduction="sum") + linear.weight.square().sum() / 2
        mean: torch.Tensor = total / len(y)
        mean.backward()
        return mean

    optimizer.step(loss)
    return mix
