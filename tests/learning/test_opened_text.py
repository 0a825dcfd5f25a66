"""Opening texts of a run: a changed one is told, a file leaves nothing behind, a stranger's corpus stays closed."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from builders import tables

import foretell
from foretell import trust
from foretell.learning.opened_text import OpenedFile, check_trust, open_text
from foretell.run import Run

Corpus = dict[str, str]


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path) -> foretell.Trained:
    paths = {split: str(shutil.copy(path, tmp_path / f"{split}.txt")) for split, path in corpus.items()}
    return foretell.train(tables(paths, limit="2steps"), tmp_path / "run", quiet=True)


def test_a_text_that_changed_is_told(run: foretell.Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "corpus" not in run.evaluate("test")
    with (tmp_path / "test.txt").open("a") as file:
        file.write("the cat sat\n")
    opened = open_text(run.run, run.recipe.data, run.tokenizer, "test")
    with opened:
        assert opened.note() == {"corpus": "changed since this run began"}
    assert "the test text has changed" in caplog.text
    assert run.evaluate("test")["corpus"] == "changed since this run began"


def test_a_file_is_read_in_the_tokens_of_the_run(run: foretell.Trained, tmp_path: Path) -> None:
    file = tmp_path / "other.txt"
    file.write_text("the cat sat\n")
    with OpenedFile(str(file), run.tokenizer) as text:
        assert np.asarray(text.tokens).tolist() == run.tokenizer.encode("the cat sat\n")


def test_nothing_is_left_of_it(run: foretell.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with OpenedFile(str(tmp_path / "test.txt"), run.tokenizer):
        assert list(folder.iterdir())
    assert not list(folder.iterdir())
    with pytest.raises(foretell.ConfigError, match="no such"), OpenedFile(str(tmp_path / "none.txt"), run.tokenizer):
        pass
    assert not list(folder.iterdir())


def test_the_corpus_of_a_run_from_elsewhere_stays_closed(
    run: foretell.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETELL_STATE", str(tmp_path / "another account"))
    monkeypatch.delenv(trust.PASSING_KEY, raising=False)
    sent = Run.open(run.run.path)
    with pytest.raises(foretell.ConfigError, match="was not made here, and would open"):
        check_trust(sent, run.recipe.data.corpus)
    check_trust(sent, "ptb")  # known by name
    sent.trust = True
    check_trust(sent, run.recipe.data.corpus)
