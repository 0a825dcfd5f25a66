"""Names of texts and splits, looked up before anything is read."""

from pathlib import Path

import pytest

from foretell.data.places import check_corpus, check_split, may_exist
from foretell.errors import ConfigError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("text")
    Path("books").mkdir()


@pytest.mark.parametrize(
    "spec", ["mine.txt", "mine.txt#body", "books", "*.txt", "none/*.txt", "reviews:mine.txt", "hf:a/b", "ptb", "sst2"]
)
def test_what_may_be_a_text(spec: str) -> None:
    check_corpus(spec)


@pytest.mark.parametrize(
    ("spec", "near"), [("mien.txt", "mine.txt"), ("reviews:mien.txt", "mine.txt"), ("ptbb", "ptb"), ("sst22", "sst2")]
)
def test_the_nearest_text_is_named(spec: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"no such file or folder; did you mean '{near}'"):
        check_corpus(spec)


def test_splits_and_files_in_place_of_one() -> None:
    for name in ("train", "valid", "test", "mine.txt", "books", "*.txt"):
        check_split(name)
    for name, near in {"tset": "test", "dev": "valid", "mien.txt": "mine.txt"}.items():
        with pytest.raises(ConfigError, match=f"no such split; did you mean '{near}'"):
            check_split(name)
    assert may_exist("mine.txt") and not may_exist("test")
