from pathlib import Path

import pytest

from foretell.data.labelled.examples import BadRow, Labelled
from foretell.data.labelled.readers.folders import FoldersConfig, shared_start, split_folders


def read(path: Path, labelled: bool = True, **settings: object) -> list[object]:
    rows = FoldersConfig(**settings).read(path, labelled)
    return [str(row) if isinstance(row, BadRow) else row for row in rows]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_folder_a_class_with_a_file_a_text(tmp_path: Path) -> None:
    write(tmp_path / "pos" / "10_9.txt", "ten\n\nlines\n")
    write(tmp_path / "pos" / "2_9.txt", "two")
    write(tmp_path / "neg" / "1_1.txt", " \n")
    write(tmp_path / "neg" / ".DS_Store", "no text")
    empty = f"{tmp_path}/neg/1_1.txt:1: has no text"
    assert read(tmp_path) == [empty, Labelled(("two",), "pos"), Labelled(("ten\n\nlines",), "pos")]
    assert read(tmp_path, names={"pos": "good"})[0] == f"{tmp_path}/neg: label 'neg' is none of pos"
    assert read(tmp_path / "pos", labelled=False) == [Labelled(("two",), None), Labelled(("ten\n\nlines",), None)]


def test_a_file_a_class_with_a_line_a_text(tmp_path: Path) -> None:
    write(tmp_path / "rt.neg", "dull .\n\nflat .\n")
    write(tmp_path / "good.txt", "fine .")
    expected = [Labelled(("fine .",), "good"), Labelled(("dull .",), "rt.neg"), Labelled(("flat .",), "rt.neg")]
    assert read(tmp_path) == expected
    assert read(tmp_path / "rt.neg", names={"rt.neg": "bad"})[0] == Labelled(("dull .",), "bad")


def test_what_the_names_of_all_files_begin_with_is_no_part_of_a_label(tmp_path: Path) -> None:
    write(tmp_path / "subj.objective", "so it was\n")
    write(tmp_path / "subj.subjective.txt", "fine\n")
    assert read(tmp_path) == [Labelled(("so it was",), "objective"), Labelled(("fine",), "subjective")]
    names = {"subj.objective": "told", "subj.subjective": "felt"}
    assert read(tmp_path, names=names)[0] == Labelled(("so it was",), "told")
    assert read(tmp_path / "subj.objective")[0] == Labelled(("so it was",), "objective")  # as in its folder
    write(tmp_path / "deep" / "talk.x" / "1", "one")
    write(tmp_path / "deep" / "talk.y" / "1", "one")
    assert [row.label for row in read(tmp_path / "deep")] == ["talk.x", "talk.y"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["bus/1", "train/1", "tram/1"], []),  # vehicles
        (["train/a/1", "train/b/1", "notes/1"], ["train"]),
        (["train/a.txt", "dev/a.txt"], ["dev", "train"]),
        (["train/a.txt", "test/a.txt", "notes/1"], ["test", "train"]),
        (["train/a.txt"], ["train"]),
    ],
)
def test_a_class_may_be_called_train(files: list[str], splits: list[str], tmp_path: Path) -> None:
    for file in files:
        write(tmp_path / file, "text")
    assert sorted(entry.name for entry in split_folders(sorted(tmp_path.iterdir()))) == splits


@pytest.mark.parametrize(
    ("names", "shared"),
    [(["a.x", "a.y"], "a."), (["ab", "ac"], ""), (["a-b-x", "a-b-y"], "a-b-"), (["a.", "a.b"], ""), (["a.x"], "")],
)
def test_what_names_share(names: list[str], shared: str) -> None:
    assert shared_start(names) == shared
