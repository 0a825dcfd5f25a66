"""Windows and answers against a plain search, by the rules of the published script (run_squad.py)."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from labelled import task_tables, write_labelled

import foretell
from foretell.data.batches.framing import Framing
from foretell.data.labelled.examples import Answer, Question
from foretell.data.tokenizers.kinds import ByteConfig, SpecialsName
from foretell.tasks.answering import IMPOSSIBLE, AnsweringConfig, windows

PASSAGE = "Ann went to Rome in May. Bob, who was late, came in June."
BYTES = ByteConfig().train([])


def question(text: str = "June", passage: str = PASSAGE) -> Question:
    return Question("q", "when?", passage, (Answer(text, passage.index(text)),))


@pytest.mark.parametrize(("count", "room", "stride"), [(50, 20, 7), (50, 20, 20), (20, 20, 5), (21, 20, 5), (3, 20, 5)])
def test_windows_cover_everything_and_tokens_count_once(count: int, room: int, stride: int) -> None:
    spans = np.stack([np.arange(count), np.arange(count) + 1], 1)
    found = windows(count, room, stride, 4, spans)
    assert found[-1].end == count and all(w.end - w.begin <= room for w in found)
    assert [w.begin for w in found] == [stride * k for k in range(len(found))]
    for token in range(count):
        best, which = -math.inf, -1  # _check_is_max_context
        for k, w in enumerate(found):
            if w.begin <= token < w.end:
                score = min(token - w.begin, w.end - 1 - token) + 0.01 * (w.end - w.begin)
                best, which = max((best, which), (score, k), key=lambda pair: (pair[0], -pair[1]))
        central = [k for k, w in enumerate(found) if w.begin <= token < w.end and w.central[token - w.begin]]
        assert central == [which]


@pytest.mark.parametrize("length", [24, 40, 99])
@pytest.mark.parametrize("specials", ["none", "roberta"])
def test_the_label_is_where_the_answer_stands(length: int, specials: SpecialsName) -> None:
    task = AnsweringConfig(stride=9)
    rows = task.rows([question()], Framing(ByteConfig(specials=specials).train([]), length), ())
    assert all(row.length <= length for row in rows)
    inside = 0
    for row in rows:
        first, last = row.label
        tokens = row.readings[0].tokens
        if first:
            inside += 1
            assert BYTES.decode(tokens[first : last + 1].tolist()) == "June"
        else:
            assert "June" not in BYTES.decode(
                tokens[row.places.first : row.places.first + len(row.places.spans)].tolist()
            )
    assert inside >= 1


def test_predictions_are_the_best_of_all_stretches() -> None:
    task = AnsweringConfig(stride=9, longest=12, best=200)
    examples = [question(), question("Rome")]
    rows = task.rows(examples, Framing(BYTES, 40), ())
    draw = np.random.default_rng(2)
    scores = [draw.normal(size=(row.length, 2)) for row in rows]
    for example, found in enumerate(task.predictions(examples, rows, scores, ())):
        every = {}
        for row, score in zip(rows, scores, strict=True):
            if row.example != example:
                continue
            here = row.places
            for start, end in itertools.combinations_with_replacement(range(len(here.spans)), 2):
                edges = here.spans[[start, end]]
                if here.central[start] and end - start < 12 and (edges[:, 0] < edges[:, 1]).all():
                    stretch = PASSAGE[here.spans[start, 0] : here.spans[end, 1]]
                    key = (int(here.spans[start, 0]), int(here.spans[end, 1]))
                    total = score[here.first + start, 0] + score[here.first + end, 1]
                    every[key] = max(every.get(key, (-math.inf, "")), (total, stretch))
        (start, end), (_, text) = max(every.items(), key=lambda item: item[1][0])
        assert (found.text, found.start, found.end) == (text, start, end) and found.no_answer is None
        assert PASSAGE[start:end] == text
        chances = [one.probability for one in found.candidates]
        assert chances == sorted(chances, reverse=True) and sum(chances) == pytest.approx(1)


@pytest.mark.parametrize(("threshold", "answered"), [(0.0, False), (2.5, True)])
def test_no_answer_where_more_is_said_for_none(threshold: float, answered: bool) -> None:
    task = AnsweringConfig(threshold=threshold)
    (row,) = task.rows([question()], Framing(BYTES, 99), (IMPOSSIBLE,))
    scores = np.zeros((row.length, 2))
    scores[0] = 2.0, 1.0
    scores[row.label[0], 0] = scores[row.label[1], 1] = 0.5
    (found,) = task.predictions([question()], [row], [scores], (IMPOSSIBLE,))
    assert found.no_answer == pytest.approx(2.0)
    assert found.text == ("June" if answered else "")
    weights = np.exp([1.0, 3.0])
    assert found.candidates[0].text == "June" and found.candidates[0].probability < weights[0] / weights.sum()


def test_the_best_threshold_is_told() -> None:
    task = AnsweringConfig()
    impossible = Question("n", "who?", PASSAGE, (), impossible=True)
    examples = [question(), impossible]
    rows = task.rows(examples, Framing(BYTES, 99), (IMPOSSIBLE,))
    scores = [np.zeros((row.length, 2)) for row in rows]
    at = rows[0].label
    for score, none in zip(scores, (2.0, 3.0), strict=True):
        score[0, 0] = none
        score[at[0], 0] = score[at[1], 1] = 0.5
    measured = task.measure(examples, task.predictions(examples, rows, scores, (IMPOSSIBLE,)))
    assert measured["f1"] == 0.5 and measured["f1_at_best_threshold"] == 1.0
    assert measured["best_threshold"] == pytest.approx(1.0)
    alone = task.rows([impossible], Framing(BYTES, 99), (IMPOSSIBLE,))
    measured = task.measure([impossible], task.predictions([impossible], alone, scores[1:], (IMPOSSIBLE,)))
    assert measured["f1_at_best_threshold"] == 1.0 and math.isfinite(measured["best_threshold"])
    assert measured["best_threshold"] < 2.0  # so that nothing is ever answered
    measured = task.measure([impossible], task.predictions([impossible], alone, scores[1:], ()))
    assert "best_threshold" not in measured  # a model that has learnt that there always is one


def test_the_threshold_is_what_validation_found_unless_it_is_set() -> None:
    assert AnsweringConfig().fitted({"best_threshold": 1.5}).threshold == 1.5
    assert AnsweringConfig(threshold=0.5).fitted({"best_threshold": 1.5}).threshold == 0.5
    for nothing in ({}, {"best_threshold": None}, {"best_threshold": math.inf}):
        assert AnsweringConfig().fitted(nothing).threshold is None


def test_a_run_answers_by_the_threshold_of_its_validation(tmp_path: Path) -> None:
    """What was fitted on the validation split is used everywhere else, and not measured on it."""
    data = write_labelled("answering", tmp_path)
    file = Path(data["corpus"]["train"])
    value = json.loads(file.read_text())
    for paragraph in value["data"][0]["paragraphs"][::3]:
        paragraph["qas"][0] |= {"answers": [], "is_impossible": True}
    file.write_text(json.dumps(value))
    run = foretell.train(task_tables("answering", "bert", data, limit="10steps"), tmp_path / "run", quiet=True)
    best = run.summary()["best_threshold"]
    valid = run.evaluate("valid")
    assert valid["threshold"] == 0.0 and valid["best_threshold"] == best
    other = run.evaluate(str(file))
    assert other["threshold"] == best
    assert other["f1"] == other["f1_at_best_threshold"] == valid["f1_at_best_threshold"]
    passages = [p["context"] for p in value["data"][0]["paragraphs"]]
    said = run.predict([f"who saw it\t{passage}" for passage in passages])
    assert all((one.text == "") == (one.no_answer > best) for one in said)


def test_mistakes_are_answers_without_an_exact_match() -> None:
    task, examples = AnsweringConfig(), [question("in June"), question("June")]
    start = PASSAGE.index("June")
    found = [task.prediction(example, [(0.0, start, start + 4)], -math.inf) for example in examples]
    (mistake,) = task.mistakes(examples, found)
    assert (mistake.gold, mistake.predicted, mistake.probability) == ("in June", "June", 1.0)
    assert mistake.text == f"when?\t{PASSAGE}"
    assert task.confidences(examples, found) == [(1.0, False), (1.0, True)]
