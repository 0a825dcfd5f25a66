"""Corpora by path, folder, glob, split and name."""

from pathlib import Path

import pytest
from corpora import documents_of, text_of, whole, write_splits

from foretell.data.opening import open_corpus, open_file
from foretell.errors import ConfigError


@pytest.mark.parametrize("names", [("train.txt", "dev.txt"), ("wiki.train.tokens", "wiki.validation.tokens")])
def test_names_of_files_tell_their_split(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in (*names, "unrelated.txt"):
        (tmp_path / name).write_text(name)
    corpus = open_corpus(str(tmp_path))
    assert corpus.splits == ("train", "valid")
    assert [text_of(corpus, split) for split in corpus.splits] == list(names)
    with pytest.raises(ConfigError, match=r"no 'test' split \(it has train, valid\)"):
        corpus.pieces("test")


def test_folders_and_globs_tell_splits_too(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for shard in "ba":
            (tmp_path / split / f"{shard}.txt").write_text(f"{split} {shard}\n")
    assert text_of(open_corpus(str(tmp_path)), "test") == "test a\ntest b\n"
    flat = tmp_path / "flat"
    flat.mkdir()
    write_splits(flat)
    (flat / "notes.md").write_text("not read")
    corpus = open_corpus(str(flat / "t*.txt"))
    assert corpus.splits == ("train", "test")


def test_splits_can_be_given_one_by_one(tmp_path: Path) -> None:
    write_splits(tmp_path)
    paths = {"train": str(tmp_path / "train.txt"), "dev": str(tmp_path / "v*.txt")}
    corpus = open_corpus(paths)
    assert corpus.splits == ("train", "valid")
    assert text_of(corpus, "valid") == "valid text\n"
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        open_corpus({"trian": paths["train"]})


def test_what_is_missing_or_unusable_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "novels.txt").write_text("text\n")
    (tmp_path / "empty").mkdir()
    for spec, problem in {
        str(tmp_path / "novel.txt"): "did you mean 'novels.txt'",
        str(tmp_path / "none" / "a.txt"): f"nearest existing folder: {tmp_path}; built-in: python",
        "python-doc": "did you mean 'python-docs'",
        str(tmp_path / "empty"): "an empty folder",
        str(tmp_path / "*.xyz"): "no such file or folder",
    }.items():
        with pytest.raises(ConfigError) as caught:
            open_corpus(spec)
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "table.csv").write_text("a,b")
    with pytest.raises(ConfigError, match="not a text file"):
        open_corpus(str(tmp_path / "table.csv"))


def test_empty_files_are_skipped_but_not_a_whole_corpus_of_them(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="no text in it"):
        open_corpus(str(tmp_path))
    (tmp_path / "c.txt").write_text("text\n")
    corpus = whole(tmp_path)
    assert documents_of(corpus, "train") == ["text\n"]
    assert corpus.report.empty_files == 2


def test_what_is_left_out_of_a_split_given_by_itself_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.txt").write_text(f"{split}\n")
        (tmp_path / split / "b.csv").touch()
    corpus = open_corpus({split: str(tmp_path / split) for split in ("train", "valid")})
    assert [text_of(corpus, split) for split in corpus.splits] == ["train\n", "valid\n"]
    assert [message.partition(": ")[0] for message in caplog.messages] == [f"{tmp_path}/train", f"{tmp_path}/valid"]
    assert len(corpus.left_out) == 2


def test_a_text_is_measured_whole_in_place_of_a_split(tmp_path: Path) -> None:
    for name in ("train.txt", "other.jsonl"):
        (tmp_path / name).write_text('{"body": "one"}\n{"body": "two"}\n')
    assert open_file(str(tmp_path / "train.txt")).splits == ("test",)
    assert documents_of(open_file(f"{tmp_path}/other.jsonl#body"), "test") == ["one", "two"]
    assert len(documents_of(open_file(str(tmp_path / "*.txt")), "test")) == 1


def test_a_split_that_is_none_suggests_those_that_are(tmp_path: Path) -> None:
    for name, hint in {
        "tset": "did you mean 'test'?",
        "validation": "did you mean 'valid'?",
        "a.txt": "no such split (",
    }.items():
        with pytest.raises(ConfigError) as caught:
            open_file(name)
        assert hint in str(caught.value) and "(train, valid, test) and no such file" in str(caught.value)


def test_a_file_to_measure_that_is_not_there_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "novels.txt").write_text("text\n")
    with pytest.raises(ConfigError, match=r"novel\.txt': no such split; did you mean 'novels\.txt'\?"):
        open_file(str(tmp_path / "novel.txt"))
