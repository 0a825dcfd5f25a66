"""What every table looks like at 60, 80 and 120 columns."""

import pytest
from rich.cells import cell_len
from snapshots.shots import FOLDER, TABLES, WIDTHS, drawn, shot


@pytest.mark.parametrize("name", TABLES)
def test_a_table_looks_as_before(name: str) -> None:
    """After a change that is meant to show: `PYTHONPATH=.:tests .venv/bin/python -m snapshots.shots`."""
    assert shot(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_the_terminal(name: str) -> None:
    for width in WIDTHS:
        assert max(map(cell_len, drawn(TABLES[name](), width).splitlines())) <= width


def test_every_file_shows_a_table() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(TABLES)
