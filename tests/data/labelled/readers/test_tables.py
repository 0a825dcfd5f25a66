import json
from pathlib import Path

import pytest

from foretell.data.labelled.examples import BadRow, Choice, Labelled
from foretell.data.labelled.readers.rows import RowsReader
from foretell.data.labelled.readers.tables import OptionsConfig, TableConfig


def read(folder: Path, reader: RowsReader, *rows: dict[str, object]) -> list[object]:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [row.reason if isinstance(row, BadRow) else row for row in reader.read(path)]


def test_labels_are_names_of_classes(tmp_path: Path) -> None:
    values = ["x", 3, True, " y "]
    found = read(tmp_path, TableConfig(), *({"text": "t", "label": value} for value in values))
    assert found == [Labelled(("t",), label) for label in ("x", "3", "true", "y")]


def test_names_are_all_the_labels_there_may_be(tmp_path: Path) -> None:
    reader = TableConfig(names={"0": "bad", "1": "good"})
    found = read(tmp_path, reader, *({"text": "t", "label": value} for value in (1, "0", 2)))
    assert found == [Labelled(("t",), "good"), Labelled(("t",), "bad"), "label '2' is none of 0, 1"]


def test_several_labels_in_one_field_or_in_a_list(tmp_path: Path) -> None:
    reader = TableConfig(labels="several", separator=";")
    found = read(tmp_path, reader, *({"text": "t", "label": value} for value in ("x; y", ["y", "z"], "", [[]])))
    assert found == [
        *(Labelled(("t",), labels) for labels in (("x", "y"), ("y", "z"), ())),
        "'label' is [], not a label",
    ]


def test_pairs_have_two_texts(tmp_path: Path) -> None:
    found = read(
        tmp_path, TableConfig(texts=("a", "b")), {"a": "one", "b": "two", "label": "x"}, {"a": "one", "label": "x"}
    )
    assert found == [Labelled(("one", "two"), "x"), "has no 'b'"]
    with pytest.raises(ValueError, match="one column, or two for pairs"):
        TableConfig(texts=("a", "b", "c"))


def test_options_of_several_columns_counted_from_one(tmp_path: Path) -> None:
    reader = OptionsConfig(context=("s", "t"), options=("a", "b"), label="right", numbers=("1", "2"))
    rows = [{"s": "One.", "t": "Two.", "a": "x", "b": "y", "right": right} for right in ("1", 2, "0", "")]
    assert read(tmp_path, reader, *rows) == [
        Choice("One. Two.", ("x", "y"), 0),
        Choice("One. Two.", ("x", "y"), 1),
        "'right' is 0, none of 1, 2",
        "'right' is empty",
    ]


def test_options_in_a_list(tmp_path: Path) -> None:
    rows = [
        {"context": "c", "options": options, "label": 2} for options in (["x", "y", "z"], ["x", "y"], ["x", ""], ["x"])
    ]
    assert read(tmp_path, OptionsConfig(), *rows) == [
        Choice("c", ("x", "y", "z"), 2),
        "'label' is 2, none of 0, 1",
        "'options[1]' is empty",
        "has 1 option; a choice needs at least two",
    ]


def test_several_labels_that_are_none(tmp_path: Path) -> None:
    reader = TableConfig(labels="several")
    values = [None, True, {"a": 1}, ["x", None], ["x", {}], ["x\n"], ["a\nb"]]
    found = read(tmp_path, reader, *({"text": "a", "label": value} for value in values))
    assert found == [
        "'label' is null, not a list of labels",
        "'label' is true, not a list of labels",
        "'label' is {\"a\": 1}, not a list of labels",
        "'label' is null, not a label",
        "'label' is {}, not a label",
        Labelled(("a",), ("x",)),
        r"'label' holds '\n', which no label may",
    ]
    assert read(tmp_path, reader, {"text": "a", "label": 3}) == [Labelled(("a",), ("3",))]
    with pytest.raises(ValueError, match="separator must not be empty"):
        TableConfig(labels="several", separator="")
