"""Findings and how they are shown."""

import pytest
from rich.console import Console

from foretell.tools.look.diagnosis import check, described, render


def text_of(renderable: object, width: int = 80) -> str:
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(renderable)
    return printed.get()


def test_a_good_check_has_nothing_to_do() -> None:
    assert check(True, "disk", "3 GiB free", "free some") == {
        "level": "ok", "about": "disk", "text": "3 GiB free", "do": "",
    }  # fmt: skip
    assert check(False, "disk", "1 MiB free", "free some", "error")["level"] == "error"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("bytes", 1536, "1.5 kB"),
        ("validation_seconds", 192.0, "3.2 min"),
        ("unknown", 0.125, "12.50%"),
        ("loss", 1.23456, "1.235"),
        ("steps", 12000, "12,000"),
        ("finished", True, "yes"),
        ("best", None, "none"),
        ("splits", {}, "none"),
        ("files", [], "none"),
    ],
)
def test_values_in_words(key: str, value: object, text: str) -> None:
    assert described(key, value) == text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_facts_come_first_and_nothing_is_lost(width: int) -> None:
    long = "a/very/long/path/" * 8
    findings = [check(False, "files", f"{long} is damaged", "restore it", "error"), check(True, "disk", "fine", "")]
    text = text_of(render({"what": "run", "run": long, "disk_free_bytes": 2048, "findings": findings}), width)
    assert max(map(len, text.splitlines())) <= width
    assert "".join(text.split()).count(long) == 2 and "2 kB" in text and "-> restore it" in text
    assert "1 error, 0 warnings, 1 ok" in text


def test_records_with_many_figures_are_columns_and_with_few_rows() -> None:
    many = {"complete": True, "lines": 12, "words": 34, "bytes": 5600, "repeated": {"lines": 0.5, "paragraphs": 0.25}}
    text = text_of(render({"splits": {"train": many, "my_split": many}, "findings": []}))
    assert [line.split() for line in text.splitlines()[:8]] == [
        ["splits"], ["train", "my_split"], ["complete", "yes", "yes"], ["lines", "12", "12"], ["words", "34", "34"],
        ["size", "5.6", "kB", "5.6", "kB"], ["repeated", "lines", "50.00%", "50.00%"],
        ["repeated", "paragraphs", "25.00%", "25.00%"],
    ]  # fmt: skip
    few = text_of(render({"labels": {"very_good": {"train": 12, "valid": 3}, "bad": {"train": 5}}, "findings": []}))
    assert [line.split() for line in few.splitlines()[:4]] == [
        ["labels"], ["train", "valid"], ["very_good", "12", "3"], ["bad", "5"],
    ]  # fmt: skip


def test_lists_of_records_are_named_by_their_first_figure() -> None:
    text = text_of(
        render({"speed": [{"device": "cpu", "gflops": 12.5}, {"device": "cuda", "gflops": 1}], "findings": []})
    )
    assert "cpu     12.5" in text and "cuda       1" in text
