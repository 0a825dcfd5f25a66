"""Tables that fit any terminal without shortening a number."""

import re
from collections.abc import Iterable

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from foretell.tools.tables import Column, FirstFit, ResponsiveTable, facts, folded, spaced, widened


def drawn(table: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def example(rows: Iterable[tuple[str, ...]] = ()) -> ResponsiveTable:
    columns = (
        Column.names("run"),
        Column("bits/byte"),
        Column("interval", 2),
        Column.words("state", 3),
        Column("p", 3),
    )
    table = ResponsiveTable(*columns, title="a race", notes=["A note."])
    given = [*rows] or [("gpt-wiki-mini-rotary", "1.1688", "+0.0165 (+0.0121 to +0.0214)", "finished", "0.001")]
    for row in given:
        table.add(*row)
    return table


def test_columns_are_left_out_by_priority_and_named() -> None:
    seen = {width: drawn(example(), width) for width in (90, 70, 60, 48)}
    assert seen[90][1].split() == ["run", "bits/byte", "interval", "state", "p"] and "not shown" not in str(seen[90])
    assert "not shown at this width: p (--json has all)" in seen[70]
    assert "not shown at this width: state, p (--json has all)" in seen[60]
    assert "not shown at this width: interval, state, p (--json has all)" in " ".join(seen[48])
    for width, lines in seen.items():
        assert max(map(cell_len, lines)) <= width and lines[0] == "a race" and lines[-1] == "A note."


@pytest.mark.parametrize("width", range(12, 100, 3))
def test_what_is_shown_is_shown_in_full(width: int) -> None:
    """Numbers and intervals on one line; names may wrap, but lose nothing."""
    lines = drawn(example(), width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text and "1.1688" in text
    shown = "interval" in (line for line in lines[1].split())
    assert ("+0.0165 (+0.0121 to +0.0214)" in text) == shown
    names = "".join(re.findall(r"^[a-z-]+", "\n".join(lines[2:]), re.MULTILINE)) if width > 18 else "".join(lines)
    assert "gpt-wiki-mini-rotary" in names


def test_where_nothing_fits_rows_are_paragraphs() -> None:
    table = ResponsiveTable(Column.names(), Column("bits/byte"), Column("interval"))
    table.add("a-long-name", "1.234", "+0.0165 (+0.0121 to +0.0214)")
    table.section("not ranked")
    table.add("short", "2.345")
    assert drawn(table, 40) == [
        "a-long-name", "  bits/byte 1.234, interval +0.0165", "  (+0.0121 to +0.0214)", "not ranked", "short",
        "  bits/byte 2.345",
    ]  # fmt: skip


def test_sections_are_aligned_below_lines() -> None:
    table = example([("a", "1.1", "", "stopped")])
    table.section("not ranked")
    table.add("another", "10.25*", style="dim")
    assert drawn(table, 80)[1:-1] == [
        "run      bits/byte  state", "a              1.1  stopped", "not ranked ────────────────", "another     10.25*",
    ]  # fmt: skip


def test_columns_without_a_value_take_no_room() -> None:
    assert drawn(example([("a", "1.1"), ("b", "1.2")]), 60)[1].split() == ["run", "bits/byte"]


def test_lines_are_broken_at_blanks_then_in_names_then_anywhere() -> None:
    def lines(text: str, width: int) -> list[str]:
        return folded(Text(text), width).plain.split("\n")

    assert lines("one two three", 8) == ["one two", "three"]
    assert lines("gpt-wiki-mini/seed-1", 10) == ["gpt-wiki-", "mini/seed-", "1"]
    assert lines("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert lines("とても満足です", 6) == ["とても", "満足で", "す"]
    assert lines("one two\nthree", 20) == ["one two", "three"]


@pytest.mark.parametrize("width", range(4, 40, 5))
def test_breaking_lines_loses_blanks_only(width: int) -> None:
    text = "runs/wiki-mini_2 of  the series,+which is known=in the West as とても満足 " * 3
    found = folded(Text(text), width)
    assert "".join(found.plain.split()) == "".join(text.split())
    assert max(map(cell_len, found.plain.split("\n"))) <= width


def test_styles_survive_breaking() -> None:
    text = Text("red blue", "")
    text.stylize("red", 0, 3)
    assert [(span.start, span.end, str(span.style)) for span in folded(text, 4).spans] == [(0, 3, "red")]


def test_room_goes_first_to_what_lacks_least() -> None:
    assert widened([5, 5, 5], [5, 8, 50], 26) == [5, 8, 9]
    assert widened([5, 5], [20, 20], 20) == [9, 9]
    assert widened([5, 5], [6, 7], 50) == [6, 7]


def test_the_first_table_that_fits_is_shown() -> None:
    wide, narrow = ResponsiveTable(Column("a" * 30)), ResponsiveTable(Column("b"))
    wide.add("1")
    narrow.add("2")
    assert drawn(FirstFit(wide, narrow), 40)[0] == "a" * 30
    assert drawn(FirstFit(wide, narrow), 20)[0] == "b"


def test_control_characters_are_spelled_out_before_widths_are_computed() -> None:
    table = ResponsiveTable(Column.names("name"), title="x\x1b", notes=["\x1b[31m"])
    table.add("red\x1b[31m")
    table.section("\x07")
    table.add("b")
    text = "\n".join(drawn(table, 40))
    assert r"red\x1b[31m" in text and "\x1b" not in text and "\x07" not in text


def test_facts_are_names_and_values() -> None:
    assert drawn(spaced(facts([("loss", "3.2"), ("context", "carried")]), facts([("a", "b")])), 40) == [
        "loss     3.2", "context  carried", "", "a  b",
    ]  # fmt: skip
