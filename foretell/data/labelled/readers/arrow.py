"""Rows of Parquet files and of data sets of the Hugging Face hub, by column name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from foretell.data.compressed import compression, opened
from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.readers.lines import at
from foretell.data.labelled.readers.values import Fields
from foretell.data.text_files import parquet_batches
from foretell.errors import ConfigError

HINT = "name those it has in data.reader"


def parquet_rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, Fields] | BadRow]:
    """The rows of a file, numbered from 1, with the needed columns, in constant memory."""
    if compression(path):
        raise ConfigError(f"{path}: .parquet files are packed inside; unpack this one")
    with opened(path) as stream:
        yield from arrow_rows(parquet_batches(stream, path, needed, HINT), path)


def arrow_rows(batches: Iterable[Any], place: Path | str) -> Iterator[tuple[int, Fields] | BadRow]:
    """The rows of Arrow tables, numbered from 1."""
    number = 0
    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        if len(columns) < len(batch.columns):
            twice = next(name for name in columns if batch.schema.names.count(name) > 1)
            raise ConfigError(f"has the column {twice!r} twice", file=place, remedy="rename one of them")
        for i in range(batch.num_rows):
            number += 1
            try:
                yield number, {name: plain(column[i].as_py()) for name, column in columns.items()}
            except UnicodeDecodeError:
                yield BadRow(at(place, number), "not UTF-8")
            except (ValueError, OverflowError) as problem:  # a date outside the range of Python
                yield BadRow(at(place, number), f"has a value that is not read ({problem})")


def plain(value: Any) -> Any:
    """Decode texts stored as bytes."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.decode() if isinstance(value, bytes) else value
