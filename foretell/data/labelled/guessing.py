"""Guesses readers of labelled files from their columns, and reports the guess.

Settings that are given are kept. Where several columns could be meant, it raises an error that lists them: no example
is ever read from a column that might be the wrong one.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell.config import validate
from foretell.data.files import entries, expanded, tell
from foretell.data.labelled.datasets import SETS, WHOLE
from foretell.data.labelled.opening import find_set, no_reader, refusal
from foretell.data.labelled.readers import Reader
from foretell.data.labelled.readers.columns import ColumnsConfig
from foretell.data.labelled.readers.delimited import DELIMITERS
from foretell.data.labelled.readers.folders import split_folders
from foretell.data.labelled.readers.rows import FORMATS
from foretell.data.labelled.readers.squad import SquadConfig
from foretell.data.labelled.readers.tables import TableConfig
from foretell.data.labelled.sniffing import TAGGED, has_columns
from foretell.data.labelled.table_columns import LABELS, Column, columns_in
from foretell.data.labelled.word_columns import guess_columns
from foretell.data.text_files import content_ending, stored_lines
from foretell.errors import ConfigError
from foretell.hub import is_on_hub
from foretell.strict_json import shown
from foretell.units import counted

TABLE_TASKS = ("classification", "similarity")
TASKS = (*TABLE_TASKS, "tagging", "answering")
PAIRS = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "passage"),
    ("query", "document"),
)
PAIRED = re.compile(r"[ _.-]?([12ab]|one|two)$")
"""how the names of the two columns of a pair differ"""
KEYS = ("", "#", "id", "nr", "no", "index", "idx", "key", "unnamed: 0")
"""names of columns that number the rows"""
TEXTS = ("text", "sentence", "review", "content", "comment", "body", "message", "tweet", "description", "document")
LONG_NAME = 3
"""words of a name above which it could be a text"""
MOST_BAD = 0.2
"""share of unreadable rows above which nothing is guessed"""


def guess_reader(task: str, corpus: Any, given: Any) -> Mapping[str, Any] | None:
    """The settings `data.reader` for a task, as far as they are not given; None where there is nothing to guess.

    Raises `ConfigError` if several columns could be meant.
    """
    if task not in TASKS or not isinstance(corpus, str | Mapping) or not corpus:
        return None
    if isinstance(corpus, str) and corpus in SETS:
        return None
    if isinstance(given, str) or (given is not None and not isinstance(given, Mapping)):
        return None
    settings = dict(given or {})
    path = first_file(corpus, task)
    if path is None:
        return None
    if path.is_dir():
        return guess_folders(path) if task == "classification" and not settings else None
    if task == "tagging" and "kind" not in settings and (content_ending(path).lower() in TAGGED or has_columns(path)):
        return guess_columns(path, settings)
    if task == "answering" and not settings and content_ending(path) == ".json":
        return {"kind": "squad"}
    if task not in TABLE_TASKS or settings.get("kind", "table") != "table":
        return None
    if table_format(path, settings) not in ("csv", "tsv", "jsonl"):
        return None
    return (
        named_table(path, task, settings)
        if settings.keys() >= {"texts", "label"}
        else guess_table(path, task, settings)
    )


def implied(task: str, reader: Any) -> dict[str, Any]:
    """The settings of a task that follow from its reader: tags that are classes, several labels for a text."""
    given = reader if isinstance(reader, Mapping) else {}
    if task == "tagging" and given.get("scheme") == "none":
        return {"scheme": "none"}
    return {"multi_label": True} if task == "classification" and given.get("labels") == "several" else {}


def first_file(corpus: str | Mapping[str, str], task: str) -> Path | None:
    """A file of the training examples, or a folder with a folder for each class; None where there is no file."""
    place = corpus.get("train", "") if isinstance(corpus, Mapping) else corpus
    if not isinstance(place, str) or is_on_hub(place) or not place:
        return None
    if expanded(place).is_dir() and any(item.is_dir() for item in expanded(place).iterdir()):
        return expanded(place)
    reader: Reader = TableConfig()
    if task in ("tagging", "answering"):
        reader = ColumnsConfig() if task == "tagging" else SquadConfig()
    try:
        files, _ = find_set({"train": place} if isinstance(corpus, Mapping) else place, reader)
    except ConfigError:
        if expanded(place).exists():
            raise
        return None  # reported when the examples are read
    found = files.get("train") or files.get(WHOLE) or ()
    return next((path for path in found if isinstance(path, Path)), None)


def guess_folders(path: Path) -> Mapping[str, Any]:
    """The reader of a folder with a folder for each class."""
    inside = entries(path)
    if beside := next((entry for entry in inside if not entry.is_dir()), None):
        raise ConfigError(
            f"holds folders and files, such as {beside.name}: not a folder for each class",
            file=path,
            remedy='move the files elsewhere, or write data.reader.kind="folders" if each file is a class, too',
        )
    splits = split_folders(inside)
    classes = sorted(entry.name for entry in (entries(next(iter(splits))) if splits else inside))
    tell(f"{path}: each folder is a class: {', '.join(map(shown, classes[:10]))}{', …' if len(classes) > 10 else ''}")
    return {"kind": "folders"}


# --- tables ---------------------------------------------------------------------------------------


def guess_table(path: Path, task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table."""
    settings = {"kind": "table", **dialect_of(path, given), **given}
    columns = columns_of(path, settings)
    if not columns:
        raise ConfigError("has no rows", file=path, remedy="name a table with a line of column names and an example")
    if any(
        column.is_tag for column in columns if column.name not in (*settings.get("texts", ()), settings.get("label"))
    ):
        raise no_reader(str(path), "tagging")
    check_header(columns, path, settings)
    check_splits(columns, path, settings)
    if "texts" not in settings:
        settings["texts"] = tuple(texts_among(columns, path, settings.get("label")))
    if "label" not in settings:
        rest = [column for column in columns if column.name not in settings["texts"]]
        settings["label"] = label_among(rest, path, task)
    if task == "similarity":
        settings = {"labels": "score", **settings}
    label = next((column for column in columns if column.name == settings["label"]), None)
    settings |= decimal_of(label, settings)
    if label is not None and "labels" not in settings:
        check_single(label, path)
        settings |= {"labels": "several"} if label.lists else {}
    classes = "" if label is None or task == "similarity" else f" ({class_list(label)})"
    texts = " and ".join(map(shown, settings["texts"]))
    others = [shown(column.name) for column in columns if column.name not in (*settings["texts"], settings["label"])]
    left = f" ({', '.join(others[:8])}{', …' if len(others) > 8 else ''} not read)" if others else ""
    tell(
        f"{path}: the text is {texts}, the label {shown(settings['label'])}{classes}{left}; data.reader.label=… and "
        f"data.reader.texts=[…] name others{doubt_of(columns, settings)}"
    )
    return settings


