from pathlib import Path

import pytest

from foretell.data.labelled.examples import BadRow, Labelled
from foretell.data.labelled.readers.prefixed import PrefixedConfig


def read(folder: Path, text: str, labelled: bool = True, **settings: object) -> list[object]:
    path = folder / "a.txt"
    path.write_text(text, encoding="utf-8")
    rows = PrefixedConfig(**settings).read(path, labelled)
    return [row.reason if isinstance(row, BadRow) else row for row in rows]


def test_the_first_word_is_the_label(tmp_path: Path) -> None:
    found = read(tmp_path, "NUM:dist How far ?\n\nLOC:city  Where ?\nHUM\n")
    assert found == [
        Labelled(("How far ?",), "NUM:dist"),
        Labelled(("Where ?",), "LOC:city"),
        "has no text after its label",
    ]
    assert read(tmp_path, "NUM:dist How far ?", part=":") == [Labelled(("How far ?",), "NUM")]
    assert read(tmp_path, "2 fine", names={"1": "x"}) == ["label '2' is none of 1"]


def test_labels_with_a_mark(tmp_path: Path) -> None:
    text = "__label__a __label__b so it is\nnone here\n__label__a\n"
    several = read(tmp_path, text, mark="__label__", several=True)
    assert several == [
        Labelled(("so it is",), ("a", "b")),
        Labelled(("none here",), ()),
        "has no text after its label",
    ]
    one = read(tmp_path, "__label__a __label__b\nnone here\n", mark="__label__")
    assert one == [Labelled(("__label__b",), "a"), "begins with 'none', not with '__label__…'"]
    with pytest.raises(ValueError, match='set mark = "__label__"'):
        PrefixedConfig(several=True)


def test_lines_to_predict_are_texts(tmp_path: Path) -> None:
    assert read(tmp_path, "so it is\n", labelled=False) == [Labelled(("so it is",), None)]


def test_labels_end_at_a_tab_too(tmp_path: Path) -> None:
    text = "__label__good\tlovely film\n__label__a\t__label__b\tso it is\n"
    one, _ = read(tmp_path, text, mark="__label__")
    assert one == Labelled(("lovely film",), "good")
    several = read(tmp_path, text, mark="__label__", several=True)
    assert several == [Labelled(("lovely film",), ("good",)), Labelled(("so it is",), ("a", "b"))]
    with pytest.raises(ValueError, match="holds blanks"):
        PrefixedConfig(mark="a b")


def test_labels_that_could_not_be_printed(tmp_path: Path) -> None:
    assert read(tmp_path, "go\x1bod fine\n") == [r"'label' holds '\x1b', which no label may"]
    assert read(tmp_path, "__label__ fine\n", mark="__label__") == ["'label' is empty"]
