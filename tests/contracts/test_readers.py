"""Every reader: examples and bad rows in order with their lines, nothing lost behind a bad one."""

import gzip
import random
from pathlib import Path

import pytest
from builders import members, name_of

from foretell.data.labelled.examples import BadRow, Choice, Example, Labelled, Question, Tagged, label_fault
from foretell.data.labelled.opening import read_examples
from foretell.data.labelled.readers import Reader, ReaderChoice
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.readers.folders import FoldersConfig
from foretell.data.labelled.readers.prefixed import PrefixedConfig
from foretell.data.labelled.readers.questions import QuestionsConfig
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import OptionsConfig, TableConfig
from foretell.errors import ConfigError

SQUAD = """{"data": [{"paragraphs": [{"context": "Ann sings.", "qas": [
{"id": "1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]},
{"id": "2", "question": "What?", "answers": [{"text": "nothing", "answer_start": 4}]},
{"id": "3", "question": "Why é?", "answers": [{"text": "sings", "answer_start": 4}]}]}]}]}
"""
QUESTIONS = """question,context,a,s
Who?,Ann sings.,Ann,0
What?,Ann sings.,nothing,4
Why é?,"Ann, she sings.","Ann, she",0
"""
STORIES = """{"context": "é", "options": ["a", "b"], "label": 1}
{"context": "c", "options": ["a"], "label": 0}
{"context": "c", "options": ["a", "b"], "label": 0}
"""
CASES: list[tuple[Reader, str, str, list[int], int, type[Example]]] = [
    # reader, name of the file, its text, lines of good examples, line of the bad one, what it gives
    (TableConfig(), "a.tsv", "label\ttext\nx\tone\ny\t \nx\ttwo é\n", [2, 4], 3, Labelled),
    (OptionsConfig(), "a.jsonl", STORIES, [1, 3], 2, Choice),
    (PrefixedConfig(), "a.txt", "x one\ny\nx two é\n", [1, 3], 2, Labelled),
    (FoldersConfig(names={"a": "x"}), "a.txt", "one\n\ntwo é\n", [1, 3], 0, Labelled),
    (ColumnsConfig(), "a.conll", "one\tB-x\n\ntwo\tI-x\n\né\tO\n", [1, 5], 3, Tagged),
    (SquadConfig(), "a.json", SQUAD, [2, 4], 3, Question),
    (QuestionsConfig(answer="a", start="s"), "a.csv", QUESTIONS, [2, 4], 3, Question),
]  # fmt: skip
every_reader = pytest.mark.parametrize("case", CASES, ids=lambda case: name_of(case[0]))


def write(folder: Path, case: tuple, packed: bool = False, encoding: str = "utf-8") -> Path:
    path = folder / (case[1] + ".gz" * packed)
    with gzip.open(path, "wb") if packed else path.open("wb") as stream:
        stream.write(case[2].encode(encoding))
    return path


def test_every_reader_is_here() -> None:
    assert {type(case[0]) for case in CASES} == set(members(ReaderChoice))


@every_reader
@pytest.mark.parametrize("packed", [False, True])
def test_rows_come_in_order_with_their_lines(tmp_path: Path, case: tuple, packed: bool) -> None:
    reader, _, _, good, bad, kind = case
    path = write(tmp_path, case, packed)
    rows = list(reader.read(path))
    lines = [int(row.where.removeprefix(f"{path}:")) for row in rows]
    assert lines == sorted([*good, bad] if bad else good)
    assert {type(row) for row, line in zip(rows, lines, strict=True) if line in good} == {kind}
    assert all(isinstance(row, BadRow) for row, line in zip(rows, lines, strict=True) if line == bad)


@every_reader
def test_what_is_to_be_predicted_has_no_labels(tmp_path: Path, case: tuple) -> None:
    path = write(tmp_path, case)
    examples = [row for row in case[0].read(path, False) if not isinstance(row, BadRow)]
    assert len(examples) >= len(case[3])
    for example in examples:
        answer = {Tagged: "tags", Question: "answers"}.get(type(example), "label")
        assert not getattr(example, answer)


@every_reader
def test_another_encoding_is_refused_with_its_line_or_read(tmp_path: Path, case: tuple) -> None:
    path = write(tmp_path, case, encoding="latin-1")
    try:
        found = "\n".join(map(str, case[0].read(path)))
    except ConfigError as problem:
        found = str(problem)
    line = next(number for number, text in enumerate(case[2].split("\n"), 1) if "é" in text)
    assert f"{path}:{line}: not utf-8 (byte 0xe9" in found
    told = case[0].model_copy(update={"encoding": "latin-1"})
    assert list(told.read(path)) == list(case[0].read(write(tmp_path, case)))


@every_reader
def test_encodings_that_hide_lines_are_no_settings(case: tuple) -> None:
    for name in ("utf-16", "utf-32-be"):
        with pytest.raises(ValueError, match="convert the files to UTF-8"):
            type(case[0])(encoding=name)
    with pytest.raises(ValueError, match="there is no encoding 'utf-9'"):
        type(case[0])(encoding="utf-9")


@every_reader
def test_a_damaged_or_absent_file_is_one_clear_error(tmp_path: Path, case: tuple) -> None:
    path = write(tmp_path, case, packed=True)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ConfigError, match="damaged or truncated"):
        list(case[0].read(path))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        list(case[0].read(tmp_path / f"none-{case[1]}", False))


WRONG = [
    b'"',
    b"'",
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"{",
    b"]",
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"null",
    b"9" * 5000,
    b"[" * 999,
]
WRONG += [b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xf0\x9f", b"\x1b[2J", "\u2028\u202e".encode()]


@every_reader
def test_damaged_files_are_examples_or_one_error(tmp_path: Path, case: tuple) -> None:
    """What comes out of any bytes can be encoded and printed."""
    draw = random.Random(5)
    path = write(tmp_path, case)
    whole = path.read_bytes()
    read = 0
    for _ in range(100):
        begin, end = sorted(draw.randrange(len(whole) + 1) for _ in range(2))
        flipped = bytes([draw.randrange(256)])
        middle = draw.choice([b"", whole[:end], flipped, draw.choice(WRONG), draw.choice(WRONG)])
        path.write_bytes(whole[:begin] + middle + whole[draw.choice([begin, begin + 1, end]) :])
        try:
            examples = read_examples(path, case[0], skip_bad=True)
        except ConfigError as problem:
            assert all(line.isprintable() for line in str(problem).split("\n"))
            continue
        read += 1
        for example in examples:
            "".join(example.all_texts).encode()
            assert label_fault(str(getattr(example, "label", "x"))) == ""
    assert 10 < read < 100
