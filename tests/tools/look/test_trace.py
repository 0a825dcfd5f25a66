"""Training passages behind predictions, of runs of any kind."""

import json
import shutil
from pathlib import Path

import pytest
from builders import tables
from rich.console import Console
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.tools.look.trace import LONGEST, one_line, render, trace

NGRAM = {"limit": "1epochs", "model": {"kind": "ngram", "order": 2}}


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trace") / "run"
    foretell.train(tables(corpus, limit="1steps"), out, quiet=True)
    return out


@pytest.mark.parametrize("kind", ["recurrent", "ngram"])
def test_each_prediction_names_its_longest_passage(corpus: dict[str, str], tmp_path: Path, kind: str) -> None:
    changes = {"limit": "1steps"} if kind == "recurrent" else NGRAM
    foretell.train(tables(corpus, **changes), tmp_path / "run", quiet=True)
    words = Path(corpus["train"]).read_text().split("\n")[2].split()
    text = tmp_path / "text.txt"
    text.write_text(" ".join(words) + "\n")
    rows = trace(tmp_path / "run", text, quiet=True)["trace"]
    assert [row["position"] for row in rows] == list(range(1, len(words) + 1))
    whole = Path(corpus["train"]).read_text()
    for row in rows:
        assert row["length"] == row["position"]  # the line is in the training text
        assert row["document"] == 1 and " ".join(row["text"].split()) in " ".join(whole.split())


def test_a_text_of_other_words_has_none(run: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the xyz cat\n")
    rows = trace(run, text, quiet=True)["trace"]
    assert [row["length"] for row in rows][:3] == [1, 0, 1]
    assert rows[1]["document"] is None and rows[1]["text"] == ""


def test_records_of_a_text_from_training_stay_short(run: Path, corpus: dict[str, str]) -> None:
    """Passages of all lengths up to the whole text would take memory with its square."""
    rows = trace(run, Path(corpus["train"]), quiet=True)["trace"]
    assert rows[-1]["length"] > 2 * LONGEST
    assert max(len(row["text"].split()) for row in rows) <= LONGEST


def test_the_command_prints_json_and_a_table(run: Path, tmp_path: Path, corpus: dict[str, str]) -> None:
    done = CliRunner().invoke(app, ["trace", str(run), corpus["valid"], "--json"])
    assert done.exit_code == 0
    first = json.loads(done.stdout)["trace"][0]
    assert {"position", "length", "document", "offset", "text"} <= first.keys()
    done = CliRunner().invoke(app, ["trace", str(run), "--top", "2"], input="the cat sat on the mat\n")
    assert done.exit_code == 0 and "passage" in done.stdout


def test_the_table_has_the_longest_passages_in_the_order_of_the_text(run: Path, corpus: dict[str, str]) -> None:
    result = trace(run, Path(corpus["valid"]), quiet=True)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(render(result, 3))
    numbers = [
        line.split()[:2]
        for line in captured.get().splitlines()
        if line.split()[:1] and line.split()[0].isdigit() and "shorter" not in line
    ]
    assert len(numbers) == 3
    positions, lengths = [int(at) for at, _ in numbers], [int(length) for _, length in numbers]
    assert positions == sorted(positions)
    ends = {*result["passages"]}
    assert sorted(lengths) == sorted(row["length"] for row in result["trace"] if row["position"] in ends)[-3:]
    assert "shorter ones not shown" in captured.get() and max(map(len, captured.get().splitlines())) <= 80


def test_without_its_training_text_a_run_says_so(run: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat\n")
    copied = {name: tmp_path / f"{name}.txt" for name in ("train", "valid", "test")}
    for path in copied.values():
        path.write_text("a dog ran on and on\n" * 40)
    foretell.train(tables({n: str(p) for n, p in copied.items()}, **NGRAM), tmp_path / "run", quiet=True)
    copied["train"].unlink()
    with pytest.raises(ConfigError, match=r"train\.txt"):
        trace(tmp_path / "run", text, quiet=True)
    shutil.rmtree(tmp_path / "run")


def test_lines_are_joined() -> None:
    assert one_line("a\nb\tc") == "a↵b c"
