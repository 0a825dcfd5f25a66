"""Labelled data sets known by name, in `$FORETELL_DATA`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foretell.data.compressed import COMPRESSED_ENDINGS
from foretell.data.files import SPLITS
from foretell.data.labelled.readers import Reader
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.readers.folders import FoldersConfig
from foretell.data.labelled.readers.prefixed import PrefixedConfig
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import OptionsConfig, TableConfig
from foretell.errors import ConfigError, did_you_mean

WHOLE = "whole"
"""in place of a split: files without splits, which are divided here"""


@dataclass(frozen=True)
class ReadySet:
    """A labelled data set: its files and their reader."""

    folder: str
    files: Mapping[str, tuple[str, ...]]
    """by split, or `WHOLE`, without the suffixes of compression"""
    reader: Reader
    unlabelled: tuple[str, ...] = ()
    """more text of this kind, for language models"""

    def paths(self, name: str) -> dict[str, list[Path]]:
        """The files by split. Raises `ConfigError` with the files to provide."""
        root = os.environ.get("FORETELL_DATA")
        wanted = ", ".join(dict.fromkeys(file for files in self.files.values() for file in files))
        place = f"$FORETELL_DATA/{self.folder}"
        if not root:
            raise ConfigError(f"corpus {name!r}: set FORETELL_DATA to a folder and put {wanted} into {place}")
        folder = Path(root).expanduser() / self.folder
        found = {split: [stored(folder / file) for file in files] for split, files in self.files.items()}
        if not all(path.exists() for paths in found.values() for path in paths):
            raise ConfigError(f"corpus {name!r}: put {wanted} into {folder} ({place})")
        return found

    def more(self) -> list[Path]:
        """The files without labels that exist."""
        folder = Path(os.environ.get("FORETELL_DATA", "")).expanduser() / self.folder
        return [path for path in (stored(folder / file) for file in self.unlabelled) if path.exists()]


def stored(path: Path) -> Path:
    """The file, plain or compressed."""
    packed = (path.with_name(path.name + ending) for ending in COMPRESSED_ENDINGS)
    return next((found for found in (path, *packed) if found.exists()), path)


def thirds(prefix: str, ending: str, valid: str = "dev") -> dict[str, tuple[str, ...]]:
    """A file for each split."""
    return {split: (f"{prefix}{part}{ending}",) for split, part in zip(SPLITS, ("train", valid, "test"), strict=True)}


SENTIMENT = {"0": "negative", "1": "positive"}
ENTAILMENT = {"0": "entailment", "1": "neutral", "2": "contradiction"}
PREMISE = ("premise", "hypothesis")
GLUE = {"train": ("train.tsv",), "valid": ("dev.tsv",)}
MRPC = TableConfig(
    format="tsv",
    texts=("#1 String", "#2 String"),
    label="Quality",
    names={"0": "different", "1": "paraphrase"},
)
STSB = TableConfig(
    format="tsv",
    columns=("genre", "source", "year", "number", "score", "first", "second", "..."),
    texts=("first", "second"),
    label="score",
    labels="score",
)
COLA = TableConfig(
    columns=("source", "label", "mark", "sentence"),
    texts=("sentence",),
    names={"0": "unacceptable", "1": "acceptable"},
)
STORIES = OptionsConfig(
    context=tuple(f"InputSentence{number}" for number in (1, 2, 3, 4)),
    options=("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"),
    label="AnswerRightEnding",
    numbers=("1", "2"),
)
TREC = {"train": ("TREC.train",), "test": ("TREC.test",)}
WNUT = ColumnsConfig(delimiter="\t")
SETS = {
    # one text
    "sst2": ReadySet("sst", thirds("", "_binary_sent.csv"), TableConfig(texts=("sentence",), names=SENTIMENT)),
    "sst5": ReadySet("sst", thirds("stsa.fine.", ".txt"), PrefixedConfig()),
    "imdb": ReadySet(
        "imdb", {"train": ("train.tsv",), "test": ("test.tsv",)}, TableConfig(names=SENTIMENT), ("unsup.txt",)
    ),
    "mr": ReadySet(
        "mr",
        {WHOLE: ("rt-polarity.neg", "rt-polarity.pos")},
        FoldersConfig(encoding="latin-1", names={"rt-polarity.neg": "negative", "rt-polarity.pos": "positive"}),
    ),
    "trec": ReadySet("trec", TREC, PrefixedConfig(encoding="latin-1", part=":")),
    "trec-fine": ReadySet("trec", TREC, PrefixedConfig(encoding="latin-1")),
    "cola": ReadySet("cola", GLUE, COLA),
    # pairs
    "rte": ReadySet("rte", GLUE, TableConfig(texts=("sentence1", "sentence2"))),
    "mrpc": ReadySet("mrpc", thirds("msr-para-", ".tsv", "val"), MRPC),
    "stsb": ReadySet("stsb", thirds("sts-", ".csv"), STSB),
    # of the next four, whose training sets are larger, the file that is most widely available is divided
    "snli": ReadySet(
        "snli",
        {"train": ("validation.tsv",), "test": ("test.tsv",)},
        TableConfig(texts=PREMISE, names=ENTAILMENT, quoted=True),
    ),
    "mnli": ReadySet("mnli", {WHOLE: ("dev.csv",)}, TableConfig(texts=PREMISE)),
    "qnli": ReadySet("qnli", {WHOLE: ("dev.csv",)}, TableConfig(texts=PREMISE)),
    "boolq": ReadySet(
        "boolq",
        {WHOLE: ("validation.tsv",)},
        TableConfig(texts=("passage", "question"), names={"0": "no", "1": "yes"}, quoted=True),
    ),
    # options
    "storycloze": ReadySet(
        "storycloze",
        {"train": ("cloze_test_val_spring2016.tsv",), "test": ("cloze_test_test_spring2016.tsv",)},
        STORIES,
    ),
    # words
    "conll2003": ReadySet(
        "conll2003",
        {"train": ("eng.train",), "valid": ("eng.testa",), "test": ("eng.testb",)},
        ColumnsConfig(scheme="iob1"),
    ),
    "ncbi-disease": ReadySet("ncbi-disease", thirds("", ".tsv", "devel"), WNUT),
    "wnut17": ReadySet("wnut17", thirds("", ".conll"), WNUT),
    # questions
    "squadshifts": ReadySet("squadshifts", {WHOLE: ("new_wiki_v1.0.json", "reddit_v1.0.json")}, SquadConfig()),
    "xquad": ReadySet("xquad_en", {WHOLE: ("xquad.en.json",)}, SquadConfig()),
}


def available_sets(names: Sequence[str]) -> list[str]:
    """The named data sets, each of which must be found; without names all that are found."""
    for name in names:
        if name not in SETS:
            raise ConfigError(f"no labelled data set {name!r}{did_you_mean(name, SETS)} (foretell doctor lists them)")
        SETS[name].paths(name)
    available = list(dict.fromkeys(names)) or [name for name in SETS if is_available(name)]
    if not available:
        raise ConfigError("no labelled data sets: set FORETELL_DATA to the folder that holds them (`foretell doctor`)")
    return available


def is_available(name: str) -> bool:
    """Whether all files of a data set are found."""
    try:
        SETS[name].paths(name)
    except ConfigError:
        return False
    return True
