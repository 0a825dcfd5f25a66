"""Columns of text: JSON lines, Parquet files, data sets of the Hugging Face hub."""

import contextlib
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.examples import main_text
from foretell.data.labelled.folds import FoldConfig, open_fold
from foretell.data.labelled.opening import open_examples, read_examples
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import TableConfig
from foretell.data.opening import open_corpus
from foretell.data.text import hub
from foretell.data.text.corpus import Corpus
from foretell.data.text.hub import name_and_config
from foretell.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # of foreign packages

TEXTS = [f"text {number}\nof two lines{'!' * (number % 3)}" for number in range(60)] + ["é\n<|endofdoc|>\nü"]


def write_jsonl(path: Path, texts: list[str], column: str = "text") -> str:
    path.write_text("".join(json.dumps({"other": 1, column: text}) + "\n" for text in texts))
    return str(path)


def write_parquet(path: Path, texts: list[Any], column: str = "text", **options: Any) -> str:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"other": [1] * len(texts), column: texts})
    parquet.write_table(table, path, **options)
    return str(path)


def read(corpus: Corpus) -> dict[str, list[tuple[str, bool]]]:
    return {split: [piece[:2] for piece in corpus.pieces(split)] for split in corpus.splits}


def refused(spec: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_corpus(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- columns --------------------------------------------------------------------------------------


def test_another_key_of_json_lines(tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    path = write_jsonl(tmp_path / "b.jsonl", TEXTS, "body")
    assert read(open_corpus(f"{path}#body")) == read(open_corpus(plain))
    assert read(open_corpus({"train": f"{path}#body"})) == read(open_corpus({"train": plain}))
    assert f'needs a string under "text", as in {{"text": "…"}}; name another key as {path}#KEY' in refused(path)
    odd = write_jsonl(tmp_path / "c#body", TEXTS)
    assert open_corpus(odd).name == "c#body"


def test_the_column_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    rows = [{"text": f"a{i}", "body": f"b{i}"} for i in range(30)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, other = open_corpus(str(tmp_path / "a.jsonl")), open_corpus(f"{tmp_path / 'a.jsonl'}#body")
    assert one.fingerprint("train") != other.fingerprint("train")


# --- Parquet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["text", "body"])
@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 7, "compression": "zstd"}, {"use_dictionary": False}], ids=str
)
def test_parquet_is_the_same_text_as_json_lines(tmp_path: Path, column: str, options: dict[str, Any]) -> None:
    plain = open_corpus(write_jsonl(tmp_path / "a.jsonl", TEXTS))
    path = write_parquet(tmp_path / "a.parquet", TEXTS, column, **options)
    found = open_corpus(path if column == "text" else f"{path}#{column}")
    assert read(found) == read(plain)
    assert (found.report.documents, found.report.bytes) == (62, plain.report.bytes)


def test_a_folder_of_parquet_files_by_split(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", [f"{split} text"])
    assert read(open_corpus(str(tmp_path))) == {"train": [("train text", True)], "valid": [("validation text", True)]}


def test_empty_and_broken_values(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [b"good", None, b"", b"bad \xff"])
    corpus = open_corpus({"train": path})
    assert [text for text, _ in read(corpus)["train"]] == ["good", "bad \ufffd"]
    assert (corpus.report.documents, corpus.report.replaced) == (2, 1)


def test_parquet_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", TEXTS, "body")
    assert refused(path) == f"{path}: has no column 'text' (it has other, body); name one as {path}#COLUMN"
    assert "column 'other' is int64, not text" in refused(f"{path}#other")
    (tmp_path / "b.parquet").write_text("PAR1")
    assert "damaged or cut short" in refused(str(tmp_path / "b.parquet"))
    whole = (tmp_path / "a.parquet").read_bytes()
    said = set()
    for place in range(4, len(whole) // 2):
        (tmp_path / "d.parquet").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(ConfigError):
            list(open_corpus({"train": str(tmp_path / "d.parquet#body")}).pieces("train"))
            continue
        said.add(refused(str(tmp_path / "d.parquet#body")).removeprefix(str(tmp_path)))
    assert len(said) > 1
    assert not [line for line in said if "\n" in line or "Exception" in line or "damaged or cut short" not in line]
    (tmp_path / "c.parquet.gz").write_bytes(b"")
    assert "packed inside; unpack" in refused(str(tmp_path / "c.parquet.gz"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused(f"{path}#body").endswith("to read .parquet files, pip install 'foretell[parquet]'")


def test_parquet_takes_constant_memory(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    path = write_parquet(tmp_path / "a.parquet", [f"{i} " * 2000 for i in range(4000)], row_group_size=200)
    corpus = open_corpus({"train": path})
    tracemalloc.start()
    held = pyarrow.total_allocated_bytes()
    size, most = 0, 0
    for piece in corpus.pieces("train"):
        size += len(piece.text)
        most = max(most, pyarrow.total_allocated_bytes() - held)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 35e6
    assert peak < 6e6
    assert most < 12e6


# --- the hub --------------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `datasets` reads as a data set; no network."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub_settings = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", True)
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def test_the_splits_of_a_data_set(local: Path) -> None:
    parts = {"train": TEXTS, "validation": ["of validation"], "test": ["a test", "another"]}
    paths = {split: write_jsonl(local / f"{split}.jsonl", texts) for split, texts in parts.items()}
    corpus = open_corpus(f"hf:{local}")
    assert corpus.splits == ("train", "valid", "test")
    assert read(corpus) == read(open_corpus(paths))
    assert corpus.fingerprint("train") == open_corpus(f"hf:{local}").fingerprint("train")
    assert corpus.fingerprint("train") != corpus.fingerprint("test")
    assert corpus.report.documents == 62 + 1 + 2


def test_missing_splits_are_held_out_of_training(local: Path) -> None:
    path = write_jsonl(local / "train.jsonl", TEXTS)
    alone = read(open_corpus(f"hf:{local}"))
    assert alone == read(open_corpus(write_jsonl(local.parent / "plain.jsonl", TEXTS)))
    write_jsonl(local / "test.jsonl", ["a test"])
    both = read(open_corpus(f"hf:{local}"))
    assert both["test"] == [("a test", True)]
    assert both["valid"] == alone["valid"]
    assert len(both["train"]) > len(alone["train"])
    everything = [text for text, _ in read(open_corpus({"train": path}))["train"]]
    assert sorted(text for split in ("train", "valid") for text, _ in both[split]) == sorted(everything)


def test_what_the_hub_cannot_give(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(local / "train.jsonl", TEXTS, "body")
    assert f"hf:{local}: has no column 'text' (it has other, body); name one as hf:{local}#COLUMN" == refused(
        f"hf:{local}"
    )
    assert read(open_corpus(f"hf:{local}#body"))["train"]
    assert "hf:nobody/nothing: cannot be fetched: " in refused("hf:nobody/nothing")
    monkeypatch.setattr(hub, "load", lambda place: {"unsupervised": None})
    assert "has no split named train (it has unsupervised)" in refused("hf:nobody/nothing")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refused("hf:nobody/nothing").endswith("pip install 'foretell[hf]'")


# --- labelled -------------------------------------------------------------------------------------

ROWS = [{"body": f"text {number % 50}", "stars": number % 3, "other": None} for number in range(60)]
READER = TableConfig(texts=("body",), label="stars", names={"0": "bad", "1": "fair", "2": "good"})


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """As JSON lines, or as Parquet."""
    if path.suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def unread(place: Any, split: str, reader: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_examples(place, split, reader)
    return str(caught.value)


def test_examples_in_parquet_are_those_in_json_lines(tmp_path: Path) -> None:
    several = [row | {"stars": ["a", "b"][: number % 3]} for number, row in enumerate(ROWS)]
    for name, rows, reader in (
        ("one", ROWS, READER),
        ("score", ROWS, TableConfig(texts=("body",), label="stars", labels="score")),
        ("several", several, TableConfig(texts=("body",), label="stars", labels="several")),
    ):
        one, other = (write_rows(tmp_path / f"{name}{ending}", rows) for ending in (".jsonl", ".parquet"))
        for split in ("train", "valid", "test"):
            assert open_examples(str(one), split, reader) == open_examples(str(other), split, reader) != []
        assert read_examples(other, reader)[8].where == f"{other}:9"


def test_rows_of_parquet_that_are_no_examples(tmp_path: Path) -> None:
    bad = [
        {"body": None, "stars": 1},
        {"body": "a", "stars": 7},
        {"body": "a", "stars": None},
        {"body": "b", "stars": 0},
    ]
    path = write_rows(tmp_path / "a.parquet", bad)
    assert unread({"train": str(path), "valid": str(path)}, "train", READER).splitlines()[1:] == [
        f"  {path}:1: 'body' is null, not a text",
        f"  {path}:2: label '7' is none of 0, 1, 2",
        f"  {path}:3: 'stars' is null, not a label",
    ]
    assert len(open_examples({"train": str(path), "valid": str(path)}, "train", READER, skip_bad=True)) == 1
    other = TableConfig(texts=("text",), label="stars")
    assert unread({"train": str(path), "valid": str(path)}, "train", other) == (
        f"{path}: has no column 'text' (it has body, stars); name those it has in data.reader"
    )
    path.write_text("PAR1")
    assert "damaged or cut short" in unread({"train": str(path), "valid": str(path)}, "train", READER)
    raw = write_rows(tmp_path / "raw.parquet", [{"body": b"\xc3\xa9", "stars": 0}, {"body": b"\xff", "stars": 0}])
    assert f"{raw}:2: not UTF-8" in unread({"train": str(raw), "valid": str(raw)}, "train", READER)
    assert main_text(open_examples({"train": str(raw), "valid": str(raw)}, "train", READER, skip_bad=True)[0]) == "é"


def test_examples_of_a_data_set(local: Path) -> None:
    """Those of its files; validation is held out of training, as of a folder."""
    for split in ("train", "test"):
        write_rows(local / f"{split}.jsonl", [row | {"body": f"{split} {row['body']}"} for row in ROWS])
    for split in ("train", "valid", "test"):
        found = open_examples(f"hf:{local}", split, READER)
        assert found == open_examples(str(local), split, READER) != []
    fold = FoldConfig(number=1, of=3)
    assert open_fold(f"hf:{local}", "train", fold, READER, False) == open_fold(str(local), "train", fold, READER, False)
    places = {example.where for example in found}
    assert places == {f"hf:{local} test:{number}" for number in range(1, 61)}


def test_classes_of_a_data_set_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    classes = datasets.ClassLabel(names=["bad", "good"])
    lists = datasets.Sequence(classes)
    features = datasets.Features({"text": datasets.Value("string"), "label": classes, "labels": lists})
    columns = {"text": ["one", "two", "three"], "label": [1, 0, -1], "labels": [[0, 1], [], [1]]}
    rows = datasets.Dataset.from_dict(columns, features=features)
    monkeypatch.setattr(hub, "load", lambda place: {"train": rows, "validation": rows})
    found = open_examples("hf:a/b", "valid", TableConfig(label="labels", labels="several"))
    assert [example.label for example in found] == [("bad", "good"), (), ("good",)]
    found = open_examples("hf:a/b", "train", TableConfig(), skip_bad=True)
    assert [example.label for example in found] == ["good", "bad"]
    assert unread("hf:a/b", "train", TableConfig()).endswith("hf:a/b train:3: 'label' is null, not a label")
    assert "hf:a/b train: has no column 'title' (it has text, label, labels)" in unread(
        "hf:a/b", "train", TableConfig(texts=("title",))
    )
    assert 'is made of columns, which data.reader.kind = "table"' in unread("hf:a/b", "train", SquadConfig())
    assert "say what is in them" in unread("hf:a/b", "train", None)


def test_names_on_the_hub() -> None:
    assert name_and_config("imdb") == ("imdb", None)
    assert name_and_config("stanfordnlp/imdb") == ("stanfordnlp/imdb", None)
    assert name_and_config("Salesforce/wikitext/wikitext-2-raw-v1") == ("Salesforce/wikitext", "wikitext-2-raw-v1")
