"""Plans of texts and tables: facts, and lines that can be pasted at any width."""

import gzip
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from builders import run_command
from rich.console import Console

from foretell.errors import ConfigError
from foretell.tools.look import plan as tool
from foretell.tools.look.plan import plan, render, starts
from foretell.tools.printing import Printable
from foretell.tools.speed import Speed


@pytest.fixture(autouse=True)
def _speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "speed_here", lambda: Speed({"recurrent": 50e9, "transformer": 50e9}, "cpu", 0.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan")
    lines = [
        f"It was line number {number} of the text, and it was in a file with {number * 7} words.\n"
        for number in range(2000)
    ]
    (path / "a text.txt").write_text("".join(lines))
    rows = [
        f"{'a fine film' if n % 3 else 'a dull film'} number {n},{'good' if n % 3 else 'bad'}\n" for n in range(300)
    ]
    (path / "reviews.csv").write_text("review,stars\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def of_text(folder: Path) -> dict[str, Any]:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(tool, "speed_here", lambda: Speed({"recurrent": 50e9, "transformer": 50e9}, "cpu", 0.0))
    found = plan(str(folder / "a text.txt"), 600.0, folder / "runs")
    monkeypatch.undo()
    return found


def test_a_text_is_measured(of_text: dict[str, Any], folder: Path) -> None:
    facts = of_text["text"]
    assert facts["language"] == "English" and facts["scripts"] == {"Latin": 1.0}
    assert facts["train_bytes"] == pytest.approx(0.9 * (folder / "a text.txt").stat().st_size, rel=1e-3)
    assert 0 < facts["measured"]["ngram_bits_per_byte"] < 2 and 0 < facts["measured"]["baselines"]["xz"] < 2
    assert [advice["recipe"] for advice in of_text["advice"]][:3] == ["context-mixing", "awd-lstm-tiny", "ngram-5"]
    assert of_text["then"]["commands"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_commands_can_be_pasted(of_text: dict[str, Any], width: int) -> None:
    """Lines joined at their backslashes are the commands, as a shell reads them."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(Printable(render(of_text)), crop=False)
    pasted = re.sub(r" \\\n", " ", capture.get())
    found = [shlex.split(line) for line in pasted.splitlines() if line.startswith("   foretell ")]
    wanted = [shlex.split(line) for advice in [*of_text["advice"], of_text["then"]] for line in advice["commands"]]
    assert found == wanted
    assert all(len(line) <= width for line in capture.get().splitlines() if "/" not in line)


def test_a_table_is_labelled_data(folder: Path) -> None:
    found = plan(str(folder / "reviews.csv"), 60.0, folder / "runs")
    assert found["labelled"]["task"] == "classification" and found["labelled"]["label_count"] == 2
    assert found["advice"][0]["recipe"] == "classify" and found["then"] is None
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(render(found))
    assert "bag of words" in capture.get() and "good 1" in capture.get()


def test_a_folder_of_tables_is_labelled_data(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text((folder / "reviews.csv").read_text())
    (tmp_path / "test.csv").write_text("review,stars\na fine film,good\na dull film,bad\n")
    found = plan(str(tmp_path), 60.0, folder / "runs")
    assert found["labelled"]["splits"]["test"]["examples"] == 2


def test_a_text_too_short_to_measure(tmp_path: Path) -> None:
    (tmp_path / "tiny.txt").write_text("One line.\n")
    found = plan(str(tmp_path / "tiny.txt"), 600.0, tmp_path)
    assert found["text"]["measured"] is None and "not measured" in found["advice"][0]["expect"]


def test_packed_text_counts_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "SAMPLE", 1 << 14)
    text = "".join(f"line {number} is a line\n" for number in range(5000)).encode()
    with gzip.open(tmp_path / "train.txt.gz", "wb", compresslevel=1) as file:
        file.write(text)
    (tmp_path / "valid.txt").write_text("a line\n" * 50)
    assert tool.text_facts(str(tmp_path))["train_bytes"] == len(text)


def test_a_plan_carries_the_settings_and_leaves_out_bad_rows(tmp_path: Path) -> None:
    rows = "".join(f"{'' if n % 9 == 0 else f'a film number {n}'},{n % 2},{n % 3}\n" for n in range(90))
    (tmp_path / "a.csv").write_text("review,year,stars\n" + rows)
    found = plan(str(tmp_path / "a.csv"), 60.0, tmp_path / "runs", ["data.reader.label=stars"])
    words = shlex.split(found["advice"][0]["commands"][-1])
    assert {"data.reader.label=stars", "--skip-bad"} <= {*words}
    assert found["labelled"]["label_count"] == 3


@pytest.mark.parametrize(
    ("settings", "said"), [([], "nothing to distinguish"), (["data.skip_bad=true"], "data.reader.label")]
)
def test_what_cannot_be_trained_on_is_refused(tmp_path: Path, settings: list[str], said: str) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"a film number {n},x\n" for n in range(50)))
    (tmp_path / "a.txt").write_text("A line.\n")
    with pytest.raises(ConfigError, match=said):
        plan(str(tmp_path / ("a.txt" if settings else "a.csv")), 60.0, tmp_path / "runs", settings)


def test_another_language_gets_no_figures_of_english(tmp_path: Path) -> None:
    rows = "".join(
        f"der Film Nummer {n} ist nicht gut und die Musik auch nicht,{'gut' if n % 2 else 'schlecht'}\n"
        for n in range(400)
    )
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    found = plan(str(tmp_path / "a.csv"), 60.0, tmp_path / "runs")
    assert found["labelled"]["language"] == "German"
    assert "German" in found["advice"][0]["why"]
    for advice in found["advice"]:
        assert "not measured on German" in advice["expect"] and "SST-2" not in advice["expect"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    with pytest.raises(ConfigError, match="not plain text"):
        plan(str(tmp_path / "a.txt"), 60.0, tmp_path / "runs")


def test_text_in_another_encoding_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Die Straße war lang, und es hat dort geschneit.\n".encode("latin-1") * 200)
    assert plan(str(tmp_path / "a.txt"), 60.0, tmp_path / "runs")["text"]["train_bytes"]


def test_tags_are_seen_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("".join(f"Ann B-PER\nsaw O\nRome B-LOC\nin O\n{n} O\n\n" for n in range(40)))
    assert plan(str(tmp_path / "words.txt"), 60.0, tmp_path / "runs")["advice"][0]["recipe"] == "tag"


def test_without_runs_there_are_no_starts(tmp_path: Path) -> None:
    assert starts(tmp_path / "none") == [] and starts(tmp_path) == []


def test_a_mistake_is_found_before_torch() -> None:
    code, torch, output = run_command("plan nowhere.txt")
    assert (code, torch) == ("2", False) and "no such file" in output


def test_an_import_to_test_with_is_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = [
        {"name": name, "model": "transformer 2x64", "metric": None, "parameters": count}
        for name, count in (("random", 110_000), ("encoder", 22_000_000), ("own", 690_000))
    ]
    monkeypatch.setattr("foretell.tools.look.plan.list_runs", lambda folder: runs)
    monkeypatch.setattr("foretell.tools.look.plan.is_imported", lambda path: path.name != "own")
    assert [run["name"] for run in starts(tmp_path)] == ["encoder", "own"]
