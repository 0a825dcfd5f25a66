"""Built-in corpora: the documentation of Python, and those below $FORETELL_DATA."""

import os
import sys
from pathlib import Path

import pytest
from corpora import text_of

from foretell.data.opening import open_corpus
from foretell.data.text import builtin
from foretell.data.text.builtin import docstrings_below, paragraphs, without_repeats
from foretell.errors import ConfigError

DATA = os.environ.get("FORETELL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs FORETELL_DATA")


def test_repeated_paragraphs_are_dropped() -> None:
    documents = ["a\nb\n\n\nc", "c\n \na\nb", "c\n\nd  \n"]
    assert without_repeats(documents) == ["a\nb\n\nc\n", "d\n"]
    assert list(paragraphs("\n\n x\n\ty \n")) == [" x\n\ty"]


def test_docstrings_are_found_without_running_anything() -> None:
    import ast

    source = '"""m"""\nif 1/0:\n  def f():\n    """f\n\n       more"""\n    x = "no"\nclass A:\n  "A"\n'
    assert list(docstrings_below(ast.parse(source))) == ["m", "f\n\nmore", "A"]


def test_python_docs_are_there_in_three_disjoint_splits() -> None:
    corpus = open_corpus("python-docs")
    texts = {split: text_of(corpus, split) for split in corpus.splits}
    sizes = {split: len(text.encode()) for split, text in texts.items()}
    assert 1_000_000 < sizes["train"] < 4_000_000
    assert 80_000 < sizes["valid"] <= 100_000
    assert 80_000 < sizes["test"] <= 100_000
    blocks = [set(paragraphs(text)) for text in texts.values()]
    assert not (blocks[0] & blocks[1] or blocks[0] & blocks[2] or blocks[1] & blocks[2])


def test_python_docs_are_extracted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path))
    monkeypatch.setattr(builtin, "docstrings", lambda: iter(["from the library \ud800"]))
    first = builtin.kept_documents()
    monkeypatch.setattr(builtin, "docstrings", lambda: pytest.fail("extracted again"))
    assert builtin.kept_documents() == first
    assert first[-1] == "from the library \ud800\n"
    (file,) = (tmp_path / "python-docs").iterdir()
    file.write_text(file.read_text()[:-9])
    monkeypatch.setattr(builtin, "docstrings", lambda: iter(["mended"]))
    assert builtin.kept_documents()[-1] == "mended\n"
    monkeypatch.setattr(sys, "version", "another Python")
    monkeypatch.setattr(builtin, "docstrings", lambda: iter(["of another"]))
    assert builtin.kept_documents()[-1] == "of another\n"
    monkeypatch.setenv("FORETELL_CACHE", str(file))  # no folder can be made there
    assert builtin.kept_documents()[-1] == "of another\n"


def test_data_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"set FORETELL_DATA to a folder and put ptb\.train\.txt"):
        open_corpus("ptb")
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    for name in ("ptb", "tinyshakespeare"):
        with pytest.raises(ConfigError, match=rf"into {tmp_path}/{name}"):
            open_corpus(name)


@needs_data
def test_published_sizes() -> None:
    corpus = open_corpus("ptb-char")
    sizes = [len(text_of(corpus, split)) for split in corpus.splits]
    assert sizes == [5_017_482, 393_042, 442_423]
    assert len(set(text_of(corpus, "train"))) == 50
    shakespeare = open_corpus("tinyshakespeare")
    sizes = [len(text_of(shakespeare, split)) for split in shakespeare.splits]
    assert sum(sizes) == 1_115_394
    assert sizes[0] == pytest.approx(0.9 * 1_115_394, abs=100)


@needs_data
@pytest.mark.parametrize(
    ("name", "documents", "words"),
    [
        ("wiki-en", (23_308, 217, 231), (8_515_173, 78_439, 82_540)),
        ("novels", (88, 4, 4), (12_553_638, 384_565, 343_741)),
    ],
)
@pytest.mark.slow
def test_published_documents_and_words(name: str, documents: tuple[int, ...], words: tuple[int, ...]) -> None:
    corpus = open_corpus(name)
    for split, expected in zip(corpus.splits, zip(documents, words, strict=True), strict=True):
        pieces = list(corpus.pieces(split))
        found = sum(piece.ends_document for piece in pieces)
        assert (found, sum(len(piece.text.split()) for piece in pieces)) == expected
