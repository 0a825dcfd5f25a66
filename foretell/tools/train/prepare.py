"""Preparation of a token store from text, with a progress bar."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from foretell.data.opening import open_corpus
from foretell.data.preparing import cached_tokenizer
from foretell.data.store.store import prepare
from foretell.data.tokenizers.kinds import TokenizerChoice
from foretell.errors import ConfigError
from foretell.process import peak_memory
from foretell.training.monitor import Monitor
from foretell.trees import parse_override


def prepare_store(corpus: str, out: Path, tokenizer: str, *, quiet: bool = False) -> dict[str, Any]:
    """Prepare a corpus at `out`. `tokenizer`: a kind, a TOML table, or the path of a tokenizer.json."""
    text = open_corpus(corpus)
    setting = (
        {"kind": "file", "path": tokenizer} if tokenizer.endswith(".json") else parse_override(f"t={tokenizer}")["t"]
    )
    try:
        config = TypeAdapter(TokenizerChoice).validate_python(setting)
    except ValidationError as problem:
        raise ConfigError(f"--tokenizer {tokenizer}: {problem.errors()[0]['msg']}") from None
    begin = time.monotonic()
    with Monitor(quiet=quiet).activity("preparing") as activity:
        trained = cached_tokenizer(text, config, activity.prepared)
        store = prepare(text, trained, out, activity.prepared)
    seconds = time.monotonic() - begin
    counts = store.counts.values()
    return {
        "store": str(store.path),
        "splits": ", ".join(store.splits),
        "vocabulary": trained.size,
        "tokens": sum(count.tokens for count in counts),
        "documents": sum(count.documents for count in counts),
        "bytes": sum(count.bytes for count in counts),
        "unknown": sum(count.unknown for count in counts),
        "left_out": [str(files) for files in text.left_out],
        "seconds": round(seconds, 3),
        "tokens_per_second": round(sum(count.tokens for count in counts) / max(seconds, 1e-9), 1),
        "peak_memory_bytes": peak_memory(),
    }
