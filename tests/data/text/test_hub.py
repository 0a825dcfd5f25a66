"""Data sets of the Hugging Face hub, as text and as labelled examples."""

import sys
from pathlib import Path

import pytest
from corpora import READER, ROWS, TEXTS, read, refused, unread, write_jsonl, write_rows

from foretell.data.labelled.folds import FoldConfig, open_fold
from foretell.data.labelled.opening import open_examples
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import TableConfig
from foretell.data.opening import open_corpus
from foretell.data.text import hub
from foretell.data.text.hub import name_and_config

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # of foreign packages


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
