"""Audited evaluations of a run, kept among its records: its card and `show` have them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from foretell.data.files import SPLITS
from foretell.run import Record, Run

FIGURES = ("loss", "bits_per_byte", "audit")


def passed(run: Run | None, result: Mapping[str, Any]) -> bool:
    """Whether an evaluation passed all its audits; it is kept if it is of a run."""
    if run is not None:
        keep(run, result)
    return all(part["audit"]["passed"] for part in (result, result.get("adaptive", {})) if "audit" in part)


def keep(run: Run, result: Mapping[str, Any]) -> None:
    """Append an audited evaluation to a run's records: of a split of its corpus, with static figures, and where the
    records can be written."""
    file = run.metrics_file
    adapted = "adaptation" in result
    if adapted or result["split"] not in SPLITS or file.is_symlink() or not os.access(file, os.W_OK):
        return
    record = {"kind": "audit", "step": result.get("step", 0), "split": result["split"], **figures(result)}
    run.append(record | ({"adaptive": figures(result["adaptive"])} if "adaptive" in result else {}))


def figures(result: Mapping[str, Any]) -> Record:
    """The figures of a result that are kept."""
    return {name: result[name] for name in FIGURES if name in result}


def kept(run: Run, step: int) -> list[Record]:
    """The last audited evaluation of each split at a step, in the order of the splits."""
    found = {record.get("split"): record for record in run.metrics() if record["kind"] == "audit"}
    return [found[split] for split in SPLITS if split in found and found[split]["step"] == step and sound(found[split])]


def sound(record: Mapping[str, Any]) -> bool:
    """Whether a record has the figures of an audit, as metrics.jsonl can be damaged."""
    parts = [record, *([record["adaptive"]] if "adaptive" in record else [])]
    return all(
        isinstance(part, Mapping) and isinstance(part.get("bits_per_byte"), float) and is_audit(part.get("audit"))
        for part in parts
    )


def is_audit(value: Any) -> bool:
    """Whether a value is what `evaluate.audit.Audit.record` makes."""
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("positions"), int) and isinstance(value.get("passed"), bool)


def lines(records: list[Record]) -> list[str]:
    """Each audited evaluation in words."""
    found = []
    for record in records:
        for name, part in (("", record), (", adaptive", record.get("adaptive"))):
            if part is not None:
                audit = part["audit"]
                outcome = "audit passed" if audit["passed"] else "AUDIT FAILED"
                what = f"{record['split']}{name}: {part['bits_per_byte']:.4f} bits per byte"
                found.append(f"{what}, {outcome} at {audit['positions']} positions")
    return found
