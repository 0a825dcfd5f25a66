"""Passages of a text in another, against a search of it; damaged files of the cache."""

from pathlib import Path

import numpy as np
import pytest

from foretell.cache import cache_folder
from foretell.evaluate.tracing import Match, TextIndex, apart, covered, number_of, passages

TEXT = b"the cat sat on the mat. the dog sat on the log."


def tokens(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def test_the_longest_match_before_each_place() -> None:
    index, other = TextIndex.of(tokens(TEXT), 256), b"a dog sat on the mat? the"
    for match in index.matches(tokens(other)):
        before = other[: match.position]
        lengths = [n for n in range(match.position + 1) if before[match.position - n :] in TEXT]
        assert match.length == max(lengths)
        ending = before[match.position - match.length :]
        if match.length:
            assert match.place == TEXT.index(ending)
            assert match.occurrences == sum(TEXT.startswith(ending, i) for i in range(len(TEXT)))


def test_passages_end_where_the_text_goes_another_way() -> None:
    other = b"dog sat on the mat? the log"
    found = passages(TextIndex.of(tokens(TEXT), 256).matches(tokens(other)), 5)
    assert [other[m.position - m.length : m.position] for m in found] == [
        b"dog sat on the ",
        b" sat on the mat",
        b" the log",
    ]
    assert covered(found) == len(b"dog sat on the mat") + len(b" the log")
    chosen = apart(found)
    assert [other[m.position - m.length : m.position] for m in chosen] == [b"dog sat on the ", b" the log"]


def test_documents_are_numbered_from_one() -> None:
    documents = np.array([0, 5, 9])
    assert [number_of(documents, place) for place in (0, 4, 5, 8)] == [(1, 0), (1, 4), (2, 0), (2, 3)]


@pytest.mark.parametrize("damage", [b"", b"not an index", None])
def test_an_index_of_the_cache_is_used_or_made_again(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path))
    first = TextIndex.cached(tokens(TEXT), 256)
    (file,) = (cache_folder() / "indexes").iterdir()
    if damage is None:  # the index of another text
        other = TextIndex.cached(tokens(TEXT[:-1]), 256)
        (another,) = {*(cache_folder() / "indexes").iterdir()} - {file}
        file.write_bytes(another.read_bytes())
        assert len(other.places) == len(TEXT)
    else:
        file.write_bytes(damage)
    again = TextIndex.cached(tokens(TEXT), 256)
    np.testing.assert_array_equal(again.places, first.places)
    written = file.stat().st_mtime_ns
    assert TextIndex.cached(tokens(TEXT), 256).matches(tokens(b"cat")) == first.matches(tokens(b"cat"))
    assert file.stat().st_mtime_ns == written


def test_no_match_has_no_length() -> None:
    assert TextIndex.of(tokens(TEXT), 256).matches(tokens(b"Q")) == [Match(1, 0, len(TEXT) + 1, 0)]
