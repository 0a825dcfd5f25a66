"""Which columns of a file are words and tags, in the formats in circulation."""

from pathlib import Path
from typing import Any

import pytest

from foretell.data.labelled.guessing import guess_reader
from foretell.data.labelled.opening import open_all
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.tools.look.labelled import labelled_data

WORDS = ("Anna", "sah", "Bonn", ".")
TAGS = ("B-PER", "O", "B-LOC", "O")
UPOS = ("PROPN", "VERB", "PROPN", "PUNCT")
UNIVERSAL = [
    f"{n}\t{word}\t{word.lower()}\t{pos}\t_\t_\t0\troot\t_\t_"
    for n, (word, pos) in enumerate(zip(WORDS, UPOS, strict=False), 1)
]
GERMEVAL = [
    f"{n}\t{word}\t{tag}\t{nested}"
    for n, (word, tag, nested) in enumerate(zip(WORDS, TAGS, ("B-LOC", "O", "O", "O"), strict=False), 1)
]
SCORED = [f"{word} {pos} {tag} 0.{n}31" for n, (word, pos, tag) in enumerate(zip(WORDS, UPOS, TAGS, strict=False))]

FILES: dict[str, tuple[str, list[str], dict[str, Any], tuple[str, ...]]] = {
    "CoNLL-U": (
        "a.conllu",
        ["# sent_id = 1", "# text = Anna sah Bonn.", "1-2\tAnna sah\t_\t_\t_\t_\t_\t_\t_\t_", *UNIVERSAL],
        {"scheme": "none", "word": 1, "tag": 3, "index": 0, "comment": "# ", "delimiter": "\t"},
        UPOS,
    ),
    "GermEval": (
        "a.tsv",
        ["#\thttp://de.example/1 [2009-10-17]", *GERMEVAL],
        {"scheme": "iob2", "word": 1, "tag": 2, "index": 0, "comment": "#"},
        TAGS,
    ),
    "a score after the tag": ("a.conll", SCORED, {"scheme": "iob2", "tag": 2}, TAGS),
    "the tag first": (
        "a.conll",
        [f"{t}\t{w}" for w, t in zip(WORDS, TAGS, strict=False)],
        {"scheme": "iob2", "word": 1, "tag": 0},
        TAGS,
    ),
    "chunks and names": (
        "eng.train",
        [f"{w} {p} B-NP {t}" for w, p, t in zip(WORDS, UPOS, TAGS, strict=False)],
        {"scheme": "iob2"},
        TAGS,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_columns_are_found(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, lines, settings, tags = FILES[name]
    sentences = ["\n".join(lines).replace("Anna", other) for other in ("Anna", *map("Name{}".format, range(30)))]
    (tmp_path / file).write_text("\n\n".join(sentences) + "\n")
    found = guess_reader("tagging", str(tmp_path / file), None)
    assert found == {"kind": "columns", **settings}
    assert f"the word 'Anna' (column {settings.get('word', 0)}), the tag '{tags[0]}'" in caplog.text
    examples, bad = open_all(str(tmp_path / file), ColumnsConfig.model_validate(found))
    assert not bad and {example.tags for split in examples.values() for example in split} == {tags}  # type: ignore[union-attr]
    assert all(example.words[1:] == WORDS[1:] for split in examples.values() for example in split)  # type: ignore[union-attr]
    recipe = {"objective": "tagging", "data": {"corpus": str(tmp_path / file), "batches": "examples"}}
    assert load_recipe(recipe).objective.scheme == ("none" if tags == UPOS else "iob2")  # type: ignore[attr-defined]
    data = labelled_data(str(tmp_path / file))
    assert data is not None and data.task.kind_name() == "tagging"


def written(folder: Path, lines: list[str]) -> str:
    (folder / "a.conll").write_text("\n".join(lines) + "\n")
    return str(folder / "a.conll")


PAIRS = [f"{word}\t{tag}" for word, tag in zip(WORDS, TAGS, strict=False)]


def test_a_header_is_none_of_the_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, ["Wort\tEtikett", *[*PAIRS, ""] * 20])
    found = guess_reader("tagging", path, None)
    assert found == {"kind": "columns", "scheme": "iob2", "skipped": ("-DOCSTART-", "Wort")}
    assert "the line of 'Wort' is a header" in caplog.text
    examples = list(ColumnsConfig.model_validate(found).read(Path(path)))
    assert len(examples) == 20 and {example.words for example in examples} == {WORDS}  # type: ignore[union-attr]


def test_one_odd_tag_does_not_turn_entities_into_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = guess_reader("tagging", written(tmp_path, [*PAIRS, "in\tLOC", "", *[*PAIRS, ""] * 20]), None)
    assert found == {"kind": "columns", "scheme": "iob2"}
    assert "1 word with another kind of tag, such as 'LOC'" in caplog.text


@pytest.mark.parametrize("spelling", ["{1}-{0}", "{0}_{1}"])
def test_other_spellings_of_entities_are_named(spelling: str, tmp_path: Path) -> None:
    tags = [tag if tag == "O" else spelling.format(*tag.split("-")) for tag in TAGS]
    path = written(tmp_path, [f"{word} {tag}" for word, tag in zip(WORDS, tags, strict=False)] * 10)
    with pytest.raises(ConfigError, match=rf"spelled like '{tags[0]}', not like B-PER; write them as B-PER, or set"):
        guess_reader("tagging", path, None)
    named = guess_reader("tagging", path, {"scheme": "none"})
    assert named == {"kind": "columns", "scheme": "none"}


def test_settings_are_kept_and_the_rest_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, [f"{w} {p} {t}" for w, p, t in zip(WORDS, UPOS, TAGS, strict=False)] * 10)
    assert guess_reader("tagging", path, {"tag": 1}) == {"kind": "columns", "scheme": "none", "tag": 1}


def test_a_file_without_a_column_of_tags_is_asked_about(tmp_path: Path) -> None:
    path = written(tmp_path, [f"word{n} 0.{n}" for n in range(100)])
    with pytest.raises(ConfigError, match=r"which column is the tag: 0 \('word0', …\), 1 \('0\.0', …\)\? Write data"):
        guess_reader("tagging", path, None)
