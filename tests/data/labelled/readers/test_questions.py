import json
from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.examples import Answer, BadRow, Question
from foretell.data.labelled.readers.questions import QuestionsConfig

PASSAGE = "Ann sings, and so does Bob; Ann is louder."


def read(path: Path, labelled: bool = True, **settings: Any) -> list[object]:
    rows = QuestionsConfig(**settings).read(path, labelled)
    return [row.reason if isinstance(row, BadRow) else row for row in rows]


def test_rows_as_the_datasets_library_has_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"id": 7, "title": "t", "context": PASSAGE, "question": "Who?"}
    answers = [{"text": ["Bob"], "answer_start": [23]}, {"text": [], "answer_start": []}, None, {"text": ["Bob"]}]
    path.write_text("".join(json.dumps(row | {"answers": given}) + "\n" for given in answers))
    assert read(path, id="id") == [
        Question("7", "Who?", PASSAGE, (Answer("Bob", 23),)),
        Question("7", "Who?", PASSAGE, (), impossible=True),
        "'answers' is not a list",
        "has no 'answer_start'",
    ]
    assert read(path, labelled=False)[2] == Question(f"{path}:3", "Who?", PASSAGE, ())


def test_parquet_as_the_datasets_library_writes_it(tmp_path: Path) -> None:
    pyarrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    path = tmp_path / "a.parquet"
    answers = [{"text": ["Bob"], "answer_start": [23]}]
    columns = {"context": [PASSAGE], "question": ["Who?"], "answers": answers}
    parquet.write_table(pyarrow.table(columns), path)
    assert read(path) == [Question(f"{path}:1", "Who?", PASSAGE, (Answer("Bob", 23),))]


def test_answers_in_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["Ann,28", "Ann,1", "Bob,x", ",", "Bob,"]
    path.write_text("context,question,a,s\n" + "".join(f'"{PASSAGE}",Who?,{line}\n' for line in lines))
    assert read(path, answer="a", start="s") == [
        Question(f"{path}:2", "Who?", PASSAGE, (Answer("Ann", 28),)),
        "the answer 'Ann' is not at 1 ('nn '); it is at 0",
        "'s' is 'x', not a number of characters",
        Question(f"{path}:5", "Who?", PASSAGE, (), impossible=True),
        "'s' is '', not a number of characters",
    ]
    assert read(path, answer="a")[0] == (
        "the answer 'Ann' occurs in its context 2 times; name a column with its first character as start"
    )
    assert read(path, answer="a")[2] == Question(f"{path}:4", "Who?", PASSAGE, (Answer("Bob", 23),))
    with pytest.raises(ValueError, match="name its column as answer"):
        QuestionsConfig(start="s")
