"""Data sets of the Hugging Face hub as corpora, through the `datasets` library.

    hf:stanfordnlp/imdb                        a data set with one configuration
    hf:Salesforce/wikitext/wikitext-2-raw-v1   with the configuration named
    hf:some/reviews#body                       text in another column than `text`
    hf:./folder                                a folder on this machine that the library understands

The library downloads once and maps Arrow files into memory: reading takes constant memory, and no network later on.
Every row is a document; or an example of a task, of the columns that a reader of tables names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from foretell.data.files import ALIASES, expanded
from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.readers.arrow import HINT, arrow_rows
from foretell.data.labelled.readers.values import Fields
from foretell.data.text.corpus import Corpus, Source
from foretell.data.text.holdout import Whole
from foretell.data.text_files import RULES, Piece, Report, read_rows, require_columns
from foretell.errors import ConfigError
from foretell.hub import PREFIX

ROWS = 64


@final
class Rows:
    """The rows of one split of a data set, each a document."""

    def __init__(self, rows: Any, where: str, column: str) -> None:
        self.rows, self.where, self.column = rows.select_columns([column]).with_format("arrow"), where, column
        self.found: dict[str, Report] = {}

    def pieces(self) -> Iterator[Piece]:
        """The text, row by row."""
        report = Report()
        for table in self.rows.iter(batch_size=ROWS):
            for chunk in table.column(0).chunks:
                yield from read_rows(chunk, self.where, report, self.column)
        self.found[f"{self.where} {id(self)}"] = report

    @cached_property
    def _digest(self) -> str:
        state = hashlib.blake2b(f"rules {RULES} rows".encode(), digest_size=16)
        for piece in self.pieces():
            state.update(f"\0{piece.ends_document} {len(piece.text)}\0{piece.text}".encode())
        return state.hexdigest()

    def digest(self) -> str:
        """A hash over the documents."""
        return self._digest

    def reports(self) -> dict[str, Report]:
        """The reports, once everything was read."""
        return self.found


def open_hub(place: str, column: str) -> Corpus:
    """The corpus of `hf:NAME` or `hf:OWNER/NAME/CONFIG`; validation and test data it lacks are held out of training."""
    sources: dict[str, Source] = {}
    for name, rows in splits_of(place).items():
        require_columns([column], rows.column_names, place, f"name one as {place}#COLUMN")
        sources[ALIASES[name]] = Rows(rows, place, column)
    if missing := tuple(name for name in ("valid", "test") if name not in sources):
        sources |= Whole(sources["train"], missing).shares()
    return Corpus(place.removeprefix(PREFIX), sources)


@dataclass(frozen=True)
class Table:
    """The rows of one split of a data set, by the names of columns."""

    place: str
    split: str
    rows: Any

    def __str__(self) -> str:
        return f"{self.place} {self.split}"

    def records(self, needed: tuple[str, ...]) -> Iterator[tuple[int, Fields] | BadRow]:
        """The rows, counted from 1, with the columns that are needed; classes by their names, which the set knows."""
        require_columns(needed, self.rows.column_names, str(self), HINT)
        features = {name: self.rows.features[name] for name in needed}
        classes = {name: names for name, feature in features.items() if (names := class_names(feature))}
        batches = self.rows.select_columns(list(needed)).with_format("arrow").iter(batch_size=ROWS)
        for row in arrow_rows(batches, str(self)):
            if not isinstance(row, BadRow):
                row = row[0], {**row[1], **{name: named(row[1][name], names) for name, names in classes.items()}}
            yield row


def open_tables(place: str) -> dict[str, list[Table]]:
    """The splits of a data set, for readers of tables."""
    return {ALIASES[name]: [Table(place, name, rows)] for name, rows in splits_of(place).items()}


def class_names(feature: Any) -> list[str]:
    """The class names of a column, or of the lists in it; empty if it has no classes."""
    return list(getattr(getattr(feature, "feature", feature), "names", None) or [])


def named(value: Any, names: list[str]) -> Any:
    """The name of a class, or of each in a list; None where it is withheld (-1)."""
    if isinstance(value, list):
        return [named(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def splits_of(place: str) -> dict[str, Any]:
    """The rows of those splits whose names we know; a `ConfigError` where none is for training."""
    given = load(place)
    known = {name: rows for name, rows in given.items() if name in ALIASES}
    if "train" not in known:
        raise ConfigError(f"{place}: has no split named train (it has {', '.join(given)}); name another data set")
    return known


def load(place: str) -> Any:
    """The splits of a data set by name, fetched if need be."""
    try:
        import datasets
    except ImportError:
        raise ConfigError(f"{place}: to read data sets of the Hugging Face hub, pip install 'foretell[hf]'") from None
    name = place.removeprefix(PREFIX)
    here = expanded(name)
    path, config = (str(here), None) if here.exists() else name_and_config(name)
    try:
        return datasets.load_dataset(path, config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as problem:
        first = next(iter(str(problem).splitlines()), type(problem).__name__)
        raise ConfigError(
            f"{place}: cannot be fetched: {first}; write hf:OWNER/NAME or hf:OWNER/NAME/CONFIG, and be online"
        ) from None


def name_and_config(name: str) -> tuple[str, str | None]:
    """OWNER/NAME and CONFIG; with one slash or none there is no CONFIG, as the hub's own names have an owner."""
    owner, *rest = name.split("/", 2)
    return "/".join([owner, *rest[:1]]), rest[1] if len(rest) > 1 else None
