"""Starting from another run: what is taken over, what is refused, and by which counts tokens are ranked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import attending, tables

import foretell
from foretell.api.initialisation import first_difference, initial_counts, open_initial, shape_of
from foretell.learning.kinds import data_module
from foretell.recipe.loading import load_recipe
from foretell.training.state_dict import weights

Corpus = dict[str, str]


@pytest.fixture(scope="module")
def parent(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    return foretell.train(tables(corpus, limit="3steps"), tmp_path_factory.mktemp("init") / "run", quiet=True)


def test_the_same_vocabulary_takes_over_all_weights(corpus: Corpus, parent: foretell.Trained, tmp_path: Path) -> None:
    recipe = tables(corpus, limit="1steps", init=str(parent.run.path), optimizer={"kind": "sgd", "learning_rate": 1e-9})
    child = foretell.train(recipe, tmp_path / "child", quiet=True)
    before, after = weights(parent.objective), weights(child.objective)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)
    (record,) = (r for r in child.run.metrics() if r["kind"] == "init")
    assert record["new_tokens"] == 0 and record["shared_tokens"] == parent.tokenizer.size


def test_another_architecture_is_refused_by_the_first_tensor(corpus: Corpus, parent: foretell.Trained) -> None:
    wider = load_recipe(tables(corpus, model__hidden=9, init=str(parent.run.path)))
    with pytest.raises(foretell.ConfigError, match=r"weight_ih is \(32, 8\) there and \(36, 8\) here"):
        open_initial(wider)
    assert first_difference(wider, wider) == ""
    assert first_difference(load_recipe(attending(corpus)), wider)


def test_the_vocabulary_has_a_name_in_shapes() -> None:
    assert shape_of(torch.empty(2**20, 8, device="meta")) == "(tokens, 8)"


def test_counts_are_taken_over_with_the_vocabulary(corpus: Corpus, parent: foretell.Trained, tmp_path: Path) -> None:
    """Layouts by frequency stay those of the parent, whatever the new text is."""
    other = tmp_path / "other.txt"
    other.write_text("cat\n" * 50)
    recipe = load_recipe(tables({**corpus, "train": str(other)}, init=str(parent.run.path)))
    taken = initial_counts(recipe, data_module(recipe, parent.tokenizer))
    np.testing.assert_array_equal(taken, np.load(parent.run.counts_file))
    recounted = load_recipe(tables({**corpus, "train": str(other)}))
    assert initial_counts(recounted, data_module(recounted, parent.tokenizer)).max() == 50


def test_an_ngram_model_has_nothing_to_start_from(corpus: Corpus, tmp_path: Path) -> None:
    ngram = tables(corpus, limit="1epochs", model={"kind": "ngram", "order": 2})
    foretell.train(ngram, tmp_path / "ngram", quiet=True)
    with pytest.raises(foretell.ConfigError, match="n-gram model, which is counted"):
        open_initial(load_recipe(tables(corpus, init=str(tmp_path / "ngram"))))
