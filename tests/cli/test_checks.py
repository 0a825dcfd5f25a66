"""Mistakes on the command line are found before torch is imported, and the nearest right word is named."""

import shutil
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from builders import run_command

from foretell import cli
from foretell.cli.checks import Check, check_budget, check_examined, check_file, check_mixture, check_set, seconds_of
from foretell.errors import ConfigError

MISTAKES = {
    "train gtp": "did you mean 'gpt'",
    "train gpt model.lyers=3": "did you mean 'layers'",
    "train gpt limit=10x": "'10x' is not an amount",
    "train gpt data.corpus=tset.txt": "did you mean 'text.txt'",
    "train classify objective.metric=acuracy": "did you mean 'accuracy'",
    "train gpt --device cdua": "did you mean 'cuda'",
    "train gpt --out text.txt": "exists and is not a run",
    "find-lr gtp": "did you mean 'gpt'",
    "race gpt gtp": "did you mean 'gpt'",
    "race gpt --budget 3x": "'3x' is not a budget",
    "race gpt --split tset": "did you mean 'test'",
    "transfer RUN sst22": "did you mean 'sst2'",
    "prepare tset.txt --out s": "did you mean 'text.txt'",
    "evaluate nosuch": "nosuch is not a run",
    "evaluate RUN --split tset": "did you mean 'test'",
    "evaluate RUN --split dev": "did you mean 'valid'",
    "evaluate RUN --which bets": "did you mean 'best'",
    "evaluate RUN --mix nosuch": "nosuch is not a run",
    "evaluate RUN --mix RUN --mix-weights 1,x": "write numbers from 0 to 1",
    "evaluate RUN --errors a.txt": "ends in .csv or .jsonl",
    "evaluate RUN --errors own.csv": "own.csv: exists; choose another --errors",
    "features RUN --out text.txt": "text.txt: exists; choose another --out",
    "compress text.txt --with RUN --out text.txt": "text.txt: exists; choose another --out",
    "export RUN --out text.txt": "text.txt: exists; choose another --out",
    "mix RUN RUN --out text.txt": "text.txt: exists; choose another --out",
    "import text.txt --out RUN": "RUN: exists; choose another --out",
    "plot RUN --out own.csv": "ends in .png",
    "score RUN tset.txt": "did you mean 'text.txt'",
    "score RUN --weights lm": "'lm' has no number",
    "score RUN --tune nosuch": "no such file",
    "probe RUN --on sst22": "did you mean 'sst2'",
    "probe RUN --on sst2 --C x": "write numbers above 0",
    "probe RUN --on sst2 --layers x": "write all, or numbers",
    "compare RUN nosuch": "nosuch is not a run",
    "compare RUN RUN+nosuch": "nosuch is not a run",
    "generate nosuch": "nosuch is not a run",
    "next nosuch": "nosuch is not a run",
    "features RUN tset.txt": "did you mean 'text.txt'",
    "features RUN --mix nosuch": "has no layer weights",
    "predict RUN tset.txt": "did you mean 'text.txt'",
    "predict RUN --form liens": "did you mean 'lines'",
    "export RUN --to hff --out x": "did you mean 'hf'",
    "import nosuch --out x": "no such file",
    "plot nosuch": "nosuch is not a run",
    "show lstn": "did you mean 'lstm'",
    "show gpt model.lyers=3": "did you mean 'layers'",
    "doctor tset.txt": "did you mean 'text.txt'",
    "bench gpt-stp": "did you mean 'gpt-step'",
    "runs --sort bits_per_bite": "did you mean 'bits_per_byte'",
}


@pytest.fixture
def home(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run and a text."""
    shutil.copytree(run, tmp_path / "RUN")
    (tmp_path / "text.txt").write_text("A text.\n")
    (tmp_path / "own.csv").write_text("text,label\n")
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_found_before_anything_is_opened(
    line: str, home: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing what opens runs, and with it torch, is an error here."""
    for module in ("api.train", "api.trained", "recipe.loading"):
        monkeypatch.setitem(sys.modules, f"foretell.{module}", None)
    for verb in ("look.show", "look.doctor", "measure.race", "measure.score", "use.convert", "train.transfer"):
        monkeypatch.setitem(sys.modules, f"foretell.tools.{verb}", None)
    code, _, error = said(*line.split())
    assert code == 2
    assert MISTAKES[line] in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", ["--version", "--help", "train gtp", "generate nosuch --split x", "bench"])
def test_torch_is_not_imported(words: str) -> None:
    assert run_command(words)[1] is False


def test_the_folder_of_an_earlier_run_is_taken(home: Path, said: Any) -> None:
    code, _, error = said("train", "char-lstm", "--out", "RUN")
    assert code == 2
    assert "RUN exists; add --resume to continue it, or choose another --out" in error
    (home / "RUN").rename(home / "runs" / "char-lstm")
    assert "runs/char-lstm exists; add --resume" in said("train", "char-lstm")[2]
    assert "runs/char-lstm exists" not in said("train", "char-lstm", "name=other", "limit=x")[2]


def test_what_exists_passes(home: Path) -> None:
    check_file(Path("-"))
    check_file(Path("text.txt"))
    check_mixture("RUN+RUN")
    check_examined("RUN")
    check_examined("char-lstm")
    check_set("model.layers=3")
    check_budget("1e9flops")
    Path("a+b").mkdir()
    with pytest.raises(ConfigError, match=r"a\+b is not a run"):
        check_mixture("a+b")


def test_every_argument_that_names_a_run_is_checked() -> None:
    """Arguments of these names are runs, texts, splits and budgets wherever they are."""
    from typing import get_args, get_type_hints

    from foretell.cli.checks import Check

    named = {"run", "files", "split", "corpus", "on", "budget", "layers"}
    for name, verb in cli.BY_NAME.items():
        for argument, annotation in get_type_hints(verb, include_extras=True).items():
            if argument in named:
                assert any(isinstance(extra, Check) for extra in get_args(annotation)), (name, argument)


def test_a_time() -> None:
    assert (seconds_of("10m"), seconds_of("1.5h"), seconds_of("90s")) == (600.0, 5400.0, 90.0)
    for text in ("10", "5e6tokens", "1e15flops", "soon", "-1m"):
        with pytest.raises(ConfigError, match="is not a time"):
            seconds_of(text)


REPLACED = {"train", "race", "demo", "transfer", "probe", "prepare"}
"""commands that write folders, which check themselves what is in them"""


@pytest.mark.parametrize("verb", [name for name in cli.BY_NAME if name not in REPLACED])
def test_no_command_writes_over_a_file(verb: str, tmp_path: Path) -> None:
    """Each file to write is refused where one exists, unless it is a picture."""
    own = tmp_path / "own.csv"
    own.write_text("precious")
    for name, hint in get_type_hints(cli.BY_NAME[verb], include_extras=True).items():
        if name in ("out", "errors", "plot"):
            with pytest.raises(
                ConfigError, match=r"own\.csv: (exists; choose another --|name a file that ends in \.png)"
            ):
                for check in (extra for extra in get_args(hint) if isinstance(extra, Check)):
                    check.function(own)
