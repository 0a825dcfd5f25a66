"""Rows of tables, against the csv module of Python where that can read them."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.readers.delimited import named_rows, quoted_records
from foretell.data.labelled.readers.tables import TableConfig
from foretell.errors import ConfigError

FIELDS = st.text(alphabet='ab",\n é', max_size=6)
TABLES = st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=5)


def read(folder: Path, text: str, name: str = "a.csv", **settings: object) -> list[str]:
    """What is read of a file, bad rows by line and reason."""
    path = folder / name
    path.write_bytes(text.encode())
    rows = TableConfig(**settings).read(path)
    return [f"{row.where}: {row.reason}" if isinstance(row, BadRow) else row.texts[0] for row in rows]


def lines_of(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.split("\n"), 1))


@given(TABLES)
def test_records_are_those_that_were_written(table: list[list[str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(table)
    records = list(quoted_records(lines_of(stream.getvalue()), ",", Path("x")))
    assert [fields for _, fields in records] == table
    begins = [1 + sum(1 + "".join(row).count("\n") for row in table[:i]) for i in range(len(table))]
    assert [number for number, _ in records] == begins


@given(st.text(alphabet='ab",\n', max_size=30))
def test_no_line_is_lost_behind_a_bad_one(text: str) -> None:
    """Every line begins a record, is bad, or is part of a record that goes on over it."""
    found = list(quoted_records(lines_of(text), ",", Path("x")))
    numbers = [int(row.where[2:]) if isinstance(row, BadRow) else row[0] for row in found]
    assert numbers == sorted(set(numbers))
    covered = set()
    for row, number in zip(found, numbers, strict=True):
        size = 1 if isinstance(row, BadRow) else 1 + "".join(row[1]).count("\n")
        covered |= set(range(number, number + size))
    assert {number for number, line in lines_of(text) if line} <= covered


def test_an_unbalanced_quote_is_told_with_its_line_and_swallows_nothing(tmp_path: Path) -> None:
    text = 'label,text\nx,"one"\ny,"never closed\nx,two\nx,"three, ""quoted"""\ny,"four\nlines"\n'
    found = read(tmp_path, text)
    assert found == [
        "one",
        f"{tmp_path}/a.csv:3: has bad quoting (',' expected after '\"')",
        "two",
        'three, "quoted"',
        "four\nlines",
    ]
    assert read(tmp_path, 'label,text\nx,one\ny,"never closed\nx,two\n') == [
        "one",
        f"{tmp_path}/a.csv:3: a quote that begins here is never closed",
        "two",
    ]  # fmt: skip


def test_a_row_with_too_few_or_too_many_columns(tmp_path: Path) -> None:
    text = "label\ttext\nx\nx\tone\nx\ttwo\tthree\n\n"
    assert read(tmp_path, text, "a.tsv") == [
        f"{tmp_path}/a.tsv:2: has 1 column, not 2",
        "one",
        f"{tmp_path}/a.tsv:4: has 3 columns, not 2",
    ]
    named = read(tmp_path, "x\tone\nx\ttwo\tthree\nx\n", "a.tsv", columns=("label", "text", "..."))
    assert named == ["one", "two", f"{tmp_path}/a.tsv:3: has 1 column, not 2"]


def test_a_table_without_its_columns_is_refused_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no column 'text', 'label' \(it has 'x', 'one'\)"):
        read(tmp_path, "x\tone\n", "a.tsv")
    with pytest.raises(ConfigError, match="has no column 'label'"):
        read(tmp_path, "", "a.tsv", columns=("text",))


def test_a_long_text_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, f'label,text\nx,"{"a " * 100_000}"\n') == ["a " * 100_000]


def test_columns_given_are_not_read_from_the_first_line() -> None:
    records = [(1, ["x", "one"]), (2, ["y", "two"])]
    rows = list(named_rows(records, ("label", "text"), ("text",), Path("x")))
    assert rows == [(1, {"label": "x", "text": "one"}), (2, {"label": "y", "text": "two"})]


def test_blanks_ahead_of_a_quote_are_no_part_of_a_field(tmp_path: Path) -> None:
    text = '"text", "label"\n"one, two",  "x"\n"three\nlines", "y"\n four,y\n'
    assert read(tmp_path, text) == ["one, two", "three\nlines", " four"]
    assert read(tmp_path, 'text, label\n "a ""b"", c", x\n') == ['a "b", c']
    assert read(tmp_path, 'text,label\n "a" b,x\nc,y\n') == [
        f"{tmp_path}/a.csv:2: has bad quoting (',' expected after '\"')",
        "c",
    ]  # fmt: skip


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for name, text in {"a.tsv": "text\tlabel\ttext\na\tx\tb\n", "a.csv": 'text,label,"text"\na,x,b\n'}.items():
        with pytest.raises(ConfigError, match=rf"{name}:1: has the column 'text' twice; rename one of them"):
            read(tmp_path, text, name)
    with pytest.raises(ConfigError, match="has the column 'text' twice"):
        read(tmp_path, "a,x,b\n", columns=("text", "label", "text"))
    assert read(tmp_path, "text,,label,\na,,x,\n") == ["a"]  # others may have one name
    assert read(tmp_path, '{"text": "a", "label": "x", "text": "b"}\n', "a.jsonl") == [
        f"{tmp_path}/a.jsonl:1: an object has the key 'text' twice"
    ]


def test_quotes_that_never_close_take_no_time(tmp_path: Path) -> None:
    lines = ["label,text", 'x,"never closed', *['x,a ""b"" c'] * 20_000]
    found = read(tmp_path, "\n".join(lines) + "\n")
    assert len(found) == 20_001 and found[0] == f"{tmp_path}/a.csv:2: a quote that begins here is never closed"
