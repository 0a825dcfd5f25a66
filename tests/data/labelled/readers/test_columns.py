from pathlib import Path

import pytest

from foretell.data.labelled.examples import BadRow, Tagged
from foretell.data.labelled.opening import read_examples
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.errors import ConfigError


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
        ("word\tX-x", "'X-x' is not a tag of IOB2 (O, B-…, I-…)"),
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
        "1: 'B' is not a tag of IOB2 (O, B-…, I-…)",
        "2: I-x follows no B-x or I-x",
        "3: I-y follows no B-y or I-y",
    ]


def test_comments_and_other_columns(tmp_path: Path) -> None:
    text = "# sent_id = 1\n1\tHello\tINTJ\n2\t#\tSYM\n"
    assert read(tmp_path, text, word=1, comment="# ", scheme="none") == [Tagged(("Hello", "#"), ("INTJ", "SYM"))]
    assert read(tmp_path, "a\tb\n", word=3) == ["1: has 2 columns, too few"]


def test_a_line_between_documents_ends_a_sentence(tmp_path: Path) -> None:
    text = "saw O\nJohn I-PER\n-DOCSTART- O\nMary I-PER\nran O\n\n"
    expected = [Tagged(("saw", "John"), ("O", "B-PER")), Tagged(("Mary", "ran"), ("B-PER", "O"))]
    assert read(tmp_path, text, scheme="iob1") == read(tmp_path, text, scheme="io") == expected


@pytest.mark.parametrize(
    ("scheme", "lines"),
    [
        ("bilou", "Ann U-PER\nsaw O\nNew B-LOC\nYork I-LOC\nCity L-LOC\n"),
        ("bmes", "Ann S-PER\nsaw O\nNew B-LOC\nYork M-LOC\nCity E-LOC\n"),
    ],
)
def test_other_spellings_of_bioes(tmp_path: Path, scheme: str, lines: str) -> None:
    expected = Tagged(("Ann", "saw", "New", "York", "City"), ("B-PER", "O", "B-LOC", "I-LOC", "I-LOC"))
    assert read(tmp_path, lines, scheme=scheme) == [expected]
    assert isinstance(read(tmp_path, lines)[0], str)


@pytest.mark.parametrize(
    ("lines", "scheme", "hint"),
    [
        (["a O", "b I-x", "c B-x"], "iob2", 'data.reader.scheme = "iob1"'),
        (["a O", "b I-x"], "iob2", 'data.reader.scheme = "iob1" or "io"'),
        (["a O", "b B-x", "c I-x"], "io", 'data.reader.scheme = "iob2"'),
        (["a S-x", "b B-x", "c E-x", "d B-x", "e I-x", "f E-x"], "iob2", 'data.reader.scheme = "bioes"'),
        (["a U-x", "b B-x", "c L-x"], "iob2", 'data.reader.scheme = "bilou"'),
        (["a B-x", "b M-x", "c E-x"], "iob2", 'data.reader.scheme = "bmes"'),
        (["a NN", "b VB"], "iob2", 'data.reader.scheme = "none"'),
        (["a B-x", "b Q-x"], "iob2", ""),
    ],
)
def test_a_scheme_that_does_not_fit_has_a_hint_and_sentences_are_counted(
    tmp_path: Path, lines: list[str], scheme: str, hint: str
) -> None:
    path = tmp_path / "a.conll"
    path.write_text("\n\n".join(["\n".join(lines)] * 3 + ["z O"]))
    with pytest.raises(ConfigError) as problem:
        read_examples(path, ColumnsConfig(scheme=scheme))
    head = f"{path}: 3 of 4 sentences cannot be used; {f'set {hint}' if hint else 'fix them'}, or leave"
    assert str(problem.value).startswith(head)


def test_a_few_wrong_tags_are_no_other_scheme(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a B-x\nb I-x\n\n" * 20 + "a O\nb I-x\n")
    with pytest.raises(ConfigError, match="1 of 21 sentences cannot be used; fix it, or leave it"):
        read_examples(path, ColumnsConfig())


def test_tags_that_could_not_be_printed(tmp_path: Path) -> None:
    text = "a\tB-x\x1b[2J\n\nb\tB-a b\n"
    assert read(tmp_path, text, delimiter="\t") == [
        r"1: the tag holds '\x1b', which no label may",
        "3: the tag 'B-a b' holds a blank; write an underscore in its place",
    ]
