"""Labelled sets known by name: their sizes, as published or counted by other means, and what is in them."""

import json
import os
from pathlib import Path

import pytest

from foretell.data.labelled.datasets import SETS
from foretell.data.labelled.examples import Choice, Labelled, Tagged
from foretell.data.labelled.opening import open_examples
from foretell.data.labelled.tags import spans_of
from foretell.data.opening import open_corpus
from foretell.errors import ConfigError

needs_data = pytest.mark.skipif(not os.environ.get("FORETELL_DATA"), reason="needs FORETELL_DATA")
SIZES = {  # train, valid, test; of those that are divided only the sum is known
    "sst2": (6920, 872, 1821),
    "sst5": (8544, 1101, 2210),
    "mr": (10662,),
    "trec": (5452, 500),
    "trec-fine": (5452, 500),
    "cola": (8551, 1043),
    "rte": (2490, 277),
    "mrpc": (3576, 500, 1725),
    "stsb": (5749, 1500, 1379),
    "boolq": (3270,),
    "qnli": (5732,),
    "storycloze": (1871, 1871),
    "wnut17": (3394, 1009, 1287),
    "xquad": (1190,),
    "imdb": (25000, 25000),
    "snli": (9842, 9824),
    "mnli": (19647,),
    "conll2003": (14041, 3250, 3453),
    "ncbi-disease": (5432, 923, 940),
    "squadshifts": (17741,),
}
QUICK = ("rte", "mrpc", "storycloze", "boolq", "xquad", "wnut17")


def sizes(name: str) -> tuple[int, ...]:
    found = {}
    for split in ("train", "valid", "test"):
        try:
            found[split] = len(open_examples(name, split))
        except ConfigError as problem:
            assert "has no 'test' split" in str(problem)
    if "valid" not in SETS[name].files:  # it is held out of the other
        found["train"] += found.pop("valid")
    if "test" not in SETS[name].files and "test" in found:
        found["train"] += found.pop("test")
    return tuple(found.values())


def test_every_set_has_its_size_here() -> None:
    assert set(SIZES) == set(SETS)


@needs_data
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SIZES]
)
def test_sizes(name: str) -> None:
    assert sizes(name) == SIZES[name]


@needs_data
def test_what_is_in_them() -> None:
    stsb = open_examples("stsb", "valid")
    assert stsb[0] == Labelled(("A man with a hard hat is dancing.", "A man wearing a hard hat is dancing."), 5.0)
    trec = {example.label for example in open_examples("trec", "test") if isinstance(example, Labelled)}
    assert trec == {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"}
    story = open_examples("storycloze", "test")[0]
    assert isinstance(story, Choice) and story.label == 1 and story.context.endswith("broke a friend's toe.")
    boolq = [e for split in ("train", "valid", "test") for e in open_examples("boolq", split)]
    texts = [example.texts[0] for example in boolq if isinstance(example, Labelled)]
    assert any(text.startswith('Toys "R" Us -- Toys') for text in texts)  # quoted, though tabs part its columns
    assert not any(text.startswith('"') and text.endswith('"') for text in texts)


@needs_data
def test_entities_are_as_many_as_published() -> None:
    found = open_examples("conll2003", "valid")
    assert sum(len(spans_of(e.tags or ())) for e in found if isinstance(e, Tagged)) == 5942


def test_a_set_that_is_not_there_says_which_files_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_DATA", raising=False)
    with pytest.raises(
        ConfigError, match=r"set FORETELL_DATA to a folder and put train.tsv, dev.tsv into \$FORETELL_DATA/rte"
    ):
        open_examples("rte", "train")
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match=f"put train.tsv, dev.tsv into {tmp_path}/rte"):
        open_corpus("rte")


def test_a_set_is_a_corpus_of_its_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    (tmp_path / "imdb").mkdir()
    for split, size in (("train", 20), ("test", 3)):
        rows = "".join(f"{number % 2}\t5\t{split} {number}\n" for number in range(size))
        (tmp_path / "imdb" / f"{split}.tsv").write_text(f"label\trating\ttext\n{rows}")
    (tmp_path / "imdb" / "unsup.txt").write_text("more\nand more\n")
    corpus = open_corpus("imdb")
    assert corpus.splits == ("train", "valid", "test")
    documents = {split: [piece.text for piece in corpus.pieces(split)] for split in corpus.splits}
    assert [len(documents[split]) for split in corpus.splits] == [18 + 2, 2, 3]
    assert documents["train"][-2:] == ["more", "and more"]
    assert corpus.fingerprint("train") != corpus.fingerprint("test")


def test_a_passage_is_a_document_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    (tmp_path / "xquad_en").mkdir()
    paragraphs = [
        {
            "context": f"passage {number}",
            "qas": [
                {"id": f"{number} {other}", "question": "?", "answers": [{"text": "p", "answer_start": 0}]}
                for other in range(2)
            ],
        }
        for number in range(10)
    ]
    (tmp_path / "xquad_en" / "xquad.en.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    corpus = open_corpus("xquad")
    assert [len(list(corpus.pieces(split))) for split in corpus.splits] == [8, 1, 1]
