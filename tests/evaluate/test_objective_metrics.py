"""What has nothing to guess is no perfect model: refused at the start or when it is measured, and never the best."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import masking, trainer_of

import foretell
from foretell.errors import ConfigError
from foretell.evaluate import objective_metrics
from foretell.evaluate.evaluator import FunctionEvaluator
from foretell.learning.rows import RowsModule
from foretell.optim.progress import Progress
from foretell.recipe.loading import load_recipe
from foretell.run import Run, judged

Corpus = dict[str, str]
RARE = {"kind": "token", "rate": 0.001}

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("short") / "short.txt"
    file.write_text("the cat\n")
    return str(file)


def test_a_validation_in_which_nothing_is_masked_is_refused(corpus: Corpus, short: str, tmp_path: Path) -> None:
    recipe = masking({**corpus, "valid": short}, objective__masking=RARE, limit="1steps")
    with pytest.raises(ConfigError, match=r'valid: no token is masked in any row; .*rounding = "nearest"'):
        foretell.train(recipe, tmp_path / "run", quiet=True)
    nearest = foretell.train(recipe, tmp_path / "nearest", quiet=True, objective__masking__rounding="nearest")
    assert nearest.evaluate("valid")["masked_targets"] == 1


def test_so_is_a_training_text(corpus: Corpus, short: str, tmp_path: Path) -> None:
    recipe = masking({**corpus, "train": short, "valid": corpus["train"]}, objective__masking=RARE, limit="1steps")
    with pytest.raises(ConfigError, match="train: no token is masked in any row"):
        foretell.train(recipe, tmp_path / "run", quiet=True)


def test_pairs_need_a_document_of_two_texts(corpus: Corpus, short: str, tmp_path: Path) -> None:
    pairs = {"kind": "sentence-pair", "pairs": "sop", "batch": 4, "length": 12}
    recipe = masking({**corpus, "valid": short}, limit="1steps", objective__masking__rounding="nearest")
    recipe["data"]["batches"] = pairs
    with pytest.raises(ConfigError, match="valid: no document has two texts to pair"):
        foretell.train(recipe, tmp_path / "run", quiet=True)


def test_a_text_without_targets_is_no_measurement(corpus: Corpus, short: str, tmp_path: Path) -> None:
    run = foretell.train(masking(corpus, limit="1steps", objective__masking=RARE | {"rate": 0.02}), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"short\.txt: this text has no targets"):
        run.evaluate(short)
    with run.text(short) as text:
        rows = RowsModule(run.settings, run.tokenizer).evaluator(run.objective, CPU).rows(text)
        found = objective_metrics.measure(run.objective, rows, CPU)
    assert found["objective_loss"] is None and "masked_loss" not in found
    assert judged(found) == math.inf


def test_a_term_without_targets_leaves_no_sum(corpus: Corpus) -> None:
    """A loss without one of its terms is not that of another text which has them all."""
    recipe = load_recipe(masking(corpus))
    data = RowsModule(recipe)
    objective = recipe.build(data.tokenizer.size).eval()
    rows = data.evaluator(objective, CPU).rows(data.valid)
    whole = objective_metrics.measure(objective, rows, CPU)
    assert whole["objective_loss"] == pytest.approx(whole["masked_loss"])
    counts = objective.counts
    objective.counts = lambda batch: {**counts(batch), "pair": 0}  # type: ignore[method-assign]
    assert objective_metrics.measure(objective, rows, CPU)["objective_loss"] is None


@pytest.mark.parametrize(
    "measured",
    [
        {"loss": None, "objective_loss": None},
        {"loss": None, "objective_loss": math.nan},
        {"loss": math.nan, "perplexity": math.nan, "bits_per_byte": math.nan},
        {"loss": None, "metric": "pearson", "pearson": math.nan, "objective_loss": 1.0},
    ],
)
def test_what_cannot_be_judged_is_never_the_best(corpus: Corpus, tmp_path: Path, measured: dict[str, Any]) -> None:
    run = Run(tmp_path)
    trainer = trainer_of(load_recipe(masking(corpus)).build(20), run)
    trainer.stage.evaluator = FunctionEvaluator(lambda: measured)
    assert not trainer.validate(Progress(1, 1.0, 10, 1.0, 1.0))
    assert trainer.position.best == math.inf

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    (record,) = (json.loads(line, parse_constant=refuse) for line in run.metrics_file.read_text().splitlines())
    assert judged(record) == math.inf
    trainer.stage.evaluator = FunctionEvaluator(lambda: {"loss": 2.0, "perplexity": 7.4, "bits_per_byte": 1.0})
    assert trainer.validate(Progress(2, 2.0, 20, 2.0, 1.0)) and trainer.position.best == 2.0
