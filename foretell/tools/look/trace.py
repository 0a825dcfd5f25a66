"""Training passages that predictions of a run may come from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.data.store.store import Split
from foretell.data.tokenizers.tokenizer import Tokenizer, tokenizer_of
from foretell.errors import ConfigError
from foretell.evaluate.tracing import Match, TextIndex, apart, number_of, passages
from foretell.learning.opened_text import open_text
from foretell.recipe.loading import recipe_of
from foretell.run import Run
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor
from foretell.trees import Tree

LONGEST = 100
"""tokens of a passage in a record: its last ones. A text that is in training as a whole has passages of all lengths"""
SHOWN = 60
"""characters of a passage in a table"""


def trace(path: Path, file: Path, *, quiet: bool = False) -> Tree:
    """For each token of a text the longest passage before it that occurs in the run's training text, and where."""
    run = Run.open(path)
    recipe, tokenizer, monitor = recipe_of(run).resolved_stages()[-1][1], tokenizer_of(run), Monitor(quiet=quiet)
    if recipe.is_task:
        raise ConfigError(f"{path} is a task, whose examples are not one text; name a language model")
    with open_text(run, recipe.data, tokenizer, "train", monitor) as train:
        tokens = tokens_of(run, file, recipe.data, tokenizer)
        with monitor.activity("indexing"):
            index = TextIndex.cached(train.tokens, tokenizer.size)
        matches = index.matches(tokens)[: len(tokens) - 1]  # before each token but the first
        rows = [row_of(match, tokens, train, tokenizer) for match in matches]
        chosen = [match.position for match in apart(passages(matches, 1))]
    return {"run": str(path), "text": str(file), "tokens": len(tokens), "trace": rows, "passages": chosen}


def tokens_of(run: Run, file: Path, data: Any, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """The tokens of a file, or of stdin."""
    if str(file) == "-":
        from foretell.data.text_files import mended

        text = sys.stdin.buffer.read().decode(errors="replace")
        return np.array(tokenizer.encode(mended(text).text), dtype=np.int64)
    with open_text(run, data, tokenizer, str(file)) as text:
        return np.array(text.tokens, dtype=np.int64)


def row_of(match: Match, tokens: NDArray[np.int64], train: Split, tokenizer: Tokenizer) -> Tree:
    """A match as a record; positions, lengths and offsets are in tokens, `text` holds the last `LONGEST` of them."""
    end = match.place + match.length
    row: Tree = {
        "position": match.position,
        "token": tokenizer.decode([int(tokens[match.position])]),
        "length": match.length,
        "occurrences": match.occurrences if match.length else 0,
        "document": None,
        "offset": None,
        "text": "",
        "next": "",
    }
    if match.length:
        row["document"], row["offset"] = number_of(train.documents, match.place)
        row["text"] = tokenizer.decode(train.tokens[max(match.place, end - LONGEST) : end].tolist())
        row["next"] = tokenizer.decode(train.tokens[end : end + 1].tolist())
    return row


def render(result: Mapping[str, Any], top: int = 20) -> ResponsiveTable:
    """The longest passages, in the order of the text."""
    ends = set(result["passages"])
    found = [row for row in result["trace"] if row["position"] in ends]
    longest = {row["position"] for row in sorted(found, key=lambda row: -row["length"])[:top]}
    table = ResponsiveTable(
        Column("at token"),
        Column("tokens"),
        Column("times", 3),
        Column("document", 2),
        Column("offset", 2),
        Column.texts("passage | what follows it in training", least=30),
        title=f"{result['run']}, {result['text']}: longest passages that are in its training text",
    )
    for row in (row for row in found if row["position"] in longest):
        passage = one_line(row["text"])
        shown = passage if len(passage) <= SHOWN else f"…{passage[-SHOWN:]}"
        numbers = (f"{row[key]:,}" for key in ("position", "length", "occurrences", "document", "offset"))
        table.add(*numbers, f"{shown}|{one_line(row['next'])}")
    if len(found) > top:
        table.notes.append(f"{len(found) - top:,} shorter ones not shown (--json has all)")
    return table


def one_line(text: str) -> str:
    """A text without line breaks."""
    return text.replace("\n", "↵").replace("\t", " ")
