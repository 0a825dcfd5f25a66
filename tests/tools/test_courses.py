"""The length of courses, by hand."""

from pathlib import Path

import pytest

from foretell.data.opening import open_corpus
from foretell.errors import ConfigError
from foretell.tools.courses import TOKENS, course_seconds, epoch_tokens
from foretell.tools.sizes import Size
from foretell.tools.speed import Speed

SPEED = Speed({"recurrent": 1000.0}, "cpu", 0.0)


def size(**course: float) -> Size:
    """Ten operations a token, so a hundred tokens a second."""
    return Size("recurrent", 10, 1000, 1, 10, course)


def test_time_by_unit_of_the_limit(tmp_path: Path) -> None:
    assert course_seconds({}, size(seconds=5.0), SPEED) == 5.0
    assert course_seconds({}, size(tokens=500.0), SPEED) == 5.0
    (tmp_path / "train.txt").write_text("a" * 1000)
    (tmp_path / "valid.txt").write_text("a" * 77)
    recipe = {"data": {"corpus": str(tmp_path), "tokenizer": {"kind": "byte"}}}
    assert course_seconds(recipe, size(epochs=2.0), SPEED) == 20.0
    assert course_seconds({"data": {"corpus": "ptb"}}, size(epochs=1.0), SPEED) == 9295.89


def test_what_is_unknown_has_no_time(tmp_path: Path) -> None:
    assert course_seconds({}, size(), SPEED) is None
    assert course_seconds({"data": {"corpus": str(tmp_path / "none")}}, size(epochs=1.0), SPEED) is None
    assert course_seconds({"data": {"corpus": "sst2"}}, size(epochs=1.0), SPEED) is None  # not in files
    assert course_seconds({}, size(tokens=5.0), Speed({}, "cpu", 0.0)) is None
    assert epoch_tokens({}) is None


@pytest.mark.parametrize("corpus", ["ptb", "wikitext-2", "tinyshakespeare"])
def test_sizes_of_known_corpora(corpus: str) -> None:
    try:
        pieces = open_corpus(corpus).pieces("train")
    except ConfigError as problem:
        pytest.skip(str(problem))
    ends = corpus != "tinyshakespeare"  # words, and an end of each line; or characters
    assert sum(len(piece.text.split()) + 1 if ends else len(piece.text) for piece in pieces) == TOKENS[corpus]
