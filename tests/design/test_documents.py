"""Pages at the top of the checkout: links and script names in them resolve."""

import re
import runpy
from pathlib import Path

import pytest
from design.source import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]


def dead_links(page: Path) -> list[str]:
    """Relative links of a page that name no file."""
    links = re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8"))
    return [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    assert dead_links(page) == []


def test_dead_links_are_detected(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#part) [b](missing.md) [c](https://example.org) [d](#part)", encoding="utf-8")
    assert dead_links(page) == ["missing.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_named_on_pages_exist(page: Path) -> None:
    named = set(re.findall(r"\bscripts/[\w.-]+\w", page.read_text(encoding="utf-8")))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_picture_shows_the_figures_of_the_results_page() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "demo_picture.py"))
    assert script["picture"]() == (ROOT / "docs" / "pictures" / "demo.svg").read_text(encoding="utf-8")
    shown = [(bits, adaptive) for _, bits, adaptive in script["rows"]()]
    assert shown[3:6] == [(1.955, False), (1.814, True), (1.601, True)] and len(shown) == 8
