"""Corpora to test with, as files of text or rows, and what is read from them."""

import json
from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.opening import open_examples
from foretell.data.labelled.readers.tables import TableConfig
from foretell.data.opening import open_corpus
from foretell.data.text.corpus import Corpus
from foretell.errors import ConfigError

TEXTS = [f"text {number}\nof two lines{'!' * (number % 3)}" for number in range(60)] + ["é\n<|endofdoc|>\nü"]


def text_of(corpus: Corpus, split: str) -> str:
    return "".join(piece.text for piece in corpus.pieces(split))


def documents_of(corpus: Corpus, split: str) -> list[str]:
    documents, text = [], ""
    for piece in corpus.pieces(split):
        text += piece.text
        if piece.ends_document:
            documents.append(text)
            text = ""
    assert text == ""  # the last piece ends its document
    return documents


def write_splits(folder: Path, ending: str = ".txt") -> Path:
    for split in ("train", "valid", "test"):
        (folder / f"{split}{ending}").write_text(f"{split} text\n")
    return folder


def whole(path: Path) -> Corpus:
    return open_corpus({"train": str(path)})


def corpus_of(folder: Path, *documents: str, ending: str = "\n<|endofdoc|>\n") -> Corpus:
    """One split: the documents, each followed by `ending`."""
    folder.mkdir(exist_ok=True)
    path = folder / "text.txt"
    path.write_text("".join(document + ending for document in documents), newline="")
    return open_corpus({"train": str(path)})


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


# --- labelled rows ---------------------------------------------------------------------------------

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
