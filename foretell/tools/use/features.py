"""Vectors of texts, one per line of files or stdin, to a file or stdout."""

from __future__ import annotations

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
from foretell.tools.parsing import layers_of, read_mix
from foretell.training.monitor import Monitor


def write_features(extractor: Extractor, paths: Sequence[Path], out: Path, *, quiet: bool = True) -> Record:
    """Write vectors of the lines of files (`-` or none: stdin) to a `.npy` or `.parquet` file."""
    report, begin = Report(), time.perf_counter()
    monitor = Monitor(quiet=quiet)
    with vector_file(out, extractor.width) as file, monitor.activity("reading texts") as activity:
        for texts, vectors in extractor.blocks(read_lines(paths, report), activity.count):
            file.add(vectors, {"text": texts})
        if not file.rows:
            raise ConfigError("no texts to read; name a file, or write lines to stdin")
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
    """One row per line, numbers separated by tabs."""
    report = Report()
    for _, vectors in extractor.blocks(read_lines(paths, report)):
        for vector in vectors.tolist():
            yield "\t".join(f"{number:.6g}" for number in vector)
    warn(report)


def all_features(extractor: Extractor, paths: Sequence[Path]) -> Record:
    """All vectors as one JSON object, held in memory."""
    report = Report()
    vectors = [vector for _, block in extractor.blocks(read_lines(paths, report)) for vector in block.tolist()]
    warn(report)
    return {"vectors": vectors, "texts": len(vectors), "width": extractor.width, "replaced": report.replaced}


def settings_of(pooling: str, layers: str, prepare: str | None, tokens: int, mix: Path | None = None) -> dict[str, Any]:
    """Options as settings of `FeaturesConfig`; a mix names its layers itself."""
    settings: dict[str, Any] = {"pooling": pooling, "layers": layers_of(layers), "prepare": prepare, "tokens": tokens}
    return settings if mix is None else settings | read_mix(mix)
