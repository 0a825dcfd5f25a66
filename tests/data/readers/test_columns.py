from pathlib import Path

import pytest

from foretell.data.examples import BadRow, Tagged
from foretell.data.readers.columns import ColumnsConfig


def read(folder: Path, text: str, labelled: bool = True, **settings: object) -> list[object]:
    path = folder / "a.conll"
    path.write_text(text, encoding="utf-8")
    rows = ColumnsConfig(**settings).read(path, labelled)
    return [str(row).removeprefix(f"{path}:") if isinstance(row, BadRow) else row for row in rows]


def test_sentences_of_conll_2003_come_as_iob2(tmp_path: Path) -> None:
    first = "-DOCSTART- -X- -X- O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\n\n"
    text = first + "Peter NNP I-NP I-PER\nBlackburn NNP I-NP I-PER\nAnn NNP I-NP B-PER"
    assert read(tmp_path, text, scheme="iob1") == [
        Tagged(("EU", "rejects"), ("B-ORG", "O")),
        Tagged(("Peter", "Blackburn", "Ann"), ("B-PER", "I-PER", "B-PER")),
    ]
    classes = read(tmp_path, text, tag=1, scheme="none")
    assert classes[0] == Tagged(("EU", "rejects"), ("NNP", "VBZ"))
    assert read(tmp_path, text, labelled=False)[0] == Tagged(("EU", "rejects"), None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("O", "tag 'O' without a word"),
        ("\tB-x", "tag 'B-x' without a word"),
        (" \tO", "tag 'O' without a word"),
        ("word", "word 'word' without a tag"),
        ("word\t", "word 'word' without a tag"),
        ("word\tO\tO", "has 3 columns, not 2"),
        ("word\tX-x", "'X-x' is no tag of IOB2 (O, B-…, I-…)"),
        ("word\tI-y", "I-y follows no B-y or I-y"),
    ],
)
@pytest.mark.parametrize("delimiter", ["\t", None])
def test_a_tag_without_a_word_and_other_bad_lines(
    tmp_path: Path, line: str, reason: str, delimiter: str | None
) -> None:
    text = f"one\tO\n\ntwo\tB-x\n{line}\nlast\tO\n\nfour\tO\n"
    found = read(tmp_path, text, delimiter=delimiter)
    assert found == [Tagged(("one",), ("O",)), f"4: {reason}", Tagged(("four",), ("O",))]


def test_all_bad_lines_of_a_sentence_are_told(tmp_path: Path) -> None:
    assert read(tmp_path, "one\tB-x\tC\nO\ntwo\n") == ["2: tag 'O' without a word", "3: word 'two' without a tag"]
    assert read(tmp_path, "a\tB\nb\tI-x\nc\tI-y\n") == [
        "1: 'B' is no tag of IOB2 (O, B-…, I-…)",
        "2: I-x follows no B-x or I-x",
        "3: I-y follows no B-y or I-y",
    ]


def test_comments_and_other_columns(tmp_path: Path) -> None:
    text = "# sent_id = 1\n1\tHello\tINTJ\n2\t#\tSYM\n"
    assert read(tmp_path, text, word=1, comment="# ", scheme="none") == [Tagged(("Hello", "#"), ("INTJ", "SYM"))]
    assert read(tmp_path, "a\tb\n", word=3) == ["1: has 2 columns, too few"]
