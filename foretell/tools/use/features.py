"""Texts in, vectors out: lines of files or of stdin, to a file or to stdout."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foretell.data.feature_files import vector_file
from foretell.data.text_files import Report
from foretell.errors import ConfigError
from foretell.evaluate.features import Extractor
from foretell.process import peak_memory
from foretell.run import Record
from foretell.tools.measure.score import read_lines, warn
from foretell.training.monitor import Monitor, counting

MIX = "mix.json"
"""what a probe calls the weights of layers in its folder"""


def write_features(extractor: Extractor, paths: Sequence[Path], out: Path, *, quiet: bool = True) -> Record:
    """The vectors of the lines of some files (`-` or none: stdin) as a `.npy` or `.parquet` file."""
    report, begin = Report(), time.perf_counter()
    told = counting(Monitor(quiet=quiet).say, "texts")
    with vector_file(out, extractor.width) as file:
        for texts, vectors in extractor.blocks(read_lines(paths, report), told):
            file.add(vectors, {"text": texts})
        if not file.rows:
            raise ConfigError("there are no texts to make vectors of; give a file, or lines on stdin")
    warn(report)
    return {
        "out": str(out),
        "texts": file.rows,
        "width": extractor.width,
        "seconds": time.perf_counter() - begin,
        "replaced": report.replaced,
        "peak_memory_bytes": peak_memory(),
    }


def print_features(extractor: Extractor, paths: Sequence[Path]) -> Iterator[str]:
    """A row for each line, its numbers between tabs."""
    report = Report()
    for _, vectors in extractor.blocks(read_lines(paths, report)):
        for vector in vectors.tolist():
            yield "\t".join(f"{number:.6g}" for number in vector)
    warn(report)


def all_features(extractor: Extractor, paths: Sequence[Path]) -> Record:
    """The same as one JSON object, which has to be held in memory."""
    report = Report()
    found = [vector for _, block in extractor.blocks(read_lines(paths, report)) for vector in block.tolist()]
    warn(report)
    return {"vectors": found, "texts": len(found), "width": extractor.width, "replaced": report.replaced}


def layers_of(spelled: str) -> tuple[int, ...] | str:
    """`all`, or `1,2,-1` as numbers."""
    if spelled == "all":
        return spelled
    try:
        return tuple(int(number) for number in spelled.split(","))
    except ValueError:
        raise ConfigError(f"--layers {spelled}: write all, or numbers with commas between them, as in 1,2,-1") from None


def settings_of(pooling: str, layers: str, prepare: str | None, tokens: int, mix: Path | None = None) -> dict[str, Any]:
    """Options as settings of `FeaturesConfig`; a mix says which layers it is of."""
    settings: dict[str, Any] = {"pooling": pooling, "layers": layers_of(layers), "prepare": prepare, "tokens": tokens}
    return settings if mix is None else settings | read_mix(mix)


def read_mix(path: Path) -> dict[str, Any]:
    """The layers and weights that a probe has learnt, from its folder or the file there."""
    file = path / MIX if path.is_dir() else path
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {"layers": kept["layers"], "mix": [float(weight) for weight in kept["weights"]]}
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"--mix {path}: no weights of layers in it; name the --out of a `foretell probe --mix`"
        ) from None
