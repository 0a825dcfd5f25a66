"""Folds: each example is tested on once, no text is on two sides, and a test split of a set's own stays out of it."""

from pathlib import Path

import pytest

from foretell.config import validate
from foretell.data.labelled.examples import Example
from foretell.data.labelled.folds import FoldConfig, open_fold
from foretell.data.labelled.readers.tables import TableConfig
from foretell.errors import ConfigError

READER = TableConfig(texts=("premise", "hypothesis"))


def write(path: Path, rows: list[tuple[str, str, str]]) -> str:
    path.write_text("\n".join("\t".join(row) for row in [("premise", "hypothesis", "label"), *rows]) + "\n")
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, str]:
    """Seven premises with three hypotheses each for training, three for validation, and a test split."""
    rows = [(f"premise {p}", f"hypothesis {h}", "yn"[h % 2]) for p in range(12) for h in range(3)]
    parts = {"train": rows[:21], "valid": rows[21:30], "test": rows[30:]}
    return {split: write(tmp_path / f"{split}.tsv", part) for split, part in parts.items()}


def folds(corpus: dict[str, str], of: int) -> list[dict[str, list[Example]]]:
    return [
        {split: open_fold(corpus, split, FoldConfig(number=n, of=of), READER, False) for split in SPLITS}
        for n in range(1, of + 1)
    ]


SPLITS = ("train", "valid", "test")


@pytest.mark.parametrize("of", [3, 5, 10])
def test_every_example_is_tested_on_once_and_validated_on_once(corpus: dict[str, str], of: int) -> None:
    found = folds(corpus, of)
    for split in ("valid", "test"):
        seen = [example.where for fold in found for example in fold[split]]
        assert len(seen) == len(set(seen)) == 30
    for fold in found:
        assert len({example.where for split in SPLITS for example in fold[split]}) == 30


def test_more_folds_than_texts_are_refused(corpus: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="10 texts cannot be dealt to 11 folds"):
        folds(corpus, 11)


def test_what_one_model_is_validated_on_the_next_is_tested_on(corpus: dict[str, str]) -> None:
    found = folds(corpus, 4)
    assert [fold["valid"] for fold in found] == [fold["test"] for fold in [*found[1:], found[0]]]


def test_no_text_is_on_two_sides(corpus: dict[str, str]) -> None:
    for fold in folds(corpus, 4):
        sides = [{example.main_text for example in fold[split]} for split in SPLITS]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_a_test_split_of_its_own_has_no_part_in_it(corpus: dict[str, str]) -> None:
    own = {"premise 10", "premise 11"}
    for fold in folds(corpus, 3):
        assert not any(example.main_text in own for split in SPLITS for example in fold[split])


def test_files_without_splits_are_all_dealt(tmp_path: Path) -> None:
    path = write(tmp_path / "all.tsv", [(f"premise {n}", "hypothesis", "y") for n in range(10)])
    found = [open_fold(path, "test", FoldConfig(number=n, of=5), READER, False) for n in range(1, 6)]
    assert [len(part) for part in found] == [2] * 5


def test_parts_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="there is no part 4 of 3"):
        validate(FoldConfig, {"number": 4, "of": 3}, "fold")
    with pytest.raises(ConfigError, match="of: should be greater than or equal to 3"):
        validate(FoldConfig, {"number": 1, "of": 2}, "fold")
