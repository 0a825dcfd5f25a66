"""Examples in Parquet files, and rows that Python cannot hold."""

import datetime
from pathlib import Path

import pytest
from corpora import READER, ROWS, unread, write_rows

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.opening import open_examples, read_examples
from foretell.data.labelled.readers.arrow import arrow_rows
from foretell.data.labelled.readers.tables import TableConfig
from foretell.errors import ConfigError


def test_examples_in_parquet_are_those_in_json_lines(tmp_path: Path) -> None:
    several = [row | {"stars": ["a", "b"][: number % 3]} for number, row in enumerate(ROWS)]
    for name, rows, reader in (
        ("one", ROWS, READER),
        ("score", ROWS, TableConfig(texts=("body",), label="stars", labels="score")),
        ("several", several, TableConfig(texts=("body",), label="stars", labels="several")),
    ):
        one, other = (write_rows(tmp_path / f"{name}{ending}", rows) for ending in (".jsonl", ".parquet"))
        for split in ("train", "valid", "test"):
            assert open_examples(str(one), split, reader) == open_examples(str(other), split, reader) != []
        assert read_examples(other, reader)[8].where == f"{other}:9"


def test_rows_of_parquet_that_are_no_examples(tmp_path: Path) -> None:
    bad = [
        {"body": None, "stars": 1},
        {"body": "a", "stars": 7},
        {"body": "a", "stars": None},
        {"body": "b", "stars": 0},
    ]
    path = write_rows(tmp_path / "a.parquet", bad)
    assert unread({"train": str(path), "valid": str(path)}, "train", READER).splitlines()[1:] == [
        f"  {path}:1: 'body' is null, not a text",
        f"  {path}:2: label '7' is none of 0, 1, 2",
        f"  {path}:3: 'stars' is null, not a label",
    ]
    assert len(open_examples({"train": str(path), "valid": str(path)}, "train", READER, skip_bad=True)) == 1
    other = TableConfig(texts=("text",), label="stars")
    assert unread({"train": str(path), "valid": str(path)}, "train", other) == (
        f"{path}: has no column 'text' (it has body, stars); name those it has in data.reader"
    )
    path.write_text("PAR1")
    assert "damaged or truncated" in unread({"train": str(path), "valid": str(path)}, "train", READER)
    raw = write_rows(tmp_path / "raw.parquet", [{"body": b"\xc3\xa9", "stars": 0}, {"body": b"\xff", "stars": 0}])
    assert f"{raw}:2: not UTF-8" in unread({"train": str(raw), "valid": str(raw)}, "train", READER)
    assert open_examples({"train": str(raw), "valid": str(raw)}, "train", READER, skip_bad=True)[0].main_text == "é"


def test_a_row_that_python_cannot_hold_is_bad_by_itself() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    days = pyarrow.array([0, 10**9, 1], pyarrow.int32()).cast(pyarrow.date32())
    texts = pyarrow.array([[b"\xc3\xa9"], [b"a"], [b"\xff"]])
    batches = pyarrow.table({"day": days, "texts": texts}).to_batches(max_chunksize=2)
    good, *bad = arrow_rows(batches, "a.parquet")
    assert good == (1, {"day": datetime.date(1970, 1, 1), "texts": ["é"]})
    assert all(isinstance(row, BadRow) for row in bad)
    assert [str(row)[:24] for row in bad] == ["a.parquet:2: has a value", "a.parquet:3: not UTF-8"]


def test_a_column_that_is_there_twice_is_refused() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    with pytest.raises(ConfigError, match=r"a\.parquet: has the column 'a' twice"):
        list(arrow_rows(table.to_batches(), "a.parquet"))
