"""What shells are offered: words as bash and zsh send them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foretell.cli import app
from foretell.cli.completion import files, one_of, recipes, runs
from foretell.recipe.files import recipe_names


def bash(line: str) -> list[str]:
    """The suggestions after a line, split at blanks and at = as bash does."""
    words = line.replace("=", " = ").split()
    number = len(words) - (not line.endswith(" "))
    variables = {"_FORETELL_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(number)}
    return CliRunner().invoke(app, [], env=variables, prog_name="foretell").output.splitlines()


def zsh(line: str) -> str:
    """The suggestions after a line, with help texts."""
    variables = {"_FORETELL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    return CliRunner().invoke(app, [], env=variables, prog_name="foretell").output


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "group/second"):
        (tmp_path / "runs" / name / "checkpoints").mkdir(parents=True)
        (tmp_path / "runs" / name / "recipe.toml").write_text("")
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "text.txt").write_text("")


def test_recipes() -> None:
    assert bash("foretell train awd-lstm-p") == [name for name in recipe_names() if name.startswith("awd-lstm-p")]
    assert bash("foretell train mi") == ["mine.toml"]
    assert set(recipe_names()) <= set(bash("foretell train "))
    assert dict(recipes("ngram-5")) == {"ngram-5": "5-gram: the baseline for every neural model"}
    assert "the baseline for every neural model" in zsh("foretell train ngram-")


def test_runs() -> None:
    assert bash("foretell evaluate ") == bash("foretell compare runs/first r") == ["runs/first", "runs/group/second"]
    assert bash("foretell evaluate runs/g") == bash("foretell evaluate runs/group/") == ["runs/group/second"]
    assert bash("foretell score runs/first --mix runs/f") == ["runs/first"]
    assert runs("nowhere/") == []


@pytest.mark.parametrize("verb", ["train", "find-lr", "show"])
def test_settings_of_the_recipe_that_is_named(verb: str) -> None:
    assert "model.heads=" in bash(f"foretell {verb} gpt2-wiki-mini model.")
    assert "model.heads=" not in bash(f"foretell {verb} awd-lstm-tiny model.")
    assert "model.heads=" in bash(f"foretell {verb} awd-lstm-tiny model=transformer model.")


def test_values_of_settings() -> None:
    assert bash("foretell train awd-lstm-tiny optimizer=ada") == ["adamw", "adam", "adagrad", "adadelta"]
    assert "sgd" in bash("foretell train awd-lstm-tiny optimizer=")
    assert bash("foretell train awd-lstm-tiny seed=2 model.cell=g") == ["gru"]
    assert bash("foretell train classify init=runs/f") == ["runs/first"]
    assert bash("foretell train awd-lstm-tiny data.corpus=te") == ["text.txt"]
    assert "python-docs" in bash("foretell train awd-lstm-tiny data.corpus=py")
    assert "model.cell=gru" in zsh("foretell train awd-lstm-tiny model.cell=g")


def test_races_take_recipes_and_settings() -> None:
    assert "ngram-char-6" in bash("foretell race ngram-5 ngram-")
    assert "data.corpus=" in bash("foretell race ngram-5 data.")


def test_words_of_other_commands() -> None:
    assert {"cosine", "constant"} <= set(bash("foretell show co"))
    assert bash("foretell evaluate runs/first --device c") == ["cpu", "cuda"]
    assert bash("foretell tr") == ["train", "transfer", "trace"]
    assert one_of("train", "test")("te") == ["test"]


def test_files(tmp_path: Path) -> None:
    assert files("te") == [("text.txt", "")] and files("ru") == [("runs/", "")]
    assert files("", ".toml") == [] and files("m", ".toml") == [("mine.toml", "")]


def test_no_torch() -> None:
    """As a process of its own, as the shell starts it."""
    code = (
        "import sys\nsys.argv = ['foretell']\nfrom foretell.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules)"
    )
    line = "foretell train awd-lstm-tiny model.layers"
    variables = {"_FORETELL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | variables)
    assert done.stdout.splitlines() == ["model.layers=", "model.layers=1", "False"]
