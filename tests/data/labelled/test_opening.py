import gzip
import json
import logging
import lzma
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import zstandard

from foretell.data import text_files
from foretell.data.labelled.examples import Answer, Example, Labelled, Question
from foretell.data.labelled.opening import check_reader, divide, open_all, open_examples, read_examples
from foretell.data.labelled.readers.folders import FoldersConfig
from foretell.data.labelled.readers.tables import TableConfig
from foretell.errors import ConfigError

TABLE = TableConfig()


def write(path: Path, texts: list[str], label: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for text in texts))
    return path


def texts(examples: list[Example]) -> list[str]:
    return [example.main_text for example in examples]


def refused(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return str(caught.value)


# --- splits ---------------------------------------------------------------------------------------


def test_files_named_for_splits(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        write(tmp_path / f"{split}.tsv", [split])
    for split, expected in {"train": "train", "valid": "dev", "test": "test"}.items():
        assert texts(open_examples(str(tmp_path), split, TABLE)) == [expected]
        assert texts(open_examples(f"{tmp_path}/*.tsv", split, TABLE)) == [expected]
    named = {"train": f"{tmp_path}/dev.tsv", "validation": f"{tmp_path}/test.tsv"}
    assert texts(open_examples(named, "train", TABLE)) == ["dev"]
    assert texts(open_examples(named, "valid", TABLE)) == ["test"]
    assert refused(open_examples, named, "test", TABLE).endswith("has no 'test' split (it has train, valid)")
    assert "corpus.tset: no such split; did you mean 'test'?" in refused(open_examples, {"tset": "x"}, "test", TABLE)


def test_a_class_a_folder_below_a_folder_a_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            for number in range(10):
                path = tmp_path / split / label / f"{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{split} {label} {number}")
    found = {split: open_examples(str(tmp_path), split, FoldersConfig()) for split in ("train", "valid", "test")}
    assert {split: len(examples) for split, examples in found.items()} == {"train": 18, "valid": 2, "test": 20}
    assert all(text.startswith("test") for text in texts(found["test"]))
    assert {example.label for example in found["train"] if isinstance(example, Labelled)} == {"neg", "pos"}


def test_one_file_is_divided_without_loss(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.tsv", [f"text {number}" for number in range(40)]))
    parts = {split: texts(open_examples(path, split, TABLE)) for split in ("train", "valid", "test")}
    assert [len(part) for part in parts.values()] == [32, 4, 4]
    assert sorted(chain.from_iterable(parts.values())) == sorted(f"text {number}" for number in range(40))
    # a tenth of what is for training, where only validation is missing
    alone = {"train": path, "test": path}
    assert [len(open_examples(alone, split, TABLE)) for split in ("train", "valid", "test")] == [36, 4, 40]
    assert texts(open_examples(alone, "valid", TABLE)) == parts["valid"]


def test_examples_of_one_text_stay_together() -> None:
    passages = [f"passage {number}" for number in range(20)]
    examples = [Question(f"{p} {q}", "?", p, (Answer("p", 0),)) for p in passages for q in range(3)]
    parts = divide(examples, ("valid", "test"))
    sides = [{example.main_text for example in part} for part in parts.values()]
    assert [len(side) for side in sides] == [16, 2, 2]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert [len(part) for part in parts.values()] == [48, 6, 6]


def test_splits_are_the_same_for_every_order_and_nearly_so_with_more_texts() -> None:
    examples = [Labelled((f"text {number}",), "x") for number in range(200)]
    parts, turned = divide(examples, ("valid",)), divide(examples[::-1], ("valid",))
    assert set(parts["valid"]) == set(turned["valid"])
    assert turned["train"] == parts["train"][::-1]
    fewer = divide(examples[:-10], ("valid",))
    assert len(set(fewer["valid"]) - set(parts["valid"])) <= 3


def test_too_few_texts_to_divide(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.tsv", ["one", "one", "two"]))
    assert refused(open_examples, path, "train", TABLE) == (
        f"corpus {path!r}: 2 texts cannot be divided into train, valid, test; "
        "add some, or name each: corpus = {train = …, valid = …, test = …}"
    )


# --- packed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ".ZST"])
@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_packed_files_give_the_same_and_damage_is_told(tmp_path: Path, name: str, ending: str) -> None:
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[ending.lower()]
    plain = tmp_path / name
    rows = [{"label": str(number % 3), "text": f"text {number}"} for number in range(3000)]
    if name == "a.jsonl":
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        between = "\t" if name == "a.tsv" else ","
        plain.write_text(f"label{between}text\n" + "".join(f"{r['label']}{between}{r['text']}\n" for r in rows))
    stored = pack(plain.read_bytes())
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(stored)
    expected = [(row["label"], row["text"]) for row in rows]
    found = read_examples(path, TABLE)
    assert [(row.label, row.texts[0]) for row in found if isinstance(row, Labelled)] == expected
    for cut in (len(stored) - 1, len(stored) // 2, 3, 0):
        path.write_bytes(stored[:cut])
        assert f"{path}: damaged or truncated" in refused(read_examples, path, TABLE)


def test_a_line_longer_than_memory_bears_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 1 << 20)
    path = write(tmp_path / "a.tsv", ["fits", "x" * (1 << 20)])
    assert refused(read_examples, path, TABLE).startswith(f"{path}:3: longer than 1 MiB; break it")


# --- what is not found ----------------------------------------------------------------------------


def test_names_and_places_that_are_none(tmp_path: Path) -> None:
    assert "did you mean 'imdb'?" in refused(open_examples, "imbd", "train")
    assert 'data.reader = {kind = "table"' in refused(open_examples, "python-docs", "train")
    assert "no such file or folder" in refused(open_examples, str(tmp_path / "none.tsv"), "train", TABLE)
    (tmp_path / "empty").mkdir()
    assert "an empty folder" in refused(open_examples, str(tmp_path / "empty"), "train", TABLE)
    path = write(tmp_path / "a.tsv", [])
    assert refused(read_examples, path, TABLE) == f"{path}: no examples in it"


# --- bad rows -------------------------------------------------------------------------------------


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", ["good", "", "a\tb", "fine"])
    assert refused(read_examples, path, TABLE).split("\n") == [
        f"{path}: 2 of 4 rows cannot be used; fix them, or leave them out with --skip-bad",
        f"  {path}:3: 'text' is empty",
        f"  {path}:4: has 3 columns, not 2",
    ]
    many = refused(read_examples, write(path, [""] * 30), TABLE).split("\n")
    assert len(many) == 22
    assert many[-1] == "  … and 10 more"


def test_bad_rows_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "train.tsv", ["good", "", "fine", "well"])
    write(tmp_path / "valid.tsv", ["good"])
    with caplog.at_level(logging.WARNING, "foretell"):
        assert texts(open_examples(str(tmp_path), "train", TABLE, skip_bad=True)) == ["good", "fine", "well"]
    assert caplog.messages == [f"{path}: left out 1 of 4 rows; the first: {path}:3: 'text' is empty"]
    assert "1 of 1 row cannot be used" in refused(read_examples, write(path, [""]), TABLE)
    assert "no examples" in refused(read_examples, path, TABLE, True)


# --- as text --------------------------------------------------------------------------------------


# --- all at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["a"], ["train", "valid", "test"]),
        (["train"], ["train", "valid"]),
        (["train", "dev"], ["train", "valid"]),
        (["train", "dev", "test"], ["train", "valid", "test"]),
        (["train", "test"], ["train", "valid", "test"]),
    ],
)
def test_all_splits_are_those_that_are_read_one_by_one(tmp_path: Path, names: list[str], splits: list[str]) -> None:
    for name in names:
        write(tmp_path / f"{name}.tsv", [f"{name} {number}" for number in range(30)])
    place = str(tmp_path / "a.tsv") if names == ["a"] else str(tmp_path)
    found, problems = open_all(place, TABLE)
    assert (list(found), problems) == (splits, [])
    assert found == {split: open_examples(place, split, TABLE) for split in splits}


def test_bad_rows_of_all_splits_are_kept_apart(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", ["one", "", "two", "three"])
    write(tmp_path / "test.tsv", [""])
    found, problems = open_all(str(tmp_path), TABLE)
    assert len(found["train"]) + len(found["valid"]) == 3 and "test" not in found
    assert sorted(problem.what for problem in problems) == ["1 of 1 row cannot be used", "1 of 4 rows cannot be used"]
    write(tmp_path / "train.tsv", [""])
    assert "1 of 1 row cannot be used" in refused(open_all, str(tmp_path), TABLE)


def test_a_reader_is_suggested_that_fits_the_task() -> None:
    for task, reader in {"tagging": "columns", "answering": "squad", "classification": "table", "": "table"}.items():
        assert f'data.reader = {{kind = "{reader}"' in refused(check_reader, "own.txt", None, task)
    check_reader("sst2", None, "classification")
    check_reader("own.txt", TABLE, "classification")
