"""What is guessed of labelled files, and what is asked."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.guessing import guess_reader
from foretell.data.labelled.opening import check_reader, open_examples
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.readers.tables import TableConfig
from foretell.errors import ConfigError

SENTENCES = ["the film was a joy to watch", "nobody should have to see this", "a slow start and a fine end"]


def table(folder: Path, name: str, header: list[str], row: Any, delimiter: str = ",", rows: int = 60) -> Path:
    """A table whose rows a function of their number makes."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([header, *(row(number) for number in range(rows))])
    (folder / name).write_text(text.getvalue())
    return folder / name


def sentence(number: int) -> str:
    return f"{SENTENCES[number % 3]}, take {number}"


def mood(number: int) -> str:
    return ("gut", "schlecht")[number % 2]


KNOWN = {
    "usual names": (["text", "label"], lambda n: [sentence(n), mood(n)], ",", ("text",), "label"),
    "usual names among others": (
        ["id", "date", "text", "stars", "label"],
        lambda n: [n, f"2020-01-{n % 28}", sentence(n), n % 5, mood(n)],
        ",",
        ("text",),
        "label",
    ),
    "other language, semicolons": (
        ["Nr", "Rezension", "Urteil"],
        lambda n: [n, sentence(n), mood(n)],
        ";",
        ("Rezension",),
        "Urteil",
    ),
    "a short title beside a text": (
        ["title", "body text", "topic"],
        lambda n: [f"take {n}", sentence(n) * 4, mood(n)],
        ",",
        ("body text",),
        "topic",
    ),
    "a pair": (
        ["premise", "hypothesis", "verdict"],
        lambda n: [sentence(n), sentence(n + 1), mood(n)],
        "\t",
        ("premise", "hypothesis"),
        "verdict",
    ),
    "labels that are numbers": (["review", "rating"], lambda n: [sentence(n), n % 5], ",", ("review",), "rating"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_columns_are_told_by_name_and_content(name: str, tmp_path: Path) -> None:
    header, row, delimiter, texts, label = KNOWN[name]
    path = table(tmp_path, "own.tsv" if delimiter == "\t" else "own.csv", header, row, delimiter)
    found = guess_reader("classification", str(path), None)
    assert found is not None
    reader = TableConfig.model_validate(dict(found))
    assert (reader.texts, reader.label) == (texts, label)
    examples = open_examples(str(path), "train", reader)
    written = {tuple(str(row(n)[header.index(column)]) for column in (*texts, label)) for n in range(60)}
    assert len(examples) > 40 and {(*example.texts, example.label) for example in examples} <= written  # type: ignore[union-attr]


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    path = table(tmp_path, "own.csv", ["text", "other", "label"], lambda n: [sentence(n), sentence(n + 1), mood(n)])
    found = guess_reader("classification", str(path), {"texts": ("other",)})
    assert found is not None and (found["texts"], found["label"]) == (("other",), "label")
    both = {"texts": ("other",), "label": "x"}
    assert guess_reader("classification", str(path), both) == {"kind": "table", **both}
    assert guess_reader("classification", str(path), {"kind": "options"}) is None


UNCLEAR = {
    "two labels": (["text", "mood", "genre"], lambda n: [sentence(n), mood(n), n % 3], r"'mood' \(2 values\), 'genre'"),
    "two texts": (
        ["a", "b", "label"],
        lambda n: [sentence(n), sentence(n + 1), mood(n)],
        r"text: 'a' .* values\), 'b'",
    ),
    "no label": (["text", "a", "b"], lambda n: [sentence(n), n, -n], r"label: 'a' \(60 values\), 'b'"),
    "no text": (["a", "label"], lambda n: [n, mood(n)], r"text: 'a' \(60 values\), 'label'"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_unclear_is_asked(name: str, tmp_path: Path) -> None:
    header, row, said = UNCLEAR[name]
    path = table(tmp_path, "own.csv", header, row)
    with pytest.raises(ConfigError, match=rf"own\.csv: which column is the .*{said}.*\? Write data\.reader\."):
        guess_reader("classification", str(path), None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no rows"),
        ("text,label\n", "has no rows"),
        ("text\na b c d\n", "has no column that could be the label"),
    ],
)
def test_what_is_missing_is_named(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(content)
    with pytest.raises(ConfigError, match=rf"own\.csv: {said}; "):
        guess_reader("classification", str(tmp_path / "own.csv"), None)


def test_json_lines_and_scores(tmp_path: Path) -> None:
    rows = [{"sentence1": sentence(n), "sentence2": sentence(n + 1), "how close": n / 7} for n in range(40)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = guess_reader("similarity", str(tmp_path / "own.jsonl"), None)
    assert found == {
        "kind": "table",
        "texts": ("sentence1", "sentence2"),
        "label": "how close",
        "labels": "score",
    }


def test_quoted_tab_separated_fields(tmp_path: Path) -> None:
    lines = ['"text"\t"label"', *(f'"{sentence(n)}"\t"{mood(n)}"' for n in range(30))]
    (tmp_path / "own.tsv").write_text("\n".join(lines) + "\n")
    found = guess_reader("classification", str(tmp_path / "own.tsv"), None)
    assert found is not None and found["quoted"] and found["texts"] == ("text",)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O B-a I-a O B-b", "iob2"),
        ("O I-a I-a B-a O", "iob1"),
        ("O I-a I-a O", "io"),
        ("O B-a L-a U-b", "bilou"),
        ("B-a E-a S-b O", "bioes"),
        ("B-a M-a E-a S-b", "bmes"),
        ("NOUN VERB", "none"),
    ],
)
def test_schemes_of_tags(tags: str, scheme: str, tmp_path: Path) -> None:
    (tmp_path / "own.conll").write_text("".join(f"word {tag}\n" for tag in tags.split()) + "\n")
    found = guess_reader("tagging", str(tmp_path / "own.conll"), None)
    assert found == {"kind": "columns", "scheme": scheme}
    ColumnsConfig.model_validate(found)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "classes" / "good").mkdir(parents=True)
    (tmp_path / "own.json").write_text("{}")
    assert guess_reader("classification", str(tmp_path / "classes"), None) == {"kind": "folders"}
    assert guess_reader("answering", str(tmp_path / "own.json"), None) == {"kind": "squad"}
    for task, corpus in (
        ("classification", "trec"),
        ("causal", "x.txt"),
        ("classification", str(tmp_path / "gone.csv")),
    ):
        assert guess_reader(task, corpus, None) is None


def test_nothing_is_opened_for_a_language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretell.data.labelled.guessing.first_file", lambda *_: pytest.fail("it was opened"))
    for task in ("causal", "masked", ""):
        assert guess_reader(task, str(tmp_path), None) is None


def test_settings_of_the_reader_that_are_wrong_are_one_line(tmp_path: Path) -> None:
    file = table(tmp_path, "a.csv", ["text", "label"], lambda n: [sentence(n), mood(n)])
    with pytest.raises(ConfigError, match=r"^data.reader: names: "):
        guess_reader("classification", str(file), {"kind": "table", "names": "text"})


DOUBTFUL = {
    "a column of splits": (
        ["Split", "text", "label"],
        lambda n: [("train", "test", "dev")[n % 3], sentence(n), mood(n)],
        r"column 'Split' names the split of each row \(dev, test, train\)",
    ),
    "no header, a label first": (["gut", "ein Text"], lambda n: [mood(n), sentence(n)], "first line looks like data"),
    "no header, a text first": (
        [f"{SENTENCES[0]} again", "sehr gut"],
        lambda n: [sentence(n), mood(n)],
        "first line looks like data.*the film was",
    ),
    "several labels": (
        ["text", "tags"],
        lambda n: [sentence(n), ("a", "b", "a;b", "b;c")[n % 4]],
        r"cells of 'tags' seem to hold several labels.*separator=';'., or",
    ),
    "folds": (["text", "label", "fold"], lambda n: [sentence(n), mood(n), n % 5], r"column 'fold' names the split"),
    "splits in German": (
        ["text", "Art", "Teil"],
        lambda n: [sentence(n), mood(n), ("Training", "Validierung", "Test")[n % 3]],
        r"'Teil' names the split of each row \(Test, Training, Validierung\)",
    ),
    "a flag for tests": (
        ["text", "Art", "is_test"],
        lambda n: [sentence(n), mood(n), n % 2],
        "'is_test' names the split",
    ),
    "words for splits": (
        ["text", "Art", "b"],
        lambda n: [sentence(n), mood(n), ("train", "eval", "holdout")[n % 3]],
        "'b' names the split",
    ),
    "several labels with blanks": (
        ["text", "tags"],
        lambda n: [sentence(n), ("a", "b", "", "a b", "b a", "c", "c a b")[n % 7]],
        "several labels, such as 'c a b'.*separator=' '",
    ),
    "several labels with a comma and a blank, rarely alike": (
        ["text", "tags"],
        lambda n: [sentence(n), ", ".join(tag for bit, tag in enumerate("abcdef") if n >> bit & 1) or "a"],
        "several labels.*labels=several .data.reader.separator=','",
    ),
    "lists in cells": (
        ["text", "tags"],
        lambda n: [sentence(n), ("['a']", "['a', 'b']")[n % 2]],
        r"seem to hold lists, such as .*\['a', 'b'\]",
    ),
    "a column for each label": (
        ["text", "rude", "loud", "new"],
        lambda n: [sentence(n), n & 1, n >> 1 & 1, n >> 2 & 1],
        "columns 'rude', 'loud', 'new' seem to be labels, each 0 or 1",
    ),
    "one class": (["text", "Art"], lambda n: [sentence(n), "gut"], "every value of column 'Art' is 'gut': nothing to"),
    "numbers": (["text", "price"], lambda n: [sentence(n), n * 3], "has too many values to be a label.*train similar"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_would_be_misread_is_refused(name: str, tmp_path: Path) -> None:
    header, row, said = DOUBTFUL[name]
    path = table(tmp_path, "own.csv", header, row)
    with pytest.raises(ConfigError, match=said):
        guess_reader("classification", str(path), None)


def test_several_labels_are_read_as_the_error_says(tmp_path: Path) -> None:
    path = table(tmp_path, "own.csv", ["text", "tags"], lambda n: [sentence(n), ("a", "", "a;b", "b;c")[n % 4]])
    found = guess_reader("classification", str(path), {"labels": "several", "separator": ";"})
    assert found is not None
    examples = open_examples(str(path), "train", TableConfig.model_validate(dict(found)))
    assert {example.label for example in examples} == {("a",), (), ("a", "b"), ("b", "c")}  # type: ignore[union-attr]


def test_the_delimiter_that_parts_every_line_alike_is_taken(tmp_path: Path) -> None:
    """Commas are only in texts."""
    path = table(tmp_path, "own.csv", ["label", "text, as written"], lambda n: [mood(n), f"{sentence(n)}, so, so"], ";")
    found = guess_reader("classification", str(path), None)
    assert found is not None and (found["delimiter"], found["label"]) == (";", "label")


def test_rows_that_cannot_be_read_are_told_before_columns_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(b"Satz,Klasse\n" + "Das wär schön,gut\n".encode("latin-1") * 50)
    with pytest.raises(ConfigError, match=r'(?s)50 of 50 rows cannot be used; set data\.reader\.encoding = "cp1252"'):
        guess_reader("classification", str(tmp_path / "own.csv"), None)


def test_folders_are_classes_where_there_is_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("gut", "schlecht"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(sentence(1))
    assert guess_reader("classification", str(tmp_path), None) == {"kind": "folders"}
    assert "each folder is a class: 'gut', 'schlecht'" in caplog.text
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"holds folders and files, such as notes\.txt"):
        guess_reader("classification", str(tmp_path), None)


def test_single_quotes_around_texts_are_seen(tmp_path: Path) -> None:
    rows = "".join(f"{mood(n)};'{sentence(n)}; it''s so'\n" for n in range(40))
    (tmp_path / "own.csv").write_text("label;'text'\n" + rows)
    found = guess_reader("classification", str(tmp_path / "own.csv"), None)
    assert found is not None and (found["delimiter"], found["quote"], found["texts"]) == (";", "'", ("text",))
    (tmp_path / "own.csv").write_text(rows)
    with pytest.raises(ConfigError, match="first line looks like data"):
        guess_reader("classification", str(tmp_path / "own.csv"), None)


def test_tables_are_judged_by_all_of_their_rows(tmp_path: Path) -> None:
    """They are often sorted by class or by split."""

    def row(number: int) -> list[Any]:
        return [sentence(number), "gut" if number < 1100 else "schlecht"]

    found = guess_reader("classification", str(table(tmp_path, "a.csv", ["Satz", "Art"], row, rows=2200)), None)
    assert found is not None and found["label"] == "Art"
    trap = table(tmp_path, "b.csv", ["Satz", "Art", "Quelle"], lambda n: [*row(n), ("App", "Web")[n % 2]], rows=2200)
    with pytest.raises(ConfigError, match=r"'Art' \(2 values\), 'Quelle' \(2 values\)"):
        guess_reader("classification", str(trap), None)
    late = [["train"], ["test"]]
    path = table(tmp_path, "c.csv", ["Satz", "Art", "x"], lambda n: [sentence(n), mood(n), *late[n > 1100]], rows=1300)
    with pytest.raises(ConfigError, match="'x' names the split"):
        guess_reader("classification", str(path), None)


def test_a_label_may_be_named_like_a_split(tmp_path: Path) -> None:
    path = table(tmp_path, "own.csv", ["text", "label"], lambda n: [sentence(n), ("dev", "test", "train")[n % 3]])
    found = guess_reader("classification", str(path), None)
    assert found is not None and found["label"] == "label"
    other = table(tmp_path, "b.csv", ["text", "job"], lambda n: [sentence(n), ("dev", "test")[n % 2]])
    named = guess_reader("classification", str(other), {"label": "job"})
    assert named is not None and named["texts"] == ("text",)


def test_a_column_of_splits_is_never_left_out_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path, "own.csv", ["a", "b", "Teil"], lambda n: [sentence(n), mood(n), ("Train", "Test")[n % 2]])
    guess_reader("classification", str(path), {"texts": ("a",), "label": "b"})
    assert "column 'Teil' (2 values) seems to name the split of each row; it is not read" in caplog.text


def test_named_columns_are_found_whatever_the_delimiter(tmp_path: Path) -> None:
    path = table(tmp_path, "own.csv", ["a", "b"], lambda n: [sentence(n), mood(n)], ";")
    found = guess_reader("classification", str(path), {"texts": ("a",), "label": "b"})
    assert found is not None and len(open_examples(str(path), "train", TableConfig.model_validate(dict(found)))) > 40


def test_lists_in_json_are_several_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"text": sentence(n), "labels": [["a"], [], ["a", "b"]][n % 3]} for n in range(60)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = guess_reader("classification", str(tmp_path / "own.jsonl"), None)
    assert found is not None and found["labels"] == "several"
    assert "(2 classes, several for a text: 'a', 'b')" in caplog.text
    examples = open_examples(str(tmp_path / "own.jsonl"), "train", TableConfig.model_validate(dict(found)))
    assert {example.label for example in examples} == {("a",), (), ("a", "b")}  # type: ignore[union-attr]


def test_tags_of_words_in_tables_have_no_reader(tmp_path: Path) -> None:
    words = table(
        tmp_path, "own.csv", ["Sentence", "Word", "Tag"], lambda n: [n, f"w{n}", ("B-PER", "I-PER", "O")[n % 3]]
    )
    lists = [{"tokens": ["Anna", "sah"], "ner_tags": ["B-PER", "O"]}, {"tokens": ["in"], "ner_tags": ["O"]}] * 9
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lists))
    for path in (words, tmp_path / "own.jsonl"):
        with pytest.raises(ConfigError, match=r"tags are not read from tables; write a word, a tab and its tag"):
            guess_reader("classification", str(path), None)
        with pytest.raises(ConfigError, match=r"tags are not read from tables"):
            check_reader(str(path), None, "tagging")
    with pytest.raises(ConfigError, match=r"reader\.kind=questions data\.reader\.question=…"):
        check_reader("own.csv", None, "answering")


