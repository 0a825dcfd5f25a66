"""Audited evaluations of a run, kept among its records: its card and `show` have them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from foretell.data.files import SPLITS, tell
from foretell.evaluate.audit import TOLERANCES
from foretell.run import Record, Run

FIGURES = ("loss", "bits_per_byte", "lossy", "audit")
MOST = 1e4
"""bits per byte beyond which a figure is nonsense"""


def passed(result: Mapping[str, Any]) -> bool:
    """Whether an evaluation passed all its audits."""
    return all(part["audit"]["passed"] for part in (result, result.get("adaptive", {})) if "audit" in part)


def keep(run: Run | None, result: Mapping[str, Any]) -> None:
    """Append an audited evaluation of a split of its corpus to a run's records, unless it is there."""
    if run is None or result["split"] not in SPLITS:
        return
    file = run.metrics_file
    if file.is_symlink() or not os.access(file, os.W_OK):
        return tell(f"the audit is not kept in the run, as {file} cannot be written")
    record = {"kind": "audit", "step": result.get("step", 0), "split": result["split"], **figures(result)}
    record |= {"adaptive": figures(result["adaptive"])} if "adaptive" in result else {}
    if record not in kept(run, record["step"]):
        run.append(record)


def figures(result: Mapping[str, Any]) -> Record:
    """The figures of a result that are kept."""
    return {name: result[name] for name in FIGURES if name in result}


def kept(run: Run, step: int) -> list[Record]:
    """The last audited evaluation of each split at a step, in the order of the splits."""
    sound = [record for record in run.metrics() if is_audit(record) and record["step"] == step]
    last = {record["split"]: record for record in sound}
    return [last[split] for split in SPLITS if split in last]


def is_audit(record: Record) -> bool:
    """Whether a record is one of `keep`, as metrics.jsonl can be damaged."""
    adaptive = [record["adaptive"]] if "adaptive" in record else []
    return record["kind"] == "audit" and record.get("split") in (*SPLITS,) and all(map(is_sound, [record, *adaptive]))


def is_sound(part: Any) -> bool:
    """Whether a part of a record has the figures of an audit."""
    if not isinstance(part, Mapping) or not isinstance(audit := part.get("audit"), Mapping):
        return False
    bits, positions, outcome = part.get("bits_per_byte"), audit.get("positions"), audit.get("passed")
    errors = [audit.get(name) for name in ("max_sum_error", "max_recompute_error")]
    counted = isinstance(positions, int) and not isinstance(positions, bool) and 0 < positions < 1 << 40
    small = all(isinstance(error, float) and 0 <= error <= max(TOLERANCES.values()) for error in errors)
    return counted and isinstance(bits, float) and 0 <= bits < MOST and isinstance(outcome, bool) and small >= outcome


def lines(records: list[Record]) -> list[str]:
    """Each audited evaluation in words."""
    found = []
    for record in records:
        for name, part in (("", record), (", adaptive", record.get("adaptive"))):
            if part is not None:
                audit = part["audit"]
                outcome = "lossy, " * (part.get("lossy") is True)
                outcome += "audit passed" if audit["passed"] else "AUDIT FAILED"
                what = f"{record['split']}{name}: {part['bits_per_byte']:.4f} bits per byte"
                found.append(f"{what}, {outcome} at {audit['positions']} positions")
    return found
