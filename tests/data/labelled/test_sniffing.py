"""Words with tags in columns are recognised by their lines, and prose is not."""

from pathlib import Path

import pytest

from foretell.data.labelled.guessing import guess_reader
from foretell.data.labelled.sniffing import comment_in, has_columns, has_tags

SENTENCE = ["EU NNP I-ORG", "rejects VBZ O", "German JJ I-MISC", "call NN O", ". . O", ""]


@pytest.mark.parametrize(
    ("lines", "columns", "tags"),
    [
        (["-DOCSTART- -X- O", "", *SENTENCE], True, True),
        ([line.replace(" ", "\t") for line in SENTENCE], True, True),
        ([line.rpartition(" ")[0] for line in SENTENCE], True, False),  # parts of speech
        ([line.partition(" ")[0] for line in SENTENCE], False, False),
        (
            ["The day was long.", "So was the night, and it rained.", "No one came.", "I slept.", "O well."],
            False,
            False,
        ),
        (SENTENCE[:3], False, False),
        ([], False, False),
    ],
)
def test_recognised(tmp_path: Path, lines: list[str], columns: bool, tags: bool) -> None:
    path = tmp_path / "eng.train"
    path.write_text("\n".join([*lines, ""]))
    assert (has_columns(path), has_tags(path)) == (columns, tags)
    found = guess_reader("tagging", str(path), None)
    assert found == ({"kind": "columns", "scheme": "io" if tags else "none"} if columns else None)


def test_a_table_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "a fine film,good\nbad,bad\n" * 20)
    assert not has_tags(tmp_path / "a.csv") and not has_tags(tmp_path) and not has_tags(tmp_path / "none")


@pytest.mark.parametrize(
    ("more", "comment", "tags"),
    [
        (["# id = 1", "# text = EU rejects German call ."], "# ", True),
        (["# id 1"], "# ", True),  # with as many columns as words
        (["#id 7"], "#", True),
        (["# NN O"], "", True),  # a word
        (["# NN O", "# id 7 of 9"], "", False),  # words and comments begin alike: reading names the line
        ([], "", True),
    ],
)
def test_comments(tmp_path: Path, more: list[str], comment: str, tags: bool) -> None:
    lines = [*more, *SENTENCE]
    assert comment_in(filter(None, lines)) == comment
    path = tmp_path / "own.conll"
    path.write_text("\n".join([*lines, ""]))
    settings = {"kind": "columns", "scheme": "io"} | ({"comment": comment} if comment else {})
    assert guess_reader("tagging", str(path), None) == settings
    assert has_tags(path) == tags
