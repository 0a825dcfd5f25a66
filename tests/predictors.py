"""Tiny language models of every kind over one vocabulary, as runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders import attending, tables

import foretell

MODELS: dict[str, dict[str, Any]] = {
    "ngram": {"limit": "1epochs", "model": {"kind": "ngram", "order": 3}},
    "lstm": {"limit": "20steps"},
    "context-mixing": {
        "limit": "1epochs",
        "model": {"kind": "context-mixing", "table_bits": 10, "mixers": ({"kind": "bits"}, {"kind": "highest"})},
    },
    "unbounded-ngram": {"limit": "1epochs", "model": {"kind": "unbounded-ngram"}},
}


def trained(
    name: str, corpus: Mapping[str, str], folder: Path, tokenizer: Any = "byte", **changes: Any
) -> foretell.Trained:
    """A run of the model of a name: one of `MODELS`, or gpt; with further changes of its recipe."""
    changes |= {"data__tokenizer": tokenizer, "evaluation__length": 20, **MODELS.get(name, {"limit": "20steps"})}
    return foretell.train((attending if name == "gpt" else tables)(corpus, **changes), folder / name, quiet=True)