def doubt_of(columns: Sequence[Column], settings: Mapping[str, Any]) -> str:
    """A note where the name of the text could be a text itself: the first line of a table without names."""
    doubtful = any(len(name.split()) > LONG_NAME for name in settings["texts"]) and not settings.get("columns")
    return f"; if these are not names, 'data.reader.columns=[{numbered(columns)}]' gives them" if doubtful else ""


def numbered(columns: Sequence[Column]) -> str:
    """Names for columns without names."""
    return ", ".join(f'"column{n}"' for n in range(1, len(columns) + 1))


def named_table(path: Path, task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table whose columns are named: delimiter and quotes where the usual ones do not give them."""
    settings = {"kind": "table", **given} | ({} if task != "similarity" or "labels" in given else {"labels": "score"})
    reader = validate(TableConfig, settings, "data.reader")
    try:
        next(iter(reader.rows(path, reader.needed(True))), None)
    except ConfigError:
        settings |= dialect_of(path, given)
    with contextlib.suppress(ConfigError):  # reported where it is read
        columns = columns_of(path, settings)
        settings |= decimal_of(next((one for one in columns if one.name == given["label"]), None), settings)
        for column in splits_among(columns, settings):
            tell(f"{path}: column {column} seems to name the split of each row; it is not read")
    return settings


def decimal_of(label: Column | None, settings: Mapping[str, Any]) -> dict[str, str]:
    """A comma before the decimals of scores, where they have one."""
    if label is None or settings.get("labels") != "score" or "decimal" in settings or not label.is_number:
        return {}
    return {"decimal": ","} if any("," in value for value in label.values) else {}


def check_header(columns: Sequence[Column], path: Path, settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` if the first line seems to be data: the name of a column is one of its values, or a text."""
    if settings.get("columns") or table_format(path, settings) not in ("csv", "tsv"):
        return
    for column in columns:
        if (column.name in (column.counts or column.values) and column.name.strip()) or len(column.name.split()) > 6:
            quote = ', and data.reader.quote="\'"' if any(one.name[:1] == "'" for one in columns) else ""
            raise ConfigError(
                f"its first line looks like data, not like names of columns: {shown(column.name):.60}",
                file=path,
                remedy=f"name the columns in order, as in 'data.reader.columns=[{numbered(columns)}]'{quote}; "
                "if they are names, name data.reader.texts=[…] and data.reader.label=…",
            )


def check_splits(columns: Sequence[Column], path: Path, settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` if a column says which split each row belongs to: dividing the rows again would mix them."""
    for column in splits_among(columns, settings):
        values = sorted(map(str.strip, column.counts or ()))
        listed = ", ".join(values[:8]) + (", …" if len(values) > 8 else "")
        raise ConfigError(
            f"column {shown(column.name)} names the split of each row ({listed}); such a column is not read",
            file=path,
            remedy="write the rows of each split to a file of its own, or name data.reader.texts=[…] and "
            "data.reader.label=… to divide the rows again",
        )


def splits_among(columns: Iterable[Column], settings: Mapping[str, Any]) -> list[Column]:
    """The columns that say which split each row belongs to; those that the settings name have another meaning."""
    named = (*settings.get("texts", ()), settings.get("label"))
    return [column for column in columns if column.names_splits and column.name not in named]


def check_single(label: Column, path: Path) -> None:
    """Raise `ConfigError` if cells seem to hold several labels."""
    such_as = f"such as {max(label.counts or label.values, key=len)!r:.60}"
    if label.spells_lists:
        raise ConfigError(
            f"cells of {shown(label.name)} seem to hold lists, {such_as}",
            file=path,
            remedy="write them with a sign between labels, as in a;b, and set data.reader.labels=several "
            "\"data.reader.separator=';'\", or as lists in a .jsonl file",
        )
    if sign := label.separator:
        raise ConfigError(
            f"cells of {shown(label.name)} seem to hold several labels, {such_as}",
            file=path,
            remedy=f"write data.reader.labels=several \"data.reader.separator='{sign}'\", or data.reader.labels=one if "
            "each is the name of one class",
        )


def dialect_of(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Delimiter and quoting of a delimited file, where they are not the usual ones."""
    form = table_format(path, given)
    if form not in ("csv", "tsv") or "delimiter" in given:
        return {}
    head = [line.decode(errors="replace") for _, line in itertools.islice(stored_lines(path), 50)]
    if not head:
        return {}
    usual = "," if form == "csv" else "\t"
    delimiter = max(usual + DELIMITERS, key=lambda sign: regularity(sign, head))
    found: dict[str, Any] = {} if delimiter == usual else {"delimiter": delimiter}
    sign = found.get("delimiter", usual)
    fields = [field for line in head for field in line.rstrip("\r\n").split(sign)]
    opened = [line.rstrip().endswith("'") for line in head if f"{sign}'" in line]
    if "quote" not in given and len(opened) > 2 and sum(opened) > 0.8 * len(opened):  # in some files only where needed
        found["quote"] = "'"
    if (
        form == "tsv"
        and sum(len(field) > 1 and field[0] == field[-1] == '"' for field in fields) > 0.2 * len(fields)
        and "quoted" not in given
    ):
        found["quoted"] = True
    return found


def regularity(delimiter: str, lines: Sequence[str]) -> tuple[float, int]:
    """The share of lines with the most frequent number of fields, 0 if that is one; then that number."""
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return 0.0, 0
    fields, times = Counter(counts).most_common(1)[0]
    return (times / len(counts), fields) if fields > 1 else (0.0, 0)


def table_format(path: Path, given: Mapping[str, Any]) -> str | None:
    """The format of a table, given or by the suffix of its file."""
    return given.get("format") or FORMATS.get(content_ending(path).lower())


def columns_of(path: Path, settings: Mapping[str, Any]) -> list[Column]:
    """The columns of a table."""
    known = {key: value for key, value in settings.items() if key not in ("texts", "label")}
    columns, bad, good = columns_in(validate(TableConfig, known, "data.reader").rows(path, ()))
    if len(bad) > MOST_BAD * (len(bad) + good):  # the rest says little of the columns
        raise refusal(path, bad, good)
    return columns


def texts_among(columns: Sequence[Column], path: Path, label: object) -> list[str]:
    """The column of the text, or the two of a pair."""
    by_name = {column.name.lower().strip(): column.name for column in columns if column.name != label}
    if "text" in by_name:
        return [by_name["text"]]
    for pair in PAIRS:
        if all(name in by_name for name in pair):
            return [by_name[name] for name in pair]
    named = [by_name[name] for name in TEXTS if name in by_name]
    if len(named) == 1:
        return named
    texts = sorted((c for c in columns if c.is_text and c.name != label), key=lambda column: -column.words)
    stems = {PAIRED.sub("", column.name.lower()) for column in texts}
    if len(texts) == 2 and len(stems) == 1 and "" not in stems:
        return sorted(column.name for column in texts)
    if texts and (len(texts) == 1 or texts[0].words > 3 * texts[1].words):
        return [texts[0].name]
    raise unclear("text", texts or columns, path, 'write data.reader.texts=["NAME"]')


def label_among(columns: Sequence[Column], path: Path, task: str) -> str:
    """The column of the label."""
    named = [column.name for name in LABELS for column in columns if column.name.lower().strip() == name]
    if len(named) == 1 or named[:1] == ["label"]:
        return named[0]
    columns = [column for column in columns if column.name.lower().strip() not in KEYS] or columns
    fitting = [c for c in columns if (c.is_number if task == "similarity" else c.is_label)]
    if len(fitting) == 1:
        return fitting[0].name
    if len(fitting) > 2 and all(column.is_flag for column in fitting):
        raise ConfigError(
            f"columns {', '.join(shown(column.name) for column in fitting[:8])} seem to be labels, each 0 or 1; labels "
            "are read from one column",
            file=path,
            remedy="write the names of those that are 1 into one column, with ; between them, and set "
            "data.reader.labels=several \"data.reader.separator=';'\", or name one as data.reader.label=NAME",
        )
    raise unclear("label", fitting or columns, path, 'write data.reader.label="NAME"')


def unclear(what: str, columns: Iterable[Column], path: Path, remedy: str) -> ConfigError:
    """The error where several columns may be meant, or none."""
    named = list(columns)
    listed = ", ".join(map(str, named[:8]))
    if not listed:
        return ConfigError(f"has no column that could be the {what}", file=path, remedy=remedy)
    if what == "label" and len(named) == 1 and named[0].classes == 1:
        every = f"every value of column {shown(named[0].name)} is {shown(named[0].values[0])}: nothing to distinguish"
        return ConfigError(every, file=path, remedy=f"{remedy} if the label is another column")
    if what == "label" and len(named) == 1 and not named[0].is_label:
        return ConfigError(
            f"column {named[0]} has too many values to be a label",
            file=path,
            remedy=f"{remedy} if it is one; numbers are learned by train similar" if named[0].is_number else remedy,
        )
    return ConfigError(f"which column is the {what}: {listed}?", file=path, remedy=remedy)


def class_list(column: Column) -> str:
    """The classes in a column, the most frequent ones first."""
    counts = Counter(column.values) if column.counts is None else column.counts
    names = [shown(name) for name, _ in counts.most_common(5)]
    several = ", several for a text" if column.lists else ""
    return (
        f"{counted(column.classes, 'class')}{several}: {', '.join(names)}{', …' if column.classes > len(names) else ''}"
    )
