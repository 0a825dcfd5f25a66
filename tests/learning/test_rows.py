"""Rows of text: the same rows and masks in each measurement, whatever is computed side by side."""

import pytest
from builders import masking, replacing

import foretell
from foretell.learning.rows import RowsModule
from foretell.recipe.loading import load_recipe

Corpus = dict[str, str]


@pytest.fixture(scope="module", params=["masked", "electra"])
def run(request: pytest.FixtureRequest, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = masking(corpus, limit="3steps") if request.param == "masked" else replacing(corpus, limit="3steps")
    return foretell.train(recipe, tmp_path_factory.mktemp("rows") / "run", quiet=True)


def test_a_measurement_can_be_repeated(run: foretell.Trained) -> None:
    first, again, narrow = run.evaluate("test"), run.evaluate("test"), run.evaluate("test", batch=1)
    assert first["objective_loss"] == again["objective_loss"]
    assert narrow["objective_loss"] == pytest.approx(first["objective_loss"], abs=1e-5)
    assert narrow["masked_targets"] == first["masked_targets"]


def test_the_objective_loss_is_the_weighted_sum_of_its_terms(run: foretell.Trained) -> None:
    record = run.evaluate("valid")
    weights = {"masked": 1.0, "replaced": 50.0}
    terms = {name: record[f"{name}_loss"] for name in weights if f"{name}_loss" in record}
    assert record["objective_loss"] == pytest.approx(sum(weights[name] * loss for name, loss in terms.items()))
    assert record["bits_per_byte"] is None and record["loss"] is None


def test_training_and_loading_measure_alike(run: foretell.Trained) -> None:
    assert run.evaluate("valid")["objective_loss"] == pytest.approx(run.validation()["objective_loss"], abs=1e-6)


def test_rows_have_no_bits_per_byte(corpus: Corpus) -> None:
    assert RowsModule(load_recipe(masking(corpus))).bytes_per_token is None
