"""Which files are read, and which split each is: every file is read, named as left out, or refused."""

import os
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from foretell.data.files import find_files, printable, walk
from foretell.data.labelled.opening import open_examples
from foretell.data.labelled.readers.folders import FoldersConfig
from foretell.data.labelled.readers.tables import TableConfig
from foretell.data.opening import open_corpus, open_file
from foretell.data.store.store import is_store, prepare
from foretell.data.text.corpus import Corpus
from foretell.data.tokenizers.kinds import ByteConfig
from foretell.errors import ConfigError

TABLE = TableConfig()


def write(folder: Path, *names: str, text: str = "") -> str:
    """Files that hold their own names, 200 times."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or f"{name}\n" * 200)
    return str(folder)


def held(corpus: Corpus) -> dict[str, set[str]]:
    """The lines of each split."""
    return {s: {piece.text.removesuffix("\n") for piece in corpus.pieces(s)} for s in corpus.splits}


def all_of(corpus: Corpus) -> set[str]:
    """The lines of all splits of a corpus that came without."""
    assert corpus.splits == ("train", "valid", "test")
    return set(chain(*held(corpus).values()))


def refused(place: Any, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_corpus(place)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# --- what is found --------------------------------------------------------------------------------


def test_nothing_hidden_is_read(tmp_path: Path) -> None:
    place = write(tmp_path / ".root", "a.txt", ".b.txt", ".ipynb_checkpoints/a.txt", "in/.git/x/c.txt", "in/d.txt")
    assert all_of(open_corpus(place)) == {"a.txt", "in/d.txt"}  # the root may be hidden itself
    assert [path.name for path in walk(tmp_path / ".root")] == ["a.txt", "d.txt"]


def test_nothing_hidden_is_read_of_labelled_sets(tmp_path: Path) -> None:
    rows = "label\ttext\n" + "".join(f"{i % 2}\ttext {i}\n" for i in range(20))
    for name in ("train.tsv", "test.tsv", ".ipynb_checkpoints/train-checkpoint.tsv", ".git/test.tsv"):
        write(tmp_path, name, text=rows)
    assert len(open_examples(str(tmp_path), "test", TABLE)) == 20
    assert sum(len(open_examples(str(tmp_path), split, TABLE)) for split in ("train", "valid")) == 20
    write(tmp_path / "classes", "neg/1.txt", "pos/1.txt", "pos/.ipynb_checkpoints/1.txt", ".git/x.txt", text="a text")
    assert len(list(FoldersConfig().read(tmp_path / "classes"))) == 2


def test_a_real_file_is_read_once(tmp_path: Path) -> None:
    place = write(tmp_path, "a.txt", "in/b.txt")
    (tmp_path / "0.txt").symlink_to("a.txt")
    os.link(tmp_path / "a.txt", tmp_path / "z.txt")
    (tmp_path / "0").symlink_to("in")
    (tmp_path / "in" / "up").symlink_to("..")
    paths = find_files(place).files
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["a.txt", "in/b.txt"]
    assert [path.name for path in find_files(f"{tmp_path}/*.txt").files] == ["a.txt"]
    (tmp_path / "in" / "up").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").symlink_to(tmp_path / "in")
    assert all_of(open_corpus(f"{tmp_path}/elsewhere")) == {"in/b.txt"}  # what is linked from outside is read


def test_one_file_in_two_splits_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path, "train.txt")
    (tmp_path / "valid.txt").symlink_to("train.txt")
    refused(place, "valid.txt is a link to train.txt", "corpus = {train = …, valid = …, test = …}")
    both = open_corpus({"train": f"{place}/train.txt", "valid": f"{place}/valid.txt"})  # who says so may
    assert held(both)["valid"] == {"train.txt"}


def test_a_packed_copy_beside_its_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import gzip

    place = write(tmp_path, "a.txt", "b.txt")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"packed\n"))
    assert all_of(open_corpus(place)) == {"a.txt", "b.txt"}
    assert caplog.messages == [f"{place}: 1 not read (packed copies of files in the same folder): a.txt.gz"]


def test_endings_have_any_case(tmp_path: Path) -> None:
    import gzip

    place = write(tmp_path, "a.txt", "B.TXT")
    (tmp_path / "c.JSONL").write_text('{"text": "from json"}\n')
    (tmp_path / "D.Txt.GZ").write_bytes(gzip.compress(b"packed\n"))
    assert all_of(open_corpus(place)) >= {"a.txt", "B.TXT", "from json", "packed"}
    assert held(open_corpus({"train": f"{place}/c.JSONL"})) == {"train": {"from json"}}
    (tmp_path / "E.CSV").write_text("a,b\n")
    refused(f"{place}/E.CSV", "not a text file")
    (tmp_path / "T.TSV").write_text("label\ttext\n1\tone\n")
    assert [
        row.main_text for row in open_examples({"train": f"{place}/T.TSV", "test": f"{place}/T.TSV"}, "test", TABLE)
    ] == ["one"]


def test_what_is_left_out_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = write(tmp_path, "a.txt", *(f"notes {i}.md" for i in range(7)), "t.csv")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    corpus = open_corpus(place)
    open_corpus(place)
    (message,) = caplog.messages
    assert message.startswith(
        f"{place}: 9 not read (no .txt, .tokens, .jsonl (plain, .gz, .xz, .zst) or .parquet): gone.txt, "
    )
    assert message.endswith("notes 0.md, notes 1.md, notes 2.md, notes 3.md and 4 more")
    assert len(corpus.left_out) == 1 and len(corpus.left_out[0].paths) == 9


# --- which split ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("Train.TXT", "VALIDATION.tokens", "Test.txt"),
        ("train.tokens", "dev.jsonl.gz", "test.txt"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
        ("sts-train.txt", "sts-dev.txt", "sts-test.txt"),
        ("train_binary.txt", "dev_binary.txt", "test_binary.txt"),
        ("train/a.txt", "dev/a.txt", "test/a.txt"),
        ("data/train-00000-of-00002.txt", "data/validation-00000-of-00001.txt", "data/test-00000-of-00001.txt"),
        ("en.train.txt", "en.valid.txt", "en.test.txt"),
        ("train.1.txt", "valid.2.txt", "test_3.txt"),
    ],
)
def test_names_that_are_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    import gzip

    place = write(tmp_path, *names)
    for name in names:
        if ".jsonl" in name:
            (tmp_path / name).write_bytes(gzip.compress(f'{{"text": "{name}"}}\n'.encode()))
    assert held(open_corpus(place)) == dict(zip(("train", "valid", "test"), map(lambda n: {n}, names), strict=True))


def test_several_files_a_split(tmp_path: Path) -> None:
    place = write(tmp_path, "de.train.txt", "de.test.txt", "en.train.txt", "en.test.txt", "train.0.txt", "train.1.txt")
    found = held(open_corpus(place))
    assert found == {
        "train": {"de.train.txt", "en.train.txt", "train.0.txt", "train.1.txt"},
        "test": {"de.test.txt", "en.test.txt"},
    }


BOOKS = ("emma.txt", "dracula.txt", "persuasion.txt", "ulysses.txt")


@pytest.mark.parametrize("name", ["the night train.txt", "Crash Test.txt", "training.txt", "testament.txt"])
def test_a_word_in_a_title_is_no_split(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert all_of(open_corpus(write(tmp_path, *BOOKS, name))) == {*BOOKS, name}
    assert not caplog.messages


@pytest.mark.parametrize("name", ["night-train.txt", "crash_test.txt"])
def test_a_word_between_hyphens_is_no_split_by_itself(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert all_of(open_corpus(write(tmp_path, *BOOKS, name))) == {*BOOKS, name}
    assert f"text like all other, whatever split the name may say: {name}; else name each" in caplog.messages[0]
    assert all_of(open_corpus(str(tmp_path / name))) == {name}


def test_two_titles_are_no_two_splits(tmp_path: Path) -> None:
    names = {"night-train.txt", "crash-test.txt"}
    assert all_of(open_corpus(write(tmp_path, *names))) == names


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("valid.txt", "test.txt"),
            "files are named for validation or test (test.txt, valid.txt), and none for training",
        ),
        (("test.txt", *BOOKS), "files are named for validation or test (test.txt), and none for training"),
        (("wiki.valid.tokens", "wiki.test.tokens"), "and none for training"),
        (("a.txt", "a.test.txt"), "a.test.txt may or may not be named for a split"),
        (("train.txt", "sport.txt"), "as train.txt is named for training, sport.txt would not be read"),
        (("train.txt", "valid.txt", "train-more.txt"), "train-more.txt may or may not be named for a split"),
        (("night.train.txt", "crash.test.txt"), "may or may not be named for a split"),
        (("en.train.txt", "en.test.txt", "de.train.txt"), "de.train.txt may or may not be named for a split"),
    ],
)
def test_what_would_change_what_is_trained_on_is_refused(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    place = write(tmp_path, *names)
    refused(place, f"{place}: ", said, "; name each: corpus = {train = …, valid = …, test = …}")


def test_a_held_out_split_alone_is_not_trained_on(tmp_path: Path) -> None:
    place = write(tmp_path, "dev.txt", "wiki.test.txt")
    for name in ("dev.txt", "wiki.test.txt"):
        refused(f"{place}/{name}", f"named for validation or test ({name})", "none for training")
    assert held(open_file(f"{place}/dev.txt")) == {"test": {"dev.txt"}}  # but it is measured


def test_what_is_named_for_no_split_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = write(tmp_path, "train.txt", "dev.txt", "unrelated.txt")
    assert held(open_corpus(place)) == {"train": {"train.txt"}, "valid": {"dev.txt"}}
    assert caplog.messages == [f"{place}: 1 not read (named for no split, as others are): unrelated.txt"]


def test_labelled_files_by_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def rows(name: str, *files: str) -> str:
        for file in files:
            write(tmp_path / name, file, text=f"label\ttext\n1\t{file} one\n0\t{file} two\n")
        return str(tmp_path / name)

    def wrong(place: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            open_examples(place, "train", TABLE)
        assert said in str(caught.value) and "corpus = {train = " in str(caught.value)

    wrong(rows("held", "validation.tsv", "test.tsv"), "(test.tsv, validation.tsv), and none for training")
    wrong(rows("held", "dev.tsv") + "/dev.tsv", "and none for training")
    wrong(rows("topics", "sport.tsv", "politics.tsv", "train.tsv"), "politics.tsv, sport.tsv would not be read")
    place = rows("good", "train.tsv", "dev.tsv", "README.md")
    assert {row.main_text for row in open_examples(place, "valid", TABLE)} == {"dev.tsv one", "dev.tsv two"}
    assert caplog.messages == [f"{place}: 1 not read (named for no split, as others are): README.md"]


def test_folders_of_classes_by_split(tmp_path: Path) -> None:
    def wrong(place: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            open_examples(place, "train", FoldersConfig())
        assert said in str(caught.value)

    wrong(write(tmp_path / "a", "valid/neg/1.txt", "test/neg/1.txt"), "(test, valid), and none for training")
    vehicles = write(tmp_path / "b", *(f"{kind}/{n}.txt" for kind in ("train", "bus", "car") for n in range(30)))
    rows = [row for split in ("train", "valid", "test") for row in open_examples(vehicles, split, FoldersConfig())]
    assert Counter(row.label for row in rows) == {"bus": 30, "car": 30, "train": 30}
    both = {"train": vehicles, "valid": vehicles}
    assert {row.label for row in open_examples(both, "train", FoldersConfig())} == {"bus", "car", "train"}
    split = write(tmp_path / "c", "Train/neg/1.txt", "dev/neg/1.txt")
    assert (
        len(open_examples(split, "train", FoldersConfig())) == len(open_examples(split, "valid", FoldersConfig())) == 1
    )


# --- what is not found ----------------------------------------------------------------------------


def test_places_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "gone.txt").symlink_to("nowhere.txt")
    refused(str(tmp_path / "gone.txt"), "a link to 'nowhere.txt', which does not exist")
    os.mkfifo(tmp_path / "pipe.txt")
    refused(str(tmp_path / "pipe.txt"), "not a regular file")
    refused("", "corpus is empty")
    assert not is_store("x" * 5000)
    refused("x" * 5000, "cannot be looked up: File name too long")
    refused("~nobody-is-called-so/a.txt", "cannot be looked up")
    refused("a\0b", "no such file or folder")
    refused({"valid": "a", "dev": "b"}, "corpus.dev: the valid split is given twice")
    refused(str(tmp_path / "gone" / "a.txt"), "built-in: python-docs", "foretell doctor lists")
    write(tmp_path / "one", "a.txt", text="one line\n")
    store = prepare(open_corpus(str(tmp_path / "one")), ByteConfig().train([]), tmp_path / "store")
    with pytest.raises(ConfigError) as caught:
        store.split("valid")
    assert str(caught.value) == (
        "corpus 'one' has no 'valid' split (it has train); "
        "give more text to divide, or name each: corpus = {train = …, valid = …, test = …}"
    )
    write(tmp_path / "other", "a.md", "b.png")
    refused(
        str(tmp_path / "other"), "no .txt, .tokens, .jsonl (plain, .gz, .xz, .zst) or .parquet", "it has a.md, b.png"
    )


def test_names_cannot_steer_a_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = write(tmp_path, "a.txt", "\x1b[31m\n.md")
    open_corpus(place)
    (tmp_path / "a.txt").write_bytes(b"\xff\n" * 1000)
    (tmp_path / "\x1b[2J.txt").write_bytes(b"\xff\n" * 1000)
    held(open_corpus(place))
    assert all(message.isprintable() for message in caplog.messages) and len(caplog.messages) >= 3
    (tmp_path / "\x1b[2J.txt").unlink()
    (tmp_path / "\x1b.jsonl").write_text("{\n")
    with pytest.raises(ConfigError) as caught:
        held(open_corpus(place))
    assert str(caught.value).isprintable() and printable("\x1b") in str(caught.value)


def test_names_of_the_conll_shared_tasks(tmp_path: Path) -> None:
    place = write(tmp_path / "conll", "eng.train.txt", "eng.testa.txt", "eng.testb.txt")
    splits = {"train": {"eng.train.txt"}, "valid": {"eng.testa.txt"}, "test": {"eng.testb.txt"}}
    assert held(open_corpus(place)) == splits
    words = write(tmp_path / "book", "la.testa.txt", "il.piede.txt")  # head and foot
    assert all_of(open_corpus(words)) == {"la.testa.txt", "il.piede.txt"}
    assert all_of(open_corpus(write(tmp_path / "head", "la.testa.txt"))) == {"la.testa.txt"}
