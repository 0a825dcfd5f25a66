"""Known exceptions to the rules: `known.toml` counts them per rule and file.

    PYTHONPATH=tests python -m design.known           list all current violations
    PYTHONPATH=tests python -m design.known --shrink  update known.toml; refused if any rule has more than before

Only the total of a rule is enforced, so files can be moved or split without touching known.toml.
"""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from design.rules import RULES
from design.source import ROOT, Source, Violation, package

FILE = Path(__file__).with_name("known.toml")


def script(name: str) -> Any:
    """Import a file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def phrases(source: Source) -> Iterator[Violation]:
    """Phrases found by `scripts/phrases.py`."""
    lint = script("phrases")
    for path in (path for page in lint.PAGES for path in sorted(source.root.glob(page))):
        for line, phrase, hint in lint.phrases(path.read_text(encoding="utf-8"), path.suffix):
            yield Violation(path.relative_to(source.root).as_posix(), line, f"{phrase} -> {hint}")


ALL = RULES | {"phrases": phrases}


def known() -> dict[str, dict[str, int]]:
    """Number of known exceptions by rule and file."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def unknown(rule: str, violations: Sequence[Violation]) -> list[str]:
    """If a rule has more violations than known: those in files that exceed their count."""
    allowed = known().get(rule, {})
    if len(violations) <= sum(allowed.values()):
        return []
    found = Counter(violation.path for violation in violations)
    return [str(violation) for violation in violations if found[violation.path] > allowed.get(violation.path, 0)]


def main() -> int:
    source = package()
    violations = {rule: list(violations_of(source)) for rule, violations_of in ALL.items()}
    worse = [rule for rule, found in violations.items() if len(found) > sum(known().get(rule, {}).values())]
    if "--shrink" not in sys.argv:
        for rule, found in violations.items():
            print(f"# {rule}: {len(found)}, known {sum(known().get(rule, {}).values())}", *found, sep="\n")
    elif worse:
        print("more than before:", ", ".join(worse))
    else:
        tables = {rule: Counter(violation.path for violation in found) for rule, found in violations.items() if found}
        lines = [
            f"[{rule}]\n" + "".join(f'"{path}" = {n}\n' for path, n in sorted(t.items())) for rule, t in tables.items()
        ]
        FILE.write_text("\n".join(lines), encoding="utf-8")
    return len(worse) > 0


if __name__ == "__main__":
    sys.exit(main())
