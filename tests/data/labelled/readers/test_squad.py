import json
from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.examples import Answer, BadRow, Question
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.errors import ConfigError

PASSAGE = "Ann sings, and so does Bob; Ann is louder."


def question(name: str = "1", **changes: Any) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]} | changes


def read(folder: Path, *questions: Any, labelled: bool = True, indent: int | None = 1) -> list[object]:
    path = folder / "a.json"
    value = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": PASSAGE, "qas": list(questions)}]}]}
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    found = list(SquadConfig().read(path, labelled))
    for number, row in enumerate(found, 1):  # which line it is: that of its id; or which question, of a single line
        file, _, line = row.where.rpartition(":")
        if indent is None:
            assert row.where == f"{path}, question {number} of paragraph 1 of article 1"
        else:
            assert file == str(path)
            assert '"id"' in path.read_text().split("\n")[int(line) - 1]
    return [row.reason if isinstance(row, BadRow) else row for row in found]


@pytest.mark.parametrize("indent", [1, None])
def test_questions_with_answers_and_without(tmp_path: Path, indent: int | None) -> None:
    two = [{"text": "Ann", "answer_start": 28}, {"text": "Ann is", "answer_start": 28}]
    found = read(
        tmp_path, question(), question("2", answers=two), question("3", answers=[], is_impossible=True), indent=indent
    )
    assert found == [
        Question("1", "Who?", PASSAGE, (Answer("Ann", 0),)),
        Question("2", "Who?", PASSAGE, (Answer("Ann", 28), Answer("Ann is", 28))),
        Question("3", "Who?", PASSAGE, (), impossible=True),
    ]
    bare = {"id": "4", "question": "Who?"}
    assert read(tmp_path, bare, labelled=False) == [Question("4", "Who?", PASSAGE, ())]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answers": [{"text": "Ann", "answer_start": 1}]}, "the answer 'Ann' is not at 1 ('nn '); it is at 0"),
        (
            {"answers": [{"text": "Eve", "answer_start": 0}]},
            "the answer 'Eve' is not at 0 ('Ann'); it is nowhere in its context",
        ),
        ({"answers": [{"text": "Ann", "answer_start": -42}]}, "'answer_start' is -42, not a number of characters"),
        ({"answers": [{"text": "louder.!", "answer_start": 35}]}, "it is nowhere in its context"),
        ({"answers": [{"text": "Ann"}]}, "has no 'answer_start'"),
        ({"answers": [{"text": "", "answer_start": 0}]}, "'text' is empty"),
        ({"answers": []}, "has no answer and is not marked impossible"),
        ({"is_impossible": True}, "is marked impossible but has an answer"),
        ({"answers": {}}, "'answers' is not a list"),
        ({"question": " "}, "'question' is empty"),
    ],
)
def test_an_answer_that_is_not_in_its_context_and_other_bad_questions(
    tmp_path: Path, changes: Any, reason: str
) -> None:
    bad, good = read(tmp_path, question("q7", **changes), question("q8"))
    assert isinstance(bad, str) and bad.startswith("question 'q7': ") and bad.endswith(reason)
    assert isinstance(good, Question)


def test_ids_tell_questions_apart(tmp_path: Path) -> None:
    found = read(tmp_path, question("1"), question("1"))
    assert found[1] == f"question '1': the id is that of another question, at {tmp_path}/a.json:11"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"data": [\n}', r":2: not valid JSON"),
        ('{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "not SQuAD's JSON, 'context' is missing"),
        ("[1]", "not SQuAD's JSON"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        list(SquadConfig().read(tmp_path / "a.json"))


def test_numbers_are_ids_too_and_have_their_lines(tmp_path: Path) -> None:
    found = read(tmp_path, question(7), question(70), question(7))  # type: ignore[arg-type]
    assert [row.id for row in found[:2]] == ["7", "70"]  # type: ignore[attr-defined]
    assert found[2] == f"question 7: the id is that of another question, at {tmp_path}/a.json:11"
    for wrong in (True, None, 1.5, [1], "\ud83d"):
        (bad,) = read(tmp_path, question(wrong))  # type: ignore[arg-type]
        assert isinstance(bad, str) and "'id'" in bad


def test_a_bad_question_of_a_single_line_is_named_by_its_number(tmp_path: Path) -> None:
    value = {"data": [{"paragraphs": [{"context": "no", "qas": []}, {"context": PASSAGE, "qas": [question(), {}]}]}]}
    (tmp_path / "a.json").write_text(json.dumps(value))
    _, bad = SquadConfig().read(tmp_path / "a.json")
    where = "question 2 of paragraph 2 of article 1"
    assert str(bad) == f"{tmp_path}/a.json, {where}: {where}: has no 'id'"


def test_a_list_of_questions_with_their_passages(tmp_path: Path) -> None:
    flat = question(answers={"text": ["Ann"], "answer_start": [0]}) | {"context": PASSAGE, "title": "t"}
    for value in ({"data": [flat]}, [flat]):
        (tmp_path / "a.json").write_text(json.dumps(value))
        assert list(SquadConfig().read(tmp_path / "a.json")) == [Question("1", "Who?", PASSAGE, (Answer("Ann", 0),))]
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(flat)}\n" * 2)
    with pytest.raises(ConfigError, match=r'a\.jsonl:2: .* by data.reader.kind = "questions"'):
        list(SquadConfig().read(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 50_000, "nested more than 100 levels deep"),
        ('{"data": ' + "1" * 5000 + "}", "an integer has thousands of digits"),
        ('{"data": {"a": 1}}', "a list of articles under 'data' is missing"),
        ('{"data": [3]}', "item 1 of a list of articles under 'data' is 3"),
        ('{"data": [{}]}', "a list under 'paragraphs' is missing in article 1"),
        ('{"data": [{"paragraphs": [{"context": "a", "qas": 3}]}]}', "'qas' is missing in paragraph 1 of article 1"),
    ],
)
def test_json_that_is_none_of_squad(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        list(SquadConfig().read(tmp_path / "a.json"))


def test_half_a_character_is_a_bad_question(tmp_path: Path) -> None:
    bad, good = read(tmp_path, question("1", question="Who\ud83d?"), question("2"))
    assert bad == r"question '1': 'question' holds '\ud83d', half of a character (a lone surrogate)"
    assert isinstance(good, Question)
