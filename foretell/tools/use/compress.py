"""Compression of files by a model, and back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell import units
from foretell.artifacts import write_atomic
from foretell.evaluate.language_model import LanguageModel
from foretell.tools.tables import ResponsiveTable, facts


def compress(model: LanguageModel, file: Path, out: Path, *, static: bool) -> dict[str, Any]:
    """Compress a file into another."""
    content, begin = file.read_bytes(), time.perf_counter()
    compressed = model.compress(content, static=static, name=str(file))
    seconds = time.perf_counter() - begin
    write_atomic(out, compressed)
    return {
        "file": str(out),
        "bytes": len(compressed),
        "original_bytes": len(content),
        "bits_per_byte": 8 * len(compressed) / len(content) if content else None,
        "ratio": len(content) / len(compressed),
        "adaptive": model.learns_as_it_reads and not static,
        **speed(len(content), seconds),
    }


def decompress(model: LanguageModel, file: Path, out: Path) -> dict[str, Any]:
    """Write what a compressed file was made from."""
    compressed, begin = file.read_bytes(), time.perf_counter()
    content = model.decompress(compressed, name=str(file))
    seconds = time.perf_counter() - begin
    write_atomic(out, content)
    sizes = {"bytes": len(content), "compressed_bytes": len(compressed)}
    return {"file": str(out), **sizes, **speed(len(content), seconds)}


def speed(size: int, seconds: float) -> dict[str, float]:
    """Time, and bytes of the original in a second."""
    return {"seconds": seconds, "bytes_per_second": size / max(seconds, 1e-9)}


def render(result: Mapping[str, Any]) -> ResponsiveTable:
    """Either result as a table."""
    rows = [("size", f"{result['bytes']:,} bytes")]
    if result.get("bits_per_byte") is not None:
        rows += [
            ("original", f"{result['original_bytes']:,} bytes, {result['ratio']:.2f} times as many"),
            ("bits per byte", f"{result['bits_per_byte']:.4f}, header included"),
            ("model", "learns from what it has read" if result["adaptive"] else "as trained"),
        ]
    rows.append(("time", f"{units.duration(result['seconds'])}, {units.size(result['bytes_per_second'])}/s"))
    return facts(rows, result["file"])
