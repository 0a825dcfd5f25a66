"""What is printed: JSON that every reader takes, and nothing that steers a terminal."""

import json
import math
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

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
    first = next(iter(table.columns[1].cells))
    assert "mixture weights, cache.weight: fitted on this text" in str(first)
    assert printing.measured({"bits_per_byte": 1.0, "fitted_here": []}, "a run").row_count == 1


def test_costs_are_printed_alike_everywhere() -> None:
    costs = {"seconds": 0.6662806209988048, "tokens_per_second": 1234.5, "peak_memory_bytes": 346_587_136}
    for table in (printing.properties(costs), printing.measured(costs, "a run")):
        assert list(table.columns[1].cells) == ["0.7", "1,234", "331 MiB"]


@pytest.mark.parametrize("width", [30, 60, 120])
def test_a_table_that_does_not_fit_becomes_paragraphs(width: int) -> None:
    table = printing.plain("", "bits/byte", "parameters", "note", title="a race")
    table.add_row("a-long-name", "1.234", "12,345,678", Text("the best of them all", "bold"))
    table.add_row("short", "2.345", "", "")
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(printing.with_notes(table, ["A note."]))
    text = " ".join(printed.get().split())
    assert "…" not in text and max(map(len, printed.get().splitlines())) <= width
    for part in ("a race", "a-long-name", "1.234", "12,345,678", "the best of them all", "short", "2.345", "A note."):
        assert part in text
    assert ("bits/byte 1.234, parameters 12,345,678" in text) == (width < 60)


def test_names_lose_the_folder_that_all_share() -> None:
    assert printing.without_common_folder(["runs/a/x", "runs/a/y+runs/a/b/z"]) == (["x", "y+b/z"], "runs/a")
    assert printing.without_common_folder(["/home/me/x", "/home/you/x"]) == (["me/x", "you/x"], "/home")
    assert printing.without_common_folder(["x", "runs/x"]) == (["x", "runs/x"], "")
    assert printing.without_common_folder(["runs/x", "runs/x"]) == (["x", "x"], "runs")
    assert printing.without_common_folder(["runs/x"]) == (["runs/x"], "")
