"""Runs the golden cases on an older commit and on this working tree, and prints what differs, to the last bit.

    scripts/golden COMMIT [CASE...] [KEY=JSON...]    cases by name or pattern; settings of this tree alone
    scripts/golden --write                           keeps the figures of this tree in figures.json

Both sides run this tree's `run_case.py`, each with its own package. Exits with 1 where anything differs.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from golden.cases import CASES
from golden.names import CHANGED

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(__file__).with_name("figures.json")
LOCAL = ("digest", "gradient_norm")  # endings of figures that differ by more than 1e-5 between processors
SHOWN = 8
Result = dict[str, Any]


def start(package: Path, folder: Path, cases: list[str], **settings: Any) -> subprocess.Popen[str]:
    """The cases in a process of their own, with the package of that tree."""
    paths = {f"FORETELL_{name}": str(folder / name) for name in ("CACHE", "STATE")}
    environment = os.environ | paths | {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{package}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "golden.run_case", folder, package]
    command.append(json.dumps({"cases": cases, "changes": {}, **settings}))
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def results(process: subprocess.Popen[str]) -> dict[str, Result]:
    """Their results; a case that failed has an "error" instead."""
    found = {result["name"]: result for result in map(json.loads, process.communicate()[0].splitlines())}
    return found if process.returncode == 0 else sys.exit("one side failed; what it said is above")


def compare(commit: str, cases: list[str], changes: Result) -> bool:
    """Print what differs in each case; whether anything does."""
    with tempfile.TemporaryDirectory(prefix="golden-") as made:
        tree = Path(made) / "tree"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", tree, commit], check=True)
        sides = [start(tree, tree, cases, old=True), start(ROOT, Path(made), cases, changes=changes)]
        try:
            old, new = map(results, sides)
        finally:
            for side in sides:
                side.kill()
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)
    wrong = 0
    for case in cases:
        found = differences(old[case], new[case])
        wrong += bool(found)
        print(f"{case:22}", f"{len(found)} DIFFERENCES" if found else f"{len(new[case]['figures'])} figures equal")
        print("".join(f"    {line}\n" for line in found[:SHOWN]), end="")
    print(f"{len(cases) - wrong} of {len(cases)} cases are equal to {commit}")
    return wrong > 0


def differences(old: Result, new: Result) -> list[str]:
    """Tensors are matched by what is in them, as their names may differ."""
    if errors := [f"{side}: {one['error']}" for side, one in (("old", old), ("new", new)) if "error" in one]:
        return errors
    tensors = [Counter(result["weights"].values()) for result in (old, new)]
    others = [name for name, content in new["weights"].items() if content not in tensors[0]]
    found = [f"tensors: {', '.join(others[:SHOWN]) or 'fewer'}"] if tensors[0] != tensors[1] else []
    for key in dict.fromkeys([*old["figures"], *new["figures"]]):
        before, after = (result["figures"].get(key) for result in (old, new))
        allowed = any(fnmatchcase(f"{new['name']} {key}", pattern) for pattern in CHANGED)
        if repr(before) != repr(after) and not allowed:
            found.append(f"{key}: {before} -> {after}")
    return found


def portable(figures: dict[str, float]) -> dict[str, float]:
    """The figures without what holds on one machine only."""
    return {key: float(f"{value:.8g}") for key, value in figures.items() if not key.endswith(LOCAL)}


def keep() -> None:
    """Write the figures of this tree to `figures.json`."""
    names = [case.name for case in CASES if case.portable]
    with tempfile.TemporaryDirectory() as folder:
        found = results(start(ROOT, Path(folder), names, short=True))
    if failed := [f"{name}: {result['error']}" for name, result in found.items() if "error" in result]:
        sys.exit("\n".join(failed))
    lines = [f" {json.dumps(name)}: {json.dumps(portable(result['figures']))}" for name, result in found.items()]
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and clean up
    if sys.argv[1:] == ["--write"]:
        keep()
    elif not (arguments := sys.argv[1:]) or arguments[0].startswith("-"):
        sys.exit(__doc__)
    else:
        changes = dict(item.split("=", 1) for item in arguments[1:] if "=" in item)
        patterns = [item for item in arguments[1:] if "=" not in item] or ["*"]
        names = [case.name for case in CASES if any(fnmatchcase(case.name, pattern) for pattern in patterns)]
        sys.exit(compare(arguments[0], names, {key: json.loads(value) for key, value in changes.items()}))