def test_scores_of_pairs_with_decimal_commas(tmp_path: Path) -> None:
    """As spreadsheets write them in German, French and Spanish."""
    header, score = ["id", "satz1", "satz2", "note"], {n: f"{n / 8:.3f}".replace(".", ",") for n in range(40)}
    path = table(tmp_path, "own.csv", header, lambda n: [n, sentence(n), sentence(n + 1), score[n]], ";", rows=40)
    found = guess_reader("similarity", str(path), None)
    columns = {"texts": ("satz1", "satz2"), "label": "note"}
    assert found == {"kind": "table", "delimiter": ";", "labels": "score", "decimal": ",", **columns}
    examples = open_examples({"train": str(path), "valid": str(path)}, "train", TableConfig.model_validate(dict(found)))
    assert [example.label for example in examples] == [n / 8 for n in range(40)]  # type: ignore[union-attr]
    assert guess_reader("similarity", str(path), columns) == found


def test_a_name_that_could_be_a_text_is_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guess_reader(
        "classification",
        str(table(tmp_path, "a.csv", ["Ort", "so war der Weg"], lambda n: [mood(n), sentence(n)])),
        None,
    )
    assert """if these are not names, 'data.reader.columns=["column1", "column2"]' gives them""" in caplog.text
    caplog.clear()
    guess_reader(
        "classification", str(table(tmp_path, "b.csv", ["Ort", "ihr Text"], lambda n: [mood(n), sentence(n)])), None
    )
    assert caplog.text and "if these are not names" not in caplog.text
