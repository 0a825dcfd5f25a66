"""Rows of tables in every format: tab-separated, comma-separated, JSON lines."""

import json
from pathlib import Path

import pytest

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.readers.tables import TableConfig
from foretell.errors import ConfigError


def read(folder: Path, text: str, name: str = "a.csv", **settings: object) -> list[str]:
    """What is read of a file, bad rows by line and reason."""
    path = folder / name
    path.write_bytes(text.encode())
    rows = TableConfig(**settings).read(path)
    return [f"{row.where}: {row.reason}" if isinstance(row, BadRow) else row.texts[0] for row in rows]


def test_tabs_are_not_quoted_unless_told(tmp_path: Path) -> None:
    text = 'label\ttext\nx\t"one" and "two\ny\t"all"\n'
    assert read(tmp_path, text, "a.tsv") == ['"one" and "two', '"all"']
    assert read(tmp_path, 'label\ttext\nx\t"a ""b"""\n', "a.tsv", quoted=True) == ['a "b"']


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a"', "not valid JSON"),
        ('["a"]', "not a JSON object"),
        ('{"label": "x"}', "has no 'text'"),
        ('{"text": "a"}', "has no 'label'"),
        ('{"text": 3, "label": "x"}', "'text' is 3, not a text"),
        ('{"text": "", "label": "x"}', "'text' is empty"),
        ('{"text": "a", "label": null}', "'label' is null, not a label"),
        ('{"text": "a", "label": ""}', "'label' is empty"),
    ],
)
def test_json_lines_that_are_no_examples(tmp_path: Path, line: str, reason: str) -> None:
    good = json.dumps({"text": "good", "label": 1})
    first, second = read(tmp_path, f"{line}\n\n{good}\n", "a.jsonl")
    assert first.startswith(f"{tmp_path}/a.jsonl:1: {reason}")
    assert second == "good"


def test_a_file_without_a_format_is_asked_for_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'set data.reader.format to "tsv", "csv", "jsonl" or "parquet"'):
        read(tmp_path, "a;b\n", "a.txt")
    assert read(tmp_path, "label;text\nx;one\n", "a.txt", format="csv", delimiter=";") == ["one"]
    with pytest.raises(ValueError, match="one character"):
        TableConfig(delimiter=";;")


def test_other_delimiters_and_quotes_without_a_header(tmp_path: Path) -> None:
    text = "Sport;'Wien; \"gut\" und ''besser'''\nWeb;'kurz\nund lang'\n"
    settings = {"delimiter": ";", "quote": "'", "columns": ("label", "text")}
    assert read(tmp_path, text, **settings) == ["Wien; \"gut\" und 'besser'", "kurz\nund lang"]
    assert read(tmp_path, text, "a.tsv", **settings) == read(tmp_path, text, **settings)  # a quote says that there are
    with pytest.raises(ConfigError) as problem:
        read(tmp_path, text)
    assert 'set data.reader.delimiter = ";" and data.reader.quote = "\'"' in str(problem.value)
    assert "all of them in data.reader.columns where the first line is a row" in str(problem.value)
    with pytest.raises(ConfigError, match=r'Set data.reader.delimiter = "\\t", or name those'):
        read(tmp_path, "label\ttext\nx\tone\n")
    for wrong in ({"quote": ""}, {"delimiter": '"'}, {"delimiter": "'", "quote": "'"}, {"quote": "'", "quoted": False}):
        with pytest.raises(ValueError, match=r"one character|must differ|needs quoted = true"):
            TableConfig(**wrong)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 50_000, "nested more than 100 levels deep"),
        ('{"text": "a", "label": ' + "1" * 5000 + "}", "an integer has thousands of digits"),
        ('{"text": "a", "label": NaN}', "'label' is NaN, not a label"),
        ('{"text": "a", "label": -Infinity}', "'label' is -Infinity, not a label"),
        ('{"text": NaN, "label": 1}', "'text' is NaN, not a text"),
        ('{"text": "a\\ud83d", "label": 1}', r"'text' holds '\ud83d', half of a character (a lone surrogate)"),
        ('{"text": "a", "label": "\\udc00"}', r"'label' holds '\udc00', which no label may"),
        ('{"text": "a", "label": "x\\ny"}', r"'label' holds '\n', which no label may"),
        ('{"text": "a", "label": "x\\ty"}', r"'label' holds '\t', which no label may"),
        ('{"text": "a", "label": "\\u001b[2J"}', r"'label' holds '\x1b', which no label may"),
        ('{"text": "a", "label": "\\u202ex"}', r"'label' holds '\u202e', which no label may"),
        ('{"text": "a", "label": {}}', "'label' is {}, not a label"),
        ('{"text": "a", "label": []}', "'label' is [], not a label"),
    ],
)
def test_values_of_json_that_are_no_text_and_no_label(tmp_path: Path, line: str, reason: str) -> None:
    good = json.dumps({"text": "good", "label": 1, "more": "\ud83d"})
    assert read(tmp_path, f"{line}\n{good}\n", "a.jsonl") == [f"{tmp_path}/a.jsonl:1: {reason}", "good"]
