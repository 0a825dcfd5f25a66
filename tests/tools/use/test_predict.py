"""`foretell predict` as a program: one line out for one in, in order; all there is to know as one JSON object."""

import json
from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError


def trained(task: str, model: str, folder: Path) -> tuple[foretell.Trained, dict[str, Any]]:
    data = write_labelled(task, folder)
    return foretell.train(task_tables(task, model, data), folder / "run", quiet=True), data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    return trained("classification", "recurrent", tmp_path_factory.mktemp("run"))[0]


def called(run: foretell.Trained, *arguments: str, given: str = "") -> Any:
    return CliRunner().invoke(app, ["predict", str(run.run.path), *arguments], input=given)


LINES = ["the cat good", "", "a dog ran on the mat bad", "zzz odd", "bad"]


def test_a_line_for_each_in_order(run: foretell.Trained) -> None:
    printed = called(run, given="\n".join(LINES) + "\n").stdout.splitlines()
    expected = run.predict(LINES)
    lines = [f"{one.label}\t{one.probabilities[one.label]:.4f}" for one in expected]
    assert printed == [lines[0], "", *lines[2:]]
    assert [printed[i].split("\t")[0] for i in (0, 2, 3, 4)] == ["GOOD", "BAD", "ODD", "BAD"]
    texts = called(run, "--with-text", given="\n".join(LINES) + "\n").stdout.splitlines()
    assert texts == [f"{line}\t{text}" for line, text in zip(printed, LINES, strict=True)]
    alone = [run.predict([line])[0] for line in LINES]
    for one, other in zip(expected, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert called(run, given="").stdout == ""


def test_json_is_one_object(run: foretell.Trained, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("\n".join(LINES) + "\n")
    found = json.loads(called(run, str(tmp_path / "new.txt"), "--json").stdout)
    assert found["task"] == "classification" and len(found["predictions"]) == len(LINES)
    assert list(found["predictions"][0]["probabilities"]) == ["BAD", "GOOD", "ODD"]
    assert [one["text"] for one in found["predictions"]] == LINES
    assert found["predictions"][1] == {"text": "", "label": None, "probabilities": None}
    assert sum(found["predictions"][2]["probabilities"].values()) == pytest.approx(1)


def test_files_as_those_that_were_learnt(tmp_path: Path) -> None:
    model, data = trained("answering", "bert", tmp_path)
    file = data["corpus"]["train"]
    printed = called(model, file, "--form", "data").stdout.splitlines()
    questions = json.loads(Path(file).read_text())["data"][0]["paragraphs"]
    assert len(printed) == len(questions)
    right = 0
    for line, asked in zip(printed, questions, strict=True):
        text, start, end, _ = line.split("\t")
        assert asked["context"][int(start) : int(end)] == text
        right += text == asked["qas"][0]["answers"][0]["text"]
    assert right > 0.9 * len(questions)


@pytest.mark.parametrize(
    ("given", "arguments", "why"),
    [
        ("a\tb\tc\n", [], "stdin:1: 3 texts, where one or two are read"),
        ("", ["--form", "data"], "--form data reads files"),
        ("", ["nowhere.txt"], "nowhere.txt: no such file"),
        ("a\n", ["--words", "whitespace"], "splits no words; leave out --words"),
    ],
)
def test_wrong_input_is_refused(run: foretell.Trained, given: str, arguments: list[str], why: str) -> None:
    done = called(run, *arguments, given=given)
    assert done.exit_code == 1 and why in str(done.exception)


def test_refusals_name_file_and_line(run: foretell.Trained, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("the cat good\n")
    bad.write_text("the cat good\na\tb\tc\n")
    done = called(run, str(good), str(bad))
    assert f"{bad}:2: 3 texts" in str(done.exception)


def test_line_ends_of_windows_are_no_part_of_a_text(run: foretell.Trained) -> None:
    assert called(run, given="the cat good\r\n").stdout == called(run, given="the cat good\n").stdout


def test_a_language_model_has_no_predictions(corpus: dict[str, str], tmp_path: Path) -> None:
    from builders import tables

    model = foretell.train(tables(corpus, limit="2steps"), tmp_path / "run", quiet=True)
    done = called(model, given="the cat\n")
    assert 'objective.kind = "causal" is not a task' in str(done.exception)


def test_labels_with_commas_and_quotes_come_back_one_a_line(tmp_path: Path) -> None:
    data = write_labelled("classification", tmp_path)
    file = Path(data["corpus"]["train"])
    file.write_text(file.read_text().replace("GOOD", 'good, "so"').replace("BAD", "b|a;d"))
    model = foretell.train(task_tables("classification", "recurrent", data), tmp_path / "run", quiet=True)
    printed = called(model, given="\n".join(LINES) + "\n").stdout.splitlines()
    assert [printed[i].split("\t")[0] for i in (0, 2, 3)] == ['good, "so"', "b|a;d", "ODD"]


def test_labels_that_would_break_a_line_are_refused_where_they_come_from(run: foretell.Trained, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "x\\ny"}\n{"text": "b", "label": "z"}\n')
    tables = task_tables("classification", "recurrent", {"corpus": str(tmp_path / "a.jsonl"), "reader": "table"})
    with pytest.raises(ConfigError, match=r"a.jsonl:1: 'label' holds '\\n', which no label may"):
        foretell.train(tables, tmp_path / "run", quiet=True)
    file = run.run.labels_file
    before = file.read_text()
    try:
        file.write_text('{"labels": ["a\\tb", "c", "d"]}')
        with pytest.raises(ConfigError, match=r"labels.json.*"):
            foretell.load(run.run.path)
    finally:
        file.write_text(before)


def test_a_table_is_read_as_in_training(tmp_path: Path) -> None:
    """Its header is no text, nor are the lines of a quoted field; a table with other columns is refused."""
    rows = "".join(
        f'{n},"the cat {n}\nsat {word}",{label}\n' for n in range(20) for word, label in (("good", "A"), ("bad", "B"))
    )
    (tmp_path / "own.csv").write_text("id,review,stars\n" + rows)
    reader = {"kind": "table", "texts": ["review"], "label": "stars"}
    model = foretell.train(
        task_tables("classification", "recurrent", {"corpus": str(tmp_path / "own.csv"), "reader": reader}),
        tmp_path / "run",
        quiet=True,
    )
    (tmp_path / "new.csv").write_text('review\n"the cat\nsat good"\nbad\n')
    done = called(model, str(tmp_path / "new.csv"), "--with-text")
    assert [line.split("\t")[-1] for line in done.stdout.splitlines()] == ["the cat sat good", "bad"]
    assert called(model, str(tmp_path / "new.csv"), "--form", "data", "--with-text").stdout == done.stdout
    assert len(called(model, str(tmp_path / "new.csv"), "--form", "lines").stdout.splitlines()) == 4
    (tmp_path / "other.csv").write_text("text\nbad\n")
    refused = called(model, str(tmp_path / "other.csv"))
    assert "other.csv: is a table, but not like" in str(refused.exception) and "--form lines" in str(refused.exception)
