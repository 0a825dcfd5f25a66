"""What is tried on foretell, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SECONDS = 20
"""of processor time that a command may take, and three times as many by the clock"""
CODES = (0, 1, 2, 130)
VARYING = re.compile(r"seconds|per_second|memory|^trained_tokens$|^run$|^file$|^store$|^corpus$|^command$|^started$")
"""keys of results that differ from one call to the next or with the place of the files; or that are what the log of a
training tells of its cost: metrics.jsonl, to which every step may add, has no checksum"""
INTERNAL = re.compile(r"run again with --debug|Traceback \(most recent call last\)|panicked at")
CLASS_NAME = re.compile(r"\b[A-Z]\w*(?:Error|Exception)\b:?")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Fifo:
    """A named pipe at which nobody writes."""


@dataclass(frozen=True)
class Sparse:
    """A file that is this long and takes no room."""

    bytes: int
    begin: bytes = b""


Content = bytes | Link | Fifo | Sparse


@dataclass(frozen=True)
class Case:
    """Files, and command lines that are called among them one after another."""

    about: str
    """what was done to the files, in a few words"""
    commands: tuple[tuple[str, ...], ...]
    base: str = ""
    """the folder of the seeds that is copied first"""
    files: Mapping[str, Content] = field(default_factory=dict)
    """what is then written, by path"""
    gone: tuple[str, ...] = ()
    """what is deleted before that"""
    stdin: bytes = b""
    well_formed: bool = True
    """whether the first parser (of JSON, TOML, UTF-8, options) has nothing to object to, by how the case was made"""
    same_as: str = ""
    """the commands whose figures have to come out, by their name in the seeds' figures; "": any"""
    damaged: str = ""
    """the file that was damaged: it has to be named, or to change nothing"""

    def __str__(self) -> str:
        lines = [self.about, *("foretell " + " ".join(map(repr, command)) for command in self.commands)]
        lines += [f"{path}: {content!r:.300}" for path, content in self.files.items()]
        return "\n".join([*lines, *(f"{path}: deleted" for path in self.gone)])


@dataclass(frozen=True)
class Answer:
    """What one command line came to."""

    code: int | None
    """negative: killed by that signal; None: stopped because it took too long"""
    stdout: str
    stderr: str
    seconds: float = 0.0
    processor: float = 0.0
    """seconds of processor time, those of children that have ended included"""
    peak: int = 0
    """bytes of memory, of the command or of the largest of these children"""
    place: str = ""
    """the type of the exception it ended in, and the innermost place in the package; or where it hung"""

    @property
    def accepted(self) -> bool:
        """Whether the command did what it was asked to do."""
        return self.code == 0

    def figures(self) -> Any:
        """The JSON it printed, without what differs from one call to the next."""
        return lasting(json.loads(self.stdout))


@dataclass(frozen=True)
class Fault:
    """What is wrong with an answer: `kind` and `place` name its cause."""

    kind: Literal["internal", "traceback", "hang", "crash", "message", "json", "figure", "unnamed", "memory"]
    place: str
    text: str

    @property
    def cause(self) -> str:
        """What faults are grouped by."""
        return f"{self.kind}: {self.place}"


