"""The examples of a task: what is learned from, in which tokens, and what stands for a split."""

from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled

import foretell
from foretell.data.labelled.examples import Choice, Labelled, Question, Tagged
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule, digest_of, read_split, task_of
from foretell.recipe.loading import load_recipe


def module(folder: Path, rows: list[tuple[str, str]], **changes: Any) -> TaskModule:
    """The examples of a file, all of them for training and the last for validation."""
    for name, part in {"train": rows, "valid": rows[-1:]}.items():
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in part))
    corpus = {split: str(folder / f"{split}.tsv") for split in ("train", "valid")}
    data = {"corpus": corpus, "reader": {"kind": "table"}} | changes
    return TaskModule(load_recipe(task_tables("classification", "recurrent", data)))


def test_words_are_those_of_the_training_split(tmp_path: Path) -> None:
    examples = module(tmp_path, [("the cat the", "x"), ("a cat", "y")])
    (tmp_path / "valid.tsv").write_text("text\tlabel\na dog\tx\n")
    tokenizer = examples.tokenizer
    assert {"the", "cat", "a"} <= set(tokenizer.spellings) and "dog" not in tokenizer.spellings
    counts = {tokenizer.token(token): int(n) for token, n in enumerate(examples.token_counts()) if n}
    assert {word: counts[word] for word in ("the", "cat", "a")} == {"the": 2, "cat": 2, "a": 1}
    assert examples.token_counts().shape == (tokenizer.size,)
    assert examples.labels == ("x", "y")


def test_what_does_not_fit_is_left_out_of_both_splits(tmp_path: Path) -> None:
    rows = [("the cat", "x"), ("a dog", "y")]
    good = module(tmp_path, rows, skip_bad=True)
    assert [len(part) for part in good.learned[:2]] == [2, 1]
    (tmp_path / "valid.tsv").write_text("text\tlabel\na dog\tz\n\tx\nthe cat\ty\n")
    left = TaskModule(good.recipe)
    assert left.learned.valid == [Labelled(("the cat",), "y")] == left.examples("valid")
    with pytest.raises(ConfigError, match="1 of 3 rows"):
        left.examples(str(tmp_path / "valid.tsv"), skip_bad=False)
    with pytest.raises(ConfigError, match=r"train\.tsv: 1 of 3 rows"):
        _ = module(tmp_path, [*rows, ("", "y")]).learned


def test_a_split_that_is_none_is_told(tmp_path: Path) -> None:
    tables = task_tables("classification", "recurrent", write_labelled("classification", tmp_path), limit="1steps")
    with pytest.raises(ConfigError, match=r"'tset': no such split; did you mean 'test'\? .* and no such file"):
        foretell.train(tables, tmp_path / "run", quiet=True).evaluate("tset")


def test_a_file_is_read_as_the_training_split_is(tmp_path: Path) -> None:
    recipe = module(tmp_path, [("a", "x"), ("b", "y")]).recipe
    other = tmp_path / "other.tsv"
    other.write_text("label\ttext\nz\tc d\n")
    (found,) = read_split(recipe, str(other))
    assert found == Labelled(("c d",), "z") and found.where == f"{other}:2"
    assert [example.label for example in read_split(recipe, "train")] == ["x", "y"]


@pytest.mark.parametrize(
    "changed",
    [
        [Labelled(("a", "b"), "y"), Labelled(("c",), None)],
        [Labelled(("ab",), "x"), Labelled(("c",), None)],
        [Labelled(("c",), None), Labelled(("a", "b"), "x")],
        [Labelled(("a", "b"), "x")],
        [],
    ],
    ids=repr,
)
def test_a_fingerprint_follows_texts_labels_and_their_order(changed: list[Labelled]) -> None:
    given = [Labelled(("a", "b"), "x", "a.tsv:1"), Labelled(("c",), None, "a.tsv:2")]
    assert digest_of(given) == digest_of([Labelled(("a", "b"), "x", "b.tsv:7"), Labelled(("c",), None)])
    assert digest_of(given) != digest_of(changed)
    assert digest_of([Labelled(("\ud800",), "x")]) != digest_of([Labelled(("\ud801",), "x")])


def test_all_texts_of_an_example() -> None:
    assert Labelled(("a", "b"), "x").all_texts == ("a", "b")
    assert Choice("c", ("a", "b"), 0).all_texts == ("c", "a", "b")
    assert Tagged(("a", "b"), None).all_texts == ("a b",)
    assert Question("1", "q", "p", ()).all_texts == ("q", "p")


def test_a_language_model_has_no_examples() -> None:
    with pytest.raises(ConfigError, match=r'objective\.kind = "causal" is not a task: it learns from text'):
        task_of(load_recipe({}))


def test_a_training_that_ends_within_the_first_epoch_says_so(tmp_path: Path) -> None:
    examples = module(tmp_path, [("the cat", "x"), ("a dog", "y")])
    (told,) = examples.closing_remarks(0.4)
    assert "0.40 epochs" in told
    assert examples.closing_remarks(1.0) == []
