"""Labelled sets: examples by split, from a name or from files and a reader."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foretell.config import ConfigError
from foretell.data.examples import BadRow, Example
from foretell.data.readers import Reader, TableConfig, counted

SHOWN = 20
log = logging.getLogger("foretell")


@dataclass(frozen=True)
class ReadySet:
    """A labelled set below `$FORETELL_DATA`."""

    folder: str
    files: Mapping[str, tuple[str, ...]]
    """by split, without the endings of packing"""
    reader: Reader


SENTIMENT = {"0": "negative", "1": "positive"}
SETS = {
    "sst2": ReadySet(
        "sst",
        {
            "train": ("train_binary_sent.csv",),
            "valid": ("dev_binary_sent.csv",),
            "test": ("test_binary_sent.csv",),
        },
        TableConfig(texts=("sentence",), names=SENTIMENT),
    ),
}


def open_examples(
    corpus: str | Mapping[str, str], split: str, reader: Reader | None = None, skip_bad: bool = False
) -> list[Example]:
    """The examples of a split; `reader` absent: that of a ready set.

    Rows that are no examples are refused, all of a file at once, or left out and counted in a warning (`skip_bad`).
    """
    entry = SETS[str(corpus)]
    reader = reader or entry.reader
    folder = Path(os.environ["FORETELL_DATA"]) / entry.folder
    return [example for name in entry.files[split] for example in read_examples(folder / name, reader, skip_bad)]


def read_examples(path: Path, reader: Reader, skip_bad: bool = False, labelled: bool = True) -> list[Example]:
    """The examples of one file."""
    rows = list(reader.read(path, labelled))
    bad = [row for row in rows if isinstance(row, BadRow)]
    if bad and not skip_bad:
        raise ConfigError(refusal(path, bad, len(rows)))
    if bad:
        log.warning("%s: left out %d of %s; the first: %s", path, len(bad), counted(len(rows), "row"), bad[0])
    return [row for row in rows if not isinstance(row, BadRow)]


def refusal(path: Path, bad: Sequence[BadRow], total: int) -> str:
    """All that is wrong with a file."""
    head = f"{path}: {len(bad)} of {counted(total, 'row')} cannot be read; mend them, or leave them out with --skip-bad"
    more = [f"… and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    return "\n  ".join([head, *map(str, bad[:SHOWN]), *more])
