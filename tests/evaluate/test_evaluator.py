"""What evaluators share: parts of splits, and how much fits into a time."""

from typing import Any

import numpy as np
import pytest
import torch
from builders import masking, tables

from foretell.evaluate.evaluator import Evaluator, FunctionEvaluator
from foretell.evaluate.scoring import score_tokens
from foretell.learning.kinds import data_module
from foretell.learning.text import LikelihoodEvaluator, TextModule
from foretell.recipe.loading import load_recipe

Corpus = dict[str, str]
CPU = torch.device("cpu")
TRANSFORMER = {"kind": "transformer", "hidden": 8, "layers": 1, "heads": 2, "context": 16}


def evaluator_of(recipe: dict[str, Any]) -> Any:
    """The evaluator of an untrained model."""
    settings = load_recipe(recipe)
    data = data_module(settings)
    torch.manual_seed(1)
    return data.evaluator(settings.build(data.tokenizer.size, data.token_counts()).eval(), CPU)


RECIPES = {
    "streams": {},
    "lines": {"data__batches": {"kind": "lines", "batch": 3, "length": 5}},
    "overlapping": {"model": TRANSFORMER, "data__batches": {"kind": "crops", "batch": 4, "length": 16}},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_share_of_a_text_is_measured_as_in_a_whole_pass(name: str, share: float, corpus: Corpus) -> None:
    evaluator = evaluator_of(tables(corpus, evaluation__length=3, **RECIPES[name]))
    assert isinstance(evaluator, LikelihoodEvaluator) and isinstance(evaluator.data, TextModule)
    evaluator.columns = 4
    text = evaluator.data.valid
    windows = evaluator.windows(text)
    whole = score_tokens(evaluator.scorer, windows, CPU).logp
    numbers = getattr(windows.part(share), "numbers")  # noqa: B009
    read = np.concatenate([windows.target_positions(k).ravel() for k in numbers])
    read = np.sort(read[read >= 0])
    evaluator.share = share
    measured = evaluator.evaluate("valid")
    assert 0.5 * share <= len(numbers) / len(windows) <= max(share, 1 / len(windows))
    assert measured["tokens"] == len(read) == len(set(read.tolist()))
    assert measured["loss"] == pytest.approx(-whole[read].mean(), rel=1e-6)
    ratio = len(text.tokens) / text.counts.bytes
    assert measured["bits_per_byte"] == pytest.approx(measured["loss"] * ratio / np.log(2))


def test_rows_at_even_distances(corpus: Corpus) -> None:
    evaluator = evaluator_of(masking(corpus))
    whole = evaluator.evaluate("valid")
    evaluator.share = 0.5
    part = evaluator.evaluate("valid")
    assert 0 < part["masked_targets"] < whole["masked_targets"]


class Halving(Evaluator):
    """Takes 100 s with one column, and half as long with each further one, up to four."""

    context = ""

    def evaluate(self, split: str, on_progress: Any = None) -> dict[str, Any]:
        return {}

    def expected_seconds(self, split: str) -> float:
        return 200 / 2**self.columns * self.share

    def add_columns(self) -> bool:
        if self.columns == 4:
            return False
        self.columns += 1
        return True


@pytest.mark.parametrize(
    ("seconds", "columns", "share", "expected"),
    [(100, 1, 1.0, 100), (60, 2, 1.0, 50), (12.5, 4, 1.0, 12.5), (5, 4, 0.4, 5), (1e-9, 4, 8e-11, 1e-9)],
)
def test_what_fits_into_a_time(seconds: float, columns: int, share: float, expected: float) -> None:
    evaluator = Halving()
    assert evaluator.fit_within("valid", seconds) == pytest.approx(expected)
    assert (evaluator.columns, evaluator.share) == (columns, pytest.approx(share))


def test_what_cannot_be_cut_into_columns_is_measured_in_part() -> None:
    evaluator = FunctionEvaluator(dict, seconds=10.0)
    assert evaluator.fit_within("valid", 4.0) == 4.0 and evaluator.share == pytest.approx(0.4)
