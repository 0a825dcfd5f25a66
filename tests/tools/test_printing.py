"""What is printed: JSON that every reader takes, and nothing that steers a terminal."""

import json
import math
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from foretell.errors import ConfigError
from foretell.tools import printing

ESCAPE = "\x1b[31mred"


def test_json_is_what_every_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        "a": math.nan,
        "b": [math.inf, -math.inf, 1.5],
        "c": "\udc80\x1b\x9b\u2028\n\\x85",
        "d": {"e": (1, math.nan)},
    }
    printing.emit(given, True, lambda _: "")
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {
        "a": None, "b": [None, None, 1.5], "c": "\ufffd\x1b\x9b\u2028\n\\x85", "d": {"e": [1, None]},
    }  # fmt: skip
    assert out.count("\n") == len(out.splitlines()) == 1
    assert out[:-1].isprintable()


def test_tables_hold_no_control_characters_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    printing.emit({"name": ESCAPE, "other": "[bold]x[/nothing]"}, False, printing.properties)
    out = capsys.readouterr().out
    assert r"\x1b[31mred" in out
    assert "\x1b" not in out
    assert "[bold]x[/nothing]" in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_commands_can_be_copied_at_any_width(width: int) -> None:
    words = ["foretell", "compare", "runs/demo/awd-lstm-tiny-seed1", "runs/a folder/ngram-5-seed1", "--out", "x" * 90]
    console = Console(width=width)
    with console.capture() as capture:
        console.print(printing.Command(shlex.join(words)), crop=False)
    lines = capture.get().splitlines()
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == words
    assert all(len(line) <= width for line in lines if "x" * 90 not in line)


@pytest.mark.parametrize(("accuracy", "warns"), [(0.7, True), (0.8, True), (0.81, False)])
def test_simple_classifiers_beside_the_accuracy(accuracy: float, warns: bool) -> None:
    known = {"measured_on": "test", "most_frequent_label": 0.5, "bag_of_characters": 0.8}
    shown = [
        str(cell)
        for cell in printing.measured({"metric": "accuracy", "accuracy": accuracy, "baseline": known}, "a").cells(0)
    ]
    assert shown == ["accuracy", "most frequent label", "bag of characters", *["warning"] * warns]


def test_rows_are_raw_in_pipes_and_harmless_on_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printing.print_rows([ESCAPE])
    assert capsys.readouterr().out == ESCAPE + "\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printing.print_rows([f"{ESCAPE}\tb"])
    printing.print_piece(ESCAPE)
    assert capsys.readouterr().out == "\\x1b[31mred\tb\n\\x1b[31mred"


def test_an_error_holds_no_control_characters() -> None:
    problem = ConfigError("a\nb\x1b\x9b", file=Path("x\x07\udc80"), line=3, remedy="\u202ec")
    assert str(problem) == r"x\x07\udc80:3: a\nb\x1b\x9b; \u202ec"
    assert str(problem).isprintable()


def test_what_was_found_on_the_text_is_said_first() -> None:
    table = printing.measured({"bits_per_byte": 1.0, "fitted_here": ["mixture weights", "cache.weight"]}, "a run")
    assert "mixture weights, cache.weight: fitted on this text" in str(next(table.cells(1)))
    assert len([*printing.measured({"bits_per_byte": 1.0, "fitted_here": []}, "a run").cells(0)]) == 1


def test_costs_are_printed_alike_everywhere() -> None:
    costs = {"seconds": 0.6662806209988048, "tokens_per_second": 12345.6, "peak_memory_bytes": 346_587_136}
    for table in (printing.properties(costs), printing.measured(costs, "a run")):
        assert [str(cell) for cell in table.cells(0)] == ["time", "tokens per second", "peak memory"]
        assert [str(cell) for cell in table.cells(1)] == ["0.7 s", "12.3 k", "347 MB"]


def test_figures_have_the_unit_of_their_key() -> None:
    found = {"bytes": 1_500_000, "demo_seconds": 192.0, "tokens": 12_345, "split": "test", "left_out": [], "ok": True}
    assert [str(cell) for cell in printing.properties(found).cells(1)] == [
        "1.5 MB", "3.2 min", "12,345", "test", "none", "yes",
    ]  # fmt: skip


def test_names_lose_the_folder_that_all_share() -> None:
    assert printing.without_common_folder(["runs/a/x", "runs/a/y+runs/a/b/z"]) == (["x", "y+b/z"], "runs/a")
    assert printing.without_common_folder(["/home/me/x", "/home/you/x"]) == (["me/x", "you/x"], "/home")
    assert printing.without_common_folder(["x", "runs/x"]) == (["x", "runs/x"], "")
    assert printing.without_common_folder(["runs/x", "runs/x"]) == (["x", "x"], "runs")
    assert printing.without_common_folder(["runs/x"]) == (["runs/x"], "")
