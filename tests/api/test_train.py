"""`foretell.train`: overrides, resuming, and what is refused before a folder exists."""

from pathlib import Path

import pytest
import torch
from builders import averaging, tables

import foretell
from foretell.training.state_dict import weights

Corpus = dict[str, str]


def test_overrides_are_dotted_names_or_tables(corpus: Corpus, tmp_path: Path) -> None:
    run = foretell.train(tables(corpus), tmp_path / "a", quiet=True, limit="1steps", model__hidden=5)
    assert run.recipe.model.hidden == 5  # type: ignore[union-attr]
    other = foretell.train(tables(corpus), tmp_path / "b", quiet=True, limit="1steps", optimizer={"kind": "adamw"})
    assert other.recipe.optimizer.kind == "adamw"


def test_a_finished_run_is_only_opened(corpus: Corpus, tmp_path: Path) -> None:
    first = foretell.train(tables(corpus, limit="2steps"), tmp_path / "run", quiet=True)
    again = foretell.train(tables(corpus, limit="2steps"), tmp_path / "run", quiet=True, resume=True)
    for name, tensor in weights(first.objective).items():
        assert torch.equal(tensor, weights(again.objective)[name])
    with pytest.raises(foretell.ConfigError, match="add --resume"):
        foretell.train(tables(corpus, limit="2steps"), tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__corpus": "nowhere.txt"}, r"nowhere\.txt"),
        ({"init": "nowhere"}, "nowhere"),
        ({"seeds": 2}, r"call foretell\.trials"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(
    corpus: Corpus, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(foretell.ConfigError, match=message):
        foretell.train(tables(corpus, **changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_equal_seeds_give_equal_weights_and_others_do_not(corpus: Corpus, tmp_path: Path) -> None:
    runs = [
        foretell.train(averaging(corpus, limit="4steps", seed=seed), tmp_path / str(number), quiet=True)
        for number, seed in enumerate((1, 1, 2))
    ]
    one, same, other = (weights(run.objective) for run in runs)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
