"""Compressors in tables: the bytes that models are measured on, in a column and a part of their own."""

from pathlib import Path

from rich.console import Console

from foretell.coding.compressors import XZ
from foretell.tools import compressors
from foretell.tools.compressors import ADAPTIVE, add_compressors, figures
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor

QUIET = Monitor(quiet=True)


def test_the_text_is_read_after_the_training_text(corpus: dict[str, str], tmp_path: Path) -> None:
    train, test = (Path(corpus[split]).read_bytes() for split in ("train", "test"))
    found = compressors.baselines(corpus, "test", QUIET)
    assert found is not None and found["xz"] == XZ().bits_per_byte(test, train)
    assert found["train_bytes"] == len(train) and list(found) == ["xz", "ppmd", "zpaq", "train_bytes"]
    assert compressors.baselines(corpus, corpus["test"], QUIET) == found
    assert compressors.baselines(corpus, "train", QUIET) is None


def test_of_a_long_training_text_the_end_is_read(corpus: dict[str, str], monkeypatch: object) -> None:
    monkeypatch.setattr(compressors, "MOST", 1000)
    train, test = (Path(corpus[split]).read_bytes() for split in ("train", "test"))
    found = compressors.baselines(corpus, "test", QUIET)
    assert found is not None and found["xz"] == XZ().bits_per_byte(test, train[-1000:])


def test_compressors_have_a_column_and_a_part_of_their_own() -> None:
    found = {"xz": 2.2, "ppmd": 1.6, "zpaq": None, "train_bytes": 1_700_000}
    assert figures(found) == [("PPMd", 1.6), ("xz -9", 2.2)]
    table = ResponsiveTable(Column.names(), Column("bits/byte"), ADAPTIVE)
    table.add("model", "1.900")
    add_compressors(table, None)
    assert len(table.sections) == 1
    add_compressors(table, found)
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table)
    assert [section.label for section in table.sections] == ["", "compressors"]
    assert [cells[1].plain for cells, _ in table.sections[1].rows] == ["", ""]
    assert "1.7 MB of training text" in shown.get()
