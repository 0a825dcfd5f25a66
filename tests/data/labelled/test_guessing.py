"""What is guessed of labelled files, and what is asked."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.guessing import guess_reader
from foretell.data.labelled.opening import open_examples
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
    assert guess_reader("classification", str(path), {"texts": ("other",), "label": "x"}) is None
    assert guess_reader("classification", str(path), {"kind": "options"}) is None


UNCLEAR = {
    "two labels": (["text", "mood", "genre"], lambda n: [sentence(n), mood(n), n % 3], r"'mood' \(2 values\), 'genre'"),
    "two texts": (
        ["a", "b", "label"],
        lambda n: [sentence(n), sentence(n + 1), mood(n)],
        r"text: 'a' .* values\), 'b'",
    ),
    "no label": (["text", "number"], lambda n: [sentence(n), n], r"label: 'number' \(60 values\)\?"),
    "no text": (["a", "label"], lambda n: [n, mood(n)], r"text: 'a' \(60 values\), 'label'"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_unclear_is_asked(name: str, tmp_path: Path) -> None:
    header, row, said = UNCLEAR[name]
    path = table(tmp_path, "own.csv", header, row)
    with pytest.raises(ConfigError, match=rf"own\.csv: which column is the .*{said}.*; write data\.reader\."):
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
