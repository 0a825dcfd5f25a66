"""Texts as the sentiment neuron's model read them: by hand, and as lines of a corpus."""

import pytest

from foretell.data.preparation import prepare_text, review_line


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


def test_a_corpus_of_prepared_lines_is_a_stream_of_prepared_texts() -> None:
    lines = ["A &quot;fine&quot; film.\n", "  Not so fine.\n", "\n", "The last"]
    stream = "\n" + "".join(map(review_line, lines))
    texts = [line for line in lines if line.strip()]
    assert stream == "".join(prepare_text(text, "reviews") for text in texts) + "\n"
