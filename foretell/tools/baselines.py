"""Baselines of a classifier: always the most frequent label, and logistic regression on a bag of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from foretell.api.trained import Trained
from foretell.data.labelled.examples import Example
from foretell.errors import ConfigError
from foretell.evaluate.probing import Portion, bag_of, bags, fit
from foretell.trees import Tree

FITTED = 20_000
"""training texts of the bag of words"""
LARGEST = 40_000_000
"""characters of training text, times classes, above which `beside` fits no baseline"""


def baseline(train: Sequence[Example], held_out: Sequence[Example], on: str) -> Tree:
    """Accuracy of the most frequent label of training, and of logistic regression (C = 1), on held-out examples.

    `on` names the held-out split. Empty where examples have no label, or more than one.
    """
    sides = [[example for example in side if not example.is_empty] for side in (train[:FITTED], held_out)]
    names = [[example.label_names for example in side] for side in sides]
    if not sides[1] or any(len(one) != 1 for side in names for one in side) or len(set(names[0])) < 2:
        return {}
    labels = [np.array([name for (name,) in side]) for side in names]
    texts = [[example.line for example in side] for side in sides]
    most = Counter(labels[0].tolist()).most_common(1)[0][0]
    try:
        portions = [Portion(*pair) for pair in zip(bags(texts), labels, strict=True)]
    except ValueError:  # no text has a word
        return {}
    fitted = fit(portions[0], portions[1], portions[1], grid=(1.0,), penalty="l2")
    return {
        "measured_on": on,
        "most_frequent_label": float((labels[1] == most).mean()),
        f"bag_of_{bag_of(texts[0])}": fitted.test,
    }


def beside(model: Trained, split: str) -> Tree:
    """`{"baseline": …}` on the examples of a split that a classifier is measured on.

    Empty for other models, for large training splits, and where the training examples are not at hand.
    """
    if split == "train" or not (model.is_task and model.settings.objective.has_classes):
        return {}
    data = model.task_evaluator(skip_bad=True).data
    try:
        train = data.examples("train", skip_bad=True)
    except ConfigError:
        return {}
    if len(model.labels) * sum(len(example.line) for example in train) > LARGEST:
        return {}
    found = baseline(train, data.examples(split, skip_bad=True), split)
    return {"baseline": found} if found else {}
