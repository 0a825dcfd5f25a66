"""Labelled data with known faults, and data without any."""

import json
from pathlib import Path
from typing import Any

import pytest
from labelled import task_tables, write_labelled
from typer.testing import CliRunner

from foretell.cli import app
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule
from foretell.recipe.loading import load_recipe
from foretell.tools.look.doctor import examine
from foretell.tools.look.doctor_labelled import examine_task, wrongly_decoded


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
    simple = {"measured_on": "valid", "most_frequent_label": 0.5, "bag_of_words": 0.75}
    assert found["baseline"] == simple
    warnings = [f"{one['about']} {one['text']}" for one in found["findings"] if one["level"] != "ok"]
    assert [line.split()[0] for line in warnings] == [
        *("rows", "labels", "contradictions", "characters", "valid", "valid", "valid")
    ]
    assert "1 of 4 cannot be used" in warnings[0] and "not in train: mittel" in warnings[1]


def test_data_without_faults_have_no_warnings_but_for_their_size(tmp_path: Path) -> None:
    rows = [f"text {word} {i}\t{word}" for i in range(500) for word in ("left", "right")]
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
    assert shown.exit_code == 1 and "not in train: mittel" in shown.stdout
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


def table(folder: Path, rows: list[tuple[str, str]]) -> str:
    """A table of texts and labels."""
    (folder / "a.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return str(folder / "a.csv")


def wrong(found: dict[str, Any], level: str) -> list[str]:
    return [one["text"] for one in found["findings"] if one["level"] == level]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(f"a film number {n}", "x") for n in range(50)], "nothing to distinguish"),
        (
            [("" if n % 10 == 0 else f"a film number {n}", "xy"[n % 2]) for n in range(50)],
            "5 of 50 rows cannot be used",
        ),
    ],
)
def test_what_training_refuses_is_an_error(tmp_path: Path, rows: list[tuple[str, str]], said: str) -> None:
    corpus = table(tmp_path, rows)
    (text,) = wrong(examine(corpus), "error")
    assert said in text
    data = {"corpus": corpus, "reader": {"kind": "table", "texts": ["text"], "label": "label"}}
    tables = task_tables("classification", "bert", data)
    with pytest.raises(ConfigError, match=said):
        _ = TaskModule(load_recipe(tables)).learned


def test_bad_rows_that_are_to_be_skipped_are_a_warning(tmp_path: Path) -> None:
    corpus = table(tmp_path, [("" if n % 10 == 0 else f"a film number {n}", "xy"[n % 2]) for n in range(50)])
    found = examine(corpus, ["data.skip_bad=true"])
    assert not wrong(found, "error") and "5 of 50 rows cannot be used" in wrong(found, "warning")[0]


def test_labels_that_differ_in_case_are_named(tmp_path: Path) -> None:
    corpus = table(tmp_path, [(f"a film number {n}", ("pos", "neg", "POS")[n % 3]) for n in range(90)])
    assert "differ little: 'pos', 'POS'" in [
        text.replace("'POS', 'pos'", "'pos', 'POS'") for text in wrong(examine(corpus), "warning")
    ]


def test_few_examples_are_said_to_be_few(tmp_path: Path) -> None:
    """1.96 sqrt(0.25 / 5): 44 points."""
    corpus = table(tmp_path, [(f"a film number {n}", "xy"[n % 2]) for n in range(50)])
    assert "5 examples, so that accuracy is uncertain by 44 points" in wrong(examine(corpus), "warning")


def test_settings_answer_which_column(tmp_path: Path) -> None:
    rows = "".join(f"a fine film number {n},{n % 2},{n % 3}\n" for n in range(60))
    (tmp_path / "a.csv").write_text("review,year,stars\n" + rows)
    path = str(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="which column is the label"):
        examine(path)
    shown = CliRunner().invoke(app, ["doctor", path, "data.reader.label=stars", "--json"])
    assert json.loads(shown.stdout)["label_count"] == 3


def test_texts_without_blanks_between_words_are_measured_in_characters(tmp_path: Path) -> None:
    words = {"good": "好吃", "bad": "难吃"}
    rows = [f"第{i}天我们去了那家店。菜很{words[label]}。,{label}" for i in range(60) for label in words]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    found = examine(str(tmp_path / "a.csv"))
    assert found["baseline"]["bag_of_characters"] == 1
    facts = found["splits"]["train"]
    assert facts["characters"]["largest"] == len("第00天我们去了那家店。菜很好吃。")
    assert facts["too_long"] == {"over_128_characters": 0.0}


def test_bad_rows_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"{'' if i % 10 == 0 else f'text {i}'},{'ab'[i % 2]}" for i in range(200)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    found = examine(str(tmp_path / "a.csv"))
    told = [one["text"] for one in found["findings"] if one["about"] == "rows"]
    assert len(told) == 1 and told[0].startswith("20 of 200 rows cannot be used")
    assert sum(split["examples"] for split in found["splits"].values()) == 180
    assert not [record for record in caplog.messages if "left out" in record]