def lasting(value: Any) -> Any:
    """A result without seconds, memory and paths."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if not VARYING.search(key)}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def faults(case: Case, answers: list[Answer], figures: Mapping[str, Any], memory: int = 0) -> Iterator[Fault]:
    """All that is wrong with the answers to a case; `memory`: the most that a command may take, 0 for any amount."""
    for command, answer in zip(case.commands, answers, strict=False):
        verb = command[0] if command else ""
        yield from own_faults(command, answer)
        if memory and answer.peak > memory:
            yield Fault("memory", verb, f"{answer.peak / 2**20:,.0f} MiB")
    last, verb = answers[-1], case.commands[-1][0] if case.commands[-1] else ""
    if case.damaged:
        yield from damage_faults(case, last, verb, figures)
    elif case.same_as and last.accepted and all(answer.accepted for answer in answers):
        if (found := first_difference(last, figures[case.same_as])) is not None:
            yield Fault("figure", f"{verb}, {case.about}", found)
    elif case.same_as and not last.code:
        yield Fault("figure", f"{verb}, {case.about}", "refused")


def damage_faults(case: Case, answer: Answer, verb: str, figures: Mapping[str, Any]) -> Iterator[Fault]:
    """A damaged file is named; or the figures are those of the sound one."""
    path = Path(case.damaged)
    names = [path.name, *([path.parent.name] if path.parent.name.startswith("step-") else [])]
    if any(name in answer.stderr for name in names) or answer.code is None:
        return
    if path.name == "checksums.json" and "does not match its checksum" in answer.stderr:
        return  # with another run's checksums any file may be the one that is not as it was
    if answer.accepted and case.same_as:
        if (found := first_difference(answer, figures[case.same_as])) is not None:
            yield Fault("figure", f"{verb} of a damaged {generic(case.damaged)}", found)
    elif not answer.accepted:
        yield Fault("unnamed", f"{verb} of a damaged {generic(case.damaged)}", answer.stderr[-300:])


def generic(path: str) -> str:
    """A path without numbers of steps and digests."""
    return re.sub(r"[0-9a-f]{16,}|\d{4,}", "…", path)


def first_difference(answer: Answer, figures: Any) -> str | None:
    """Where the figures of an answer differ; None where they do not."""
    try:
        found = answer.figures()
    except ValueError:
        return "no JSON"
    if found == figures:
        return None
    if isinstance(found, dict) and isinstance(figures, dict):
        keys = [key for key in figures if found.get(key) != figures[key]]
        key = keys[0] if keys else next(iter(found.keys() - figures.keys()))
        return f"{key} is {found.get(key)!r:.200}, not {figures.get(key)!r:.200}"
    return f"{found!r:.200} is not {figures!r:.200}"


def own_faults(command: tuple[str, ...], answer: Answer) -> Iterator[Fault]:
    """What no command line may ever do."""
    verb = command[0] if command else ""
    if answer.code is None:
        yield Fault("hang", answer.place or verb, f"stopped after {answer.seconds:.0f} s")
        return
    if answer.code not in CODES:
        yield Fault("crash", answer.place or verb, f"exit code {answer.code}: {answer.stderr[-300:]}")
        return
    if found := INTERNAL.search(answer.stderr):
        kind = "traceback" if found[0].startswith("Traceback") else "internal"
        yield Fault(kind, answer.place or last_line(answer.stderr), answer.stderr[-400:])
        return
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    said = answer.stderr.partition("error: ")[2]
    if answer.code and answer.code != 130 and verb != "doctor" and not said and not is_usage(answer):
        yield Fault("message", f"{verb}: none", f"exit code {answer.code} and no error: {answer.stderr[-300:]}")
    _, *listed = said.rstrip("\n").split("\n")
    if any(not line.startswith("  ") for line in listed) or len(errors) > 1:  # wrong lines of a file are listed below
        yield Fault("message", f"{verb}: several lines", answer.stderr[-400:])
    if CONTROL.search(said):
        yield Fault("message", f"{verb}: control characters", repr(said[-400:]))
    if found := CLASS_NAME.search(said):
        yield Fault("message", f"{verb}: {found[0]}", said[-400:])
    if "--json" in command and not is_one_object(answer) and "--" not in command:
        yield Fault("json", f"{verb}: {answer.code}", f"{answer.stdout[:300]!r}; {answer.stderr[-200:]}")


def is_one_object(answer: Answer) -> bool:
    """Whether stdout is one JSON object as the standard has it; usage errors may print none."""
    if not answer.stdout and is_usage(answer):
        return True
    try:
        return isinstance(json.loads(answer.stdout, parse_constant=refuse), dict)
    except ValueError:
        return False


def is_usage(answer: Answer) -> bool:
    """Whether it is an error in a box, as mistakes in options come."""
    return answer.code == 2 and ("Usage:" in answer.stderr or "─ Error ─" in answer.stderr)


def refuse(name: str) -> None:
    """JSON has no NaN and no infinity."""
    raise ValueError(name)


def last_line(text: str) -> str:
    """What stands on the last line, shortened, without numbers and quotations."""
    lines = text.strip().splitlines() or [""]
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", lines[-1])[:120]
