"""Surprisals of words: `foretell score --words`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from foretell.data.text_files import Report, mended
from foretell.evaluate.words import WordReader, WordSurprisal
from foretell.tools.measure.score import Context, Line, Model, read_running, stored_lines_of, warn
from foretell.tools.printing import emit, print_rows, properties


def surprisals(model: Model, paths: Sequence[Path], context: Context = "lines") -> Iterator[WordSurprisal]:
    """The words of files in order, each line alone (`lines`) or given the lines before it (`carried`).

    Positions count the characters of all files in order, with their newlines.
    """
    report, place = Report(), 0
    reader = WordReader(model.scorer(ranks=False), model.tokenizer, model.device)
    if context == "lines":
        lines: Iterable[Line] = (Line(f"{line}\n") for line in stored_lines_of(paths, report))
    else:
        lines = read_running(paths, report, model.tokenizer.ends_lines)
    for line in lines:
        text = mended(line.text).text
        if context == "lines" and place:
            reader.restart()
        yield from reader.words(text, place, ends=line.ends_document)
        place += len(text)
    warn(report)


def print_words(model: Model, paths: Sequence[Path], context: Context, as_json: bool) -> None:
    """The words as rows of a CSV file, or as one JSON object."""
    words = surprisals(model, paths, context)
    if as_json:
        emit({"words": [word._asdict() for word in words]}, True, properties)
    else:
        print_rows(csv_rows(words))


def csv_rows(words: Iterable[WordSurprisal]) -> Iterator[str]:
    """A heading, and a row for each word."""
    yield ",".join(WordSurprisal._fields)
    for word in words:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([word.word, word.start, word.end, f"{word.bits:.6f}"])
        yield line.getvalue()
