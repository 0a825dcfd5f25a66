"""Labelled data with known faults, and data without any."""

import json
from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled
from typer.testing import CliRunner

from foretell.cli import app
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.tools.look.doctor import examine
from foretell.tools.look.doctor_labelled import examine_task, reader_for, wrongly_decoded


def write(folder: Path) -> Path:
    """A table with every kind of fault."""
    good = [(f"a fine film number {i}", "gut") for i in range(30)] + [
        (f"a bad film number {i}", "schlecht") for i in range(15)
    ]
    faults = [("twice the same", "gut")] * 2 + [
        ("both at once", "gut"),
        ("both at  once", "schlecht"),
        ("schÃ¶n \x07", "gut"),
    ]
    valid = [
        ("a fine film number 3", "gut"),
        ("a bad one", "schlecht"),
        (f"{'long ' * 140}", "gut"),
        ("so so", "mittel"),
    ]
    for name, rows in (("train", good + faults), ("valid", valid)):
        (folder / f"{name}.csv").write_text("Text,Urteil\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return folder


def test_faults_are_found(tmp_path: Path) -> None:
    found = examine(str(write(tmp_path)))
    assert found["labels"] == {
        "gut": {"train": 34, "valid": 2}, "schlecht": {"train": 16, "valid": 1}, "mittel": {"train": 0, "valid": 1},
    }  # fmt: skip
    assert found["splits"]["train"]["repeated"]["examples"] == pytest.approx(2 / 50)
    assert found["splits"]["valid"]["also_in_train"]["examples"] == 0.25
    assert found["splits"]["valid"]["too_long"] == {"over_128_words": 0.25}
    (places,) = found["contradictions"]
    assert places.count("train.csv") == 2
    assert found["odd_characters"] == {"U+0007": 1, "Ã¶": 1}
    assert found["baseline"] == {"measured_on": "valid", "most_frequent": 0.5, "bag_of_words": 0.75}
    warnings = [f"{one['about']} {one['text']}" for one in found["findings"] if one["level"] != "ok"]
    assert [line.split()[0] for line in warnings] == ["labels", "contradictions", "characters", "valid", "valid"]
    assert "not in train: mittel" in warnings[0]


def test_data_without_faults_have_no_warnings_but_for_their_size(tmp_path: Path) -> None:
    rows = [f"text {word} {i}\t{word}" for i in range(40) for word in ("left", "right")]
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    found = examine(str(tmp_path / "a.tsv"))
    assert [one["text"] for one in found["findings"] if one["level"] != "ok"] == []
    assert found["baseline"]["bag_of_words"] == 1
    assert set(found["splits"]) == {"train", "valid", "test"}


@pytest.mark.parametrize("task", ["classification", "several", "similarity", "choice", "tagging", "answering"])
def test_lengths_are_those_of_the_recipe(task: str, tmp_path: Path) -> None:
    tables = task_tables(task, "bert", write_labelled(task, tmp_path))
    tables["data"]["batches"] |= {"length": 12}
    found = examine_task(load_recipe(tables))
    unit = "over_128_words" if task in ("tagging", "answering") else "cut_at_12_tokens"
    assert list(found["splits"]["train"]["too_long"]) == [unit]
    assert bool(found["labels"]) == (task in ("classification", "several", "tagging"))
    assert bool(found["baseline"]) == (task == "classification")


def test_on_the_command_line(tmp_path: Path) -> None:
    path = str(write(tmp_path))
    shown = CliRunner().invoke(app, ["doctor", path])
    assert shown.exit_code == 0 and "not in train: mittel" in shown.stdout
    record: dict[str, Any] = json.loads(CliRunner().invoke(app, ["doctor", path, "--json"]).stdout)
    assert record["what"] == "labelled data"


def test_rows_of_text_are_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n' * 20)
    assert examine(str(tmp_path / "a.jsonl"))["what"] == "corpus"


def test_text_in_the_wrong_encoding() -> None:
    for text in ("é", "ü ö", "don\u2019t", "“so”"):
        wrong = text.encode().decode("cp1252", errors="replace")
        assert wrongly_decoded(wrong) or "\ufffd" in wrong
    for text in ("Äh, süß!", "ÖÄÜ", "тест", "日本語", "naïve café", "À É", "«Ça»"):
        assert wrongly_decoded(text) == []


@pytest.mark.parametrize(
    ("name", "row", "task"),
    [
        ("a.csv", "text,label\na film,{0}", "classification"),
        ("a.csv", "sentence1,sentence2,score\na film,the film,{1}", "similarity"),
        ("a.conll", "word B-PER\n", "tagging"),
        ("a.json", '{{"data": []}}', "answering"),
        ("a.jsonl", '{{"text": "a film number {1}"}}', None),
        ("a.txt", "a film", None),
    ],
)
def test_the_task_follows_from_the_file(tmp_path: Path, name: str, row: str, task: str | None) -> None:
    head, _, rest = row.partition("\n")
    rows = [rest.format("good" if n % 2 else "bad", n / 7) for n in range(50)] if rest.strip() else []
    (tmp_path / name).write_text("\n".join([head.format("", 0) if not rest.strip() else head, *rows, ""]))
    found = reader_for(str(tmp_path / name))
    assert (found and found.task) == task


def test_a_score_of_one_text_is_asked_about(tmp_path: Path) -> None:
    rows = "".join(f"a film number {n} of many,{n / 7}\n" for n in range(50))
    (tmp_path / "a.csv").write_text("review,stars\n" + rows)
    with pytest.raises(ConfigError, match=r"too many values to be a label.*train similar"):
        reader_for(str(tmp_path / "a.csv"))
