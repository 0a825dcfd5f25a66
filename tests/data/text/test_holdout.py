"""Held-out splits of text that comes without them."""

from itertools import chain
from pathlib import Path

import numpy as np
from corpora import documents_of, text_of
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.opening import open_corpus
from foretell.data.text.holdout import assign_documents, known_bytes, shuffled


@given(st.integers(20, 500))
def test_every_document_has_one_split_and_a_twentieth_is_held_out(documents: int) -> None:
    train, valid, test = np.bincount(assign_documents(documents), minlength=3)
    assert train + valid + test == documents
    assert valid == test == round(documents / 20)
    assert sorted(shuffled(documents)) == list(range(documents))


def test_the_assignment_is_the_same_for_ever() -> None:
    assert np.flatnonzero(assign_documents(100)).tolist() == [2, 32, 33, 41, 42, 43, 53, 88, 94, 95]


def test_many_documents_are_split_whole(tmp_path: Path) -> None:
    texts = [f"document {index}\nsecond line\n" for index in range(60)]
    (tmp_path / "a.txt").write_text("<|endofdoc|>\n".join(texts))
    corpus = open_corpus(str(tmp_path / "a.txt"))
    parts = [documents_of(corpus, split) for split in corpus.splits]
    assert [len(part) for part in parts] == [54, 3, 3]
    assert sorted(chain(*parts)) == sorted(texts)


def test_few_documents_are_split_in_order(tmp_path: Path) -> None:
    text = "".join(f"{index:03d} é\n" for index in range(1000))  # 7 bytes a line
    (tmp_path / "a.txt").write_text(text)
    corpus = open_corpus(str(tmp_path / "a.txt"))
    parts = [text_of(corpus, split) for split in corpus.splits]
    assert [part.count("\n") for part in parts] == [900, 50, 50]
    assert "".join(parts) == text
    assert all(len(documents_of(corpus, split)) == 1 for split in corpus.splits)


def test_sizes_are_known_of_plain_text_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a line\n" * 1000)  # 7000 bytes
    corpus = open_corpus(str(tmp_path / "a.txt"))
    sizes = {split: known_bytes(corpus.source(split)) for split in corpus.splits}
    assert sizes == {"train": 6300, "valid": 350, "test": 350}
    assert {split: len(text_of(corpus, split).encode()) for split in corpus.splits} == sizes
    (tmp_path / "b.jsonl").write_text('{"text": "a line"}\n' * 100)
    assert known_bytes(open_corpus(str(tmp_path / "b.jsonl")).source("train")) is None
    whole = open_corpus({"train": str(tmp_path / "a.txt"), "test": str(tmp_path / "b.jsonl")})
    assert [known_bytes(whole.source(split)) for split in ("train", "test")] == [7000, None]
