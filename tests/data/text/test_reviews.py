"""Texts as the sentiment neuron's model read them: by hand, and as lines of a corpus."""

import json
from pathlib import Path

import pytest

from foretell.data.opening import open_corpus
from foretell.data.text import reviews
from foretell.data.text.reviews import preparation_of, prepare_text
from foretell.data.text_files import LONGEST
from foretell.errors import ConfigError


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


def test_long_documents_come_in_pieces_and_endless_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a long tale " * 20_000
    (tmp_path / "a.txt").write_text(text + "\n<|endofdoc|>\nshort\n")
    pieces = list(reviews.reviews_of(open_corpus({"train": str(tmp_path / "a.txt")})).pieces("train"))
    assert "".join(piece.text for piece in pieces) == f" {text.strip()} \n short \n"
    assert max(len(piece.text) for piece in pieces) <= LONGEST and pieces[-1].ends_document
    monkeypatch.setattr(reviews, "LONGEST_LINE", 1 << 16)
    with pytest.raises(ConfigError, match=r"part it by lines <\|endofdoc\|>, or leave out reviews:"):
        list(reviews.reviews_of(open_corpus({"train": str(tmp_path / "a.txt")})).pieces("train"))
