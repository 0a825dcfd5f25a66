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
        ("bytes", 1536, "1.5 KiB"),
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
    assert text_of(described(key, value)).strip() == text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_facts_come_first_and_nothing_is_lost(width: int) -> None:
    long = "a/very/long/path/" * 8
    findings = [check(False, "files", f"{long} is damaged", "restore it", "error"), check(True, "disk", "fine", "")]
    text = text_of(render({"what": "run", "run": long, "disk_free_bytes": 2048, "findings": findings}), width)
    assert max(map(len, text.splitlines())) <= width
    assert "".join(text.split()).count(long) == 1 and "2.0 KiB" in text and "-> restore it" in text
    assert "1 errors, 0 warnings, 1 ok" in text
