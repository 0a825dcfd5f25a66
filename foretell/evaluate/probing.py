"""Linear probes: logistic regression on text features.

As in Radford et al. 2017 (arXiv:1704.01444, the authors' code): an L1 penalty, its strength chosen from a grid on the
validation split, trained on the training split only. N texts, W width, K classes, L layers, D width of a layer.
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

from foretell.data.labelled.words import is_unspaced
from foretell.nn.scalar_mix import ScalarMix

Floats = NDArray[np.float32]
Names = NDArray[np.str_]
GRID = tuple(2.0**power for power in range(-8, 1))
"""inverse strengths C of the penalty; smaller is stronger"""
ITERATIONS = 1000


@dataclass(frozen=True)
class Portion:
    """Features and labels of a split."""

    vectors: Any
    """[N, W] an array, or a sparse matrix of SciPy"""
    labels: Names
    """[N]"""

    def columns(self, which: Sequence[int]) -> Portion:
        """Only these units."""
        return Portion(self.vectors[:, list(which)], self.labels)


@dataclass(frozen=True)
class Fitted:
    """A classifier with the strength that was best on the validation split."""

    classes: tuple[str, ...]
    strength: float
    valid: float
    """accuracy on the validation split"""
    test: float
    """accuracy on the test split"""
    weights: NDArray[np.float64]
    """[K, W], or [1, W] for two classes, where positive weights favour the second"""
    bound: bool
    """whether the best strength is an end of the grid, so that a wider grid may help"""
    converged: bool

    @property
    def importance(self) -> NDArray[np.float64]:
        """[W] total absolute weight of each unit over all classes."""
        total: NDArray[np.float64] = np.abs(self.weights).sum(0)
        return total

    def units(self, most: int | None = None) -> list[int]:
        """The units with non-zero weights, the largest first."""
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
    """Fit a classifier per strength and keep the best, of equal ones the smallest; one-vs-rest for many classes."""
    _, regression, one_vs_rest = library()
    fitted: list[tuple[float, Any]] = []
    with warnings.catch_warnings(record=True) as caught:
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
            fitted.append((classifier.score(valid.vectors, valid.labels), classifier))
    best = int(np.argmax([accuracy for accuracy, _ in fitted]))
    accuracy, classifier = fitted[best]
    return Fitted(
        classes=tuple(str(name) for name in classifier.classes_),
        strength=grid[best],
        valid=float(accuracy),
        test=float(classifier.score(test.vectors, test.labels)),
        weights=np.concatenate([estimator.coef_ for estimator in classifier.estimators_]),
        bound=best in (0, len(grid) - 1) and len(grid) > 1,
        converged=not any("converge" in str(warning.message) for warning in caught),
    )


def bag_of(texts: Sequence[str]) -> str:
    """The units of a bag of such texts: words, or characters where the language has no blanks between words."""
    return "characters" if is_unspaced(texts) else "words"


def bags(splits: Sequence[Sequence[str]]) -> list[Any]:
    """Binary bags of words [N, words] of each split, training first, over the training split's vocabulary.

    Presence rather than counts: the better baseline for short texts (Wang and Manning 2012). Texts without blanks
    between words become bags of their characters, pairs and triples of characters.
    """
    vectorizer, _, _ = library()
    settings = {"analyzer": "char", "ngram_range": (1, 3)} if bag_of(splits[0]) == "characters" else {}
    counter = vectorizer(binary=True, dtype=np.float64, **settings)
    return [counter.fit_transform(splits[0]), *(counter.transform(texts) for texts in splits[1:])]


def library() -> tuple[Any, Any, Any]:
    """CountVectorizer, LogisticRegression and OneVsRestClassifier of scikit-learn, which takes a second to import."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    return CountVectorizer, LogisticRegression, OneVsRestClassifier


def learn_mix(layers: Floats, labels: Names, steps: int = 200) -> ScalarMix:
    """Learn a mix of layers [N, L, D] jointly with a logistic regression on it.

    L-BFGS minimises the sum of losses in nats plus half the squared weights of the classifier (C = 1). The scale of the
    mix stays 1: the classifier has a scale of its own, and in the mix it would escape the penalty.
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
