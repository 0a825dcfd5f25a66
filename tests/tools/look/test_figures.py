"""Quoted figures stand in docs/results.md."""

import re
from pathlib import Path

import pytest

from foretell.tools.look import figures
from foretell.tools.look.figures import STARTS, TRANSFER, Figure, transfer

QUOTED = [item for item in vars(figures).values() if isinstance(item, Figure)] + [transfer(*key) for key in TRANSFER]
RESULTS = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("figure", QUOTED, ids=str)
def test_every_number_stands_in_its_section(figure: Figure) -> None:
    heading = re.compile(rf"^#+ {figure.section.replace('-', '[ -]')}$", re.MULTILINE | re.IGNORECASE)
    section = re.split(r"^#{1,3} ", heading.split(RESULTS)[1], flags=re.MULTILINE)[0]
    for number in re.findall(r"\d+\.\d+", figure.text):
        assert number in section


@pytest.mark.parametrize("key", TRANSFER)
def test_a_transfer_is_that_of_its_row(key: tuple[str, str]) -> None:
    """Each figure is the first of a cell in a row of the model that is named."""
    rows = [line for line in RESULTS.splitlines() if line.startswith(f"| {STARTS[key[0]]}, ")]
    cells = [cell.split()[0] for row in rows for cell in row.split("|") if cell.strip()]
    for number in re.findall(r"(?<!words )(?<!\()\d\.\d{3}", TRANSFER[key]):
        assert number in cells
