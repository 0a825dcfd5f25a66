"""Texts as the sentiment neuron's model read them: by hand, and as lines of a corpus."""

import json
from pathlib import Path

import pytest

from foretell.data.corpus import open_corpus
from foretell.data.preparation import preparation_of, prepare_text


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("Good.", "\n Good. "),
        ("  two\nlines \n", "\n two lines "),
        ("Tom &amp; Jerry &lt;3", "\n Tom & Jerry <3 "),
        ("", "\n  "),
        ("a<br />b", "\n a<br />b "),
    ],
)
def test_reviews_by_hand(text: str, prepared: str) -> None:
    assert prepare_text(text, "reviews") == prepared
    assert prepare_text(text, "none") == text


def test_a_corpus_is_a_stream_of_prepared_texts(tmp_path: Path) -> None:
    """One document, so that no boundaries come between, with the newline of its first text at its end."""
    texts = ["A &quot;fine&quot; film.\n", "  Not so\nfine.\n", "The last"]
    for split in ("train", "valid"):
        lines = (json.dumps({"text": text}) for text in texts)
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    corpus = open_corpus(f"reviews:{tmp_path}")
    assert corpus.splits == ("train", "valid")
    pieces = list(corpus.pieces("train"))
    assert "\n" + "".join(piece.text for piece in pieces) == "".join(prepare_text(t, "reviews") for t in texts) + "\n"
    assert [piece.ends_document for piece in pieces] == [False, False, True]
    assert corpus.fingerprint("train") != open_corpus(str(tmp_path)).fingerprint("train")
    assert preparation_of(f"reviews:{tmp_path}") == "reviews" and preparation_of(str(tmp_path)) == "none"
