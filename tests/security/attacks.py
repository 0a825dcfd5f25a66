"""Runs as an attacker would send them, checksums made right: what each tries, and how it is opened."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import shutil
import struct
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from fuzz.cases import Fifo, Link, Sparse
from fuzz.running import write

from foretell.checksums import OWN, digest_of

Command = tuple[str, ...]
Change = Callable[[Path, Path], None]
"""of a run folder, where there is a secret outside of it"""
EVALUATE: Command = ("evaluate", "run", "--json")
GENERATE: Command = ("generate", "run", "--tokens", "3", "--json")
RESUME: Command = ("train", "run", "--resume", "--json")
SHOW: Command = ("show", "run")
LIST: Command = ("runs", ".")
OPENING = (EVALUATE, GENERATE, SHOW, ("doctor", "run"), RESUME)
REFUSED = frozenset({2})
HARMLESS = frozenset({0, 2})
"""it may be ignored as well as refused"""


@dataclass(frozen=True)
class Attack:
    """What is done to a run, and the commands that meet it, each by itself."""

    change: Change
    commands: tuple[Command, ...] = (EVALUATE,)
    base: str = "lm"
    codes: frozenset[int] = REFUSED


def seal(run: Path) -> None:
    """Make all checksums right, as whoever sends a run can."""
    for file in sorted(run.rglob("checksums.json"), key=lambda path: -len(path.parts)):
        if file.is_symlink() or not file.is_file() or file.stat().st_size > 1 << 20:
            continue
        try:
            found = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            continue
        for name in found["files"]:
            if (file.parent / name).is_file() and "/dev/" not in os.path.realpath(file.parent / name):
                found["files"][name] = digest(file.parent / name)
        file.write_text(json.dumps(found | {OWN: digest_of(found)}))


@functools.cache
def digest_of_sparse(begin: bytes, size: int) -> str:
    """The checksum of a file that is nearly all zeros."""
    found = hashlib.sha256(begin)
    zeros, left = bytes(1 << 20), size - len(begin)
    while left > 0:
        found.update(zeros[:left])
        left -= len(zeros)
    return found.hexdigest()


def digest(path: Path) -> str:
    """The checksum of a file."""
    size = path.stat().st_size
    if size <= 1 << 24:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        return digest_of_sparse(file.read(1), size)


# --- ways to change a run -------------------------------------------------------------------------


def recipe(**settings: Any) -> Change:
    """Settings of the recipe, by dotted names with `__` for the dot; `SECRET` becomes the path of the secret."""

    def change(run: Path, secret: Path) -> None:
        tree = tomllib.loads((run / "recipe.toml").read_text())
        for key, value in settings.items():
            *tables, last = key.split("__")
            holder = tree
            for name in tables:
                holder = holder.setdefault(name, {})
            holder[last] = json.loads(json.dumps(value).replace("SECRET", str(secret)))
        (run / "recipe.toml").write_text(tomli_w.dumps(tree))

    return change


def code(place: str) -> Change:
    """A class from outside at a place of the recipe, beside a module that would be found."""

    def change(run: Path, secret: Path) -> None:
        recipe(**{place: {"kind": "evil:Config"}})(run, secret)
        for folder in (run, run.parent):
            (folder / "evil.py").write_text(payload(secret))

    return change


def payload(secret: Path) -> str:
    """A module that shows that it ran."""
    return f"open({str(secret.parent / 'executed')!r}, 'w').close()\nraise SystemExit(0)\n"


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, secret: Path):
        self.secret = secret

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.secret.parent / 'executed'}",)


def checkpoints(run: Path) -> list[Path]:
    """The folders of checkpoints."""
    return sorted((run / "checkpoints").glob("step-*"))


def instead(name: str, content: Any) -> Change:
    """Another thing in the place of a file: "*" stands for each checkpoint."""

    def change(run: Path, secret: Path) -> None:
        made = content(secret) if callable(content) else content
        for place in [run / name] if "*" not in name else [path / name.rpartition("/")[2] for path in checkpoints(run)]:
            write(place, made)

    return change


def record(**facts: Any) -> Change:
    """Facts in the records of all checkpoints."""

    def change(run: Path, secret: Path) -> None:
        for place in checkpoints(run):
            found = json.loads((place / "record.json").read_text())
            made = json.loads(json.dumps(facts).replace("SECRET", str(secret)))
            (place / "record.json").write_text(json.dumps(found | made))

    return change


def named(name: str) -> Change:
    """Checksums of a file that lies elsewhere."""

    def change(run: Path, secret: Path) -> None:
        for folder in (run, *checkpoints(run)):
            file = folder / "checksums.json"
            found = json.loads(file.read_text())
            digest = hashlib.sha256(secret.read_bytes()).hexdigest()
            found["files"][name.replace("SECRET", str(secret))] = digest
            file.write_text(json.dumps(found))

    return change


def pointed(to: str) -> Change:
    """`best` and `last` name another place, where there is a whole checkpoint."""

    def change(run: Path, secret: Path) -> None:
        outside = secret.parent / "step-00000099"
        shutil.copytree(checkpoints(run)[-1], outside)
        for name in ("best", "last"):
            (run / "checkpoints" / f"{name}.json").write_text(
                json.dumps({"checkpoint": to.replace("OUTSIDE", str(outside)), "step": 6, "weights": "raw"})
            )
        record(pointers={name: {"checkpoint": to.replace("OUTSIDE", str(outside))} for name in ("best", "last")})(
            run, secret
        )

    return change


def linked(name: str) -> Change:
    """A folder that is a link to a whole one outside."""

    def change(run: Path, secret: Path) -> None:
        place = run / name if name == "checkpoints" else checkpoints(run)[-1]
        outside = secret.parent / place.name
        shutil.move(place, outside)
        place.symlink_to(outside)

    return change


def all_of(*changes: Change) -> Change:
    """Several at once."""

    def change(run: Path, secret: Path) -> None:
        for one in changes:
            one(run, secret)

    return change


def header(size: int, text: bytes = b"{}") -> bytes:
    """The beginning of a safetensors file."""
    return struct.pack("<Q", size) + text


HUGE = b'{"w":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4000000000000000000]}}'
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
DIGITS = b'{"step":' + b"9" * 6000 + b"}"
NPY = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,), }" + b" " * 50 + b"\n"


def pickled_array(secret: Path) -> bytes:
    """A NumPy file whose numbers are a pickle."""
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(head))
        + head
        + pickle.dumps(np.array([Bomb(secret)], dtype=object))
    )


def tokenizer(**parts: Any) -> Change:
    """Parts of tokenizer.json."""

    def change(run: Path, secret: Path) -> None:
        found = json.loads((run / "tokenizer.json").read_text())
        made = json.loads(json.dumps(parts).replace("SECRET", str(secret)))
        (run / "tokenizer.json").write_text(json.dumps(found | made))

    return change


def vocabulary(word: str, number: int) -> Change:
    """Another word in the vocabulary."""

    def change(run: Path, secret: Path) -> None:
        found = json.loads((run / "tokenizer.json").read_text())
        found["model"]["vocab"][word] = number
        (run / "tokenizer.json").write_text(json.dumps(found))

    return change


def labels(*names: str) -> Change:
    """Other names of classes."""

    def change(run: Path, secret: Path) -> None:
        found = json.loads((run / "labels.json").read_text())
        made = list(names)
        (run / "labels.json").write_text(
            json.dumps(made if isinstance(found, list) else {**found, next(iter(found)): made})
        )

    return change


def metrics(line: bytes) -> Change:
    """Another record at the end."""

    def change(run: Path, secret: Path) -> None:
        with (run / "metrics.jsonl").open("ab") as file:
            file.write(line + b"\n")

    return change


PREDICT: Command = ("predict", "run", "pairs.tsv")
REDOS = {"type": "Split", "pattern": {"Regex": "(a|a)*(a|aa)*$b"}, "behavior": "Isolated", "invert": False}

FILES = (
    "recipe.toml",
    "tokenizer.json",
    "metrics.jsonl",
    "checksums.json",
    "checkpoints/*/model.safetensors",
    "checkpoints/*/record.json",
    "checkpoints/*/checksums.json",
    "token-counts.npy",
)

ATTACKS: dict[str, Attack] = {
    # code
    **{
        f"a class from outside as {place.replace('__', '.')}": Attack(code(place), OPENING)
        for place in (
            "model",
            "head",
            "objective",
            "optimizer",
            "schedule",
            "averaging",
            "model__cell",
            "data__batches",
        )
    },
    "a class from outside as data.tokenizer": Attack(code("data__tokenizer"), OPENING),
    "a class from outside as data.reader": Attack(code("data__reader"), OPENING, "task"),
    "a class from outside in a stage": Attack(
        all_of(
            code("data__tokenizer"), recipe(stages=[{"name": "a", "limit": "1steps", "set": {"model.kind": "evil:C"}}])
        ),
        OPENING,
    ),
    "a module that does something when it is imported": Attack(recipe(model={"kind": "antigravity:X"}), OPENING),
    "the module that is running": Attack(recipe(model={"kind": "__main__:X"}), OPENING),
    "a package's __main__": Attack(recipe(model={"kind": "venv.__main__:X"}), OPENING),
    "a function of the system": Attack(recipe(model={"kind": "os:system"}), OPENING),
    "pickled weights": Attack(instead("checkpoints/*/model.safetensors", lambda secret: pickle.dumps(Bomb(secret)))),
    "a pickled optimiser": Attack(
        instead("checkpoints/*/optimizer.safetensors", lambda secret: pickle.dumps(Bomb(secret))), (RESUME,)
    ),
    "pickled counts": Attack(instead("token-counts.npy", pickled_array)),
    # paths
    "a corpus that is a file of the user's": Attack(
        recipe(data__corpus={"train": "SECRET", "valid": "SECRET", "test": "SECRET"}), (EVALUATE, RESUME)
    ),
    "a corpus that is /etc/passwd": Attack(
        recipe(data__corpus={"train": "/etc/passwd", "valid": "/etc/passwd", "test": "/etc/passwd"}), (EVALUATE, RESUME)
    ),
    "a corpus of the hub": Attack(recipe(data__corpus="hf:someone/data"), (EVALUATE, RESUME)),
    "a labelled set that is a file of the user's": Attack(
        recipe(data__corpus={"train": "SECRET", "valid": "SECRET", "test": "SECRET"}), (EVALUATE, RESUME), "task"
    ),
    "a tokenizer outside": Attack(
        recipe(data__tokenizer={"kind": "file", "path": "SECRET"}), (EVALUATE, GENERATE, RESUME), codes=HARMLESS
    ),
    "init from a folder outside": Attack(recipe(init="SECRET"), (RESUME, EVALUATE)),
    "init from the hub": Attack(recipe(init="hf:someone/model"), (RESUME, EVALUATE)),
    "best.json and last.json above the run": Attack(
        pointed("../../outside/step-00000099"), (EVALUATE, RESUME), codes=HARMLESS
    ),
    "best.json and last.json with absolute paths": Attack(pointed("OUTSIDE"), (EVALUATE, RESUME), codes=HARMLESS),
    "frozen weights above the run": Attack(record(frozen="../../../outside/secret.txt"), (GENERATE, RESUME)),
    "frozen weights with an absolute path": Attack(record(frozen="SECRET"), (GENERATE, RESUME)),
    "checksums of a file above the run": Attack(named("../../outside/secret.txt"), (GENERATE, RESUME)),
    "checksums of a file by its absolute path": Attack(named("SECRET"), (GENERATE, RESUME)),
    "checkpoints are a link": Attack(linked("checkpoints"), (GENERATE, RESUME)),
    "a checkpoint is a link": Attack(linked("step"), (GENERATE, RESUME), codes=HARMLESS),
    **{
        f"{name} is a link": Attack(
            instead(name, lambda secret: Link(str(secret))), (GENERATE, EVALUATE, LIST, RESUME), codes=HARMLESS
        )
        for name in (*FILES, "environment.json")
    },
    # what never ends
    **{
        f"{name} is a pipe": Attack(instead(name, Fifo()), (GENERATE, SHOW, LIST, RESUME), codes=HARMLESS)
        for name in FILES
    },
    **{
        f"{name} has no end": Attack(instead(name, Link("/dev/zero")), (GENERATE, LIST, RESUME), codes=HARMLESS)
        for name in ("recipe.toml", "metrics.jsonl", "checksums.json", "checkpoints/*/checksums.json")
    },
    # sizes
    "a vector of a billion numbers": Attack(recipe(model__hidden=10**9), OPENING),
    "ten million layers": Attack(recipe(model__layers=10**7), OPENING),
    "an embedding of a billion numbers": Attack(recipe(model__embedding_dim=10**9), OPENING),
    "a header of an exabyte": Attack(instead("checkpoints/*/model.safetensors", header(2**60)), (GENERATE, RESUME)),
    "a header that promises an exabyte": Attack(
        instead("checkpoints/*/model.safetensors", header(len(HUGE), HUGE)), (GENERATE,)
    ),
    "counts of a trillion words": Attack(instead("token-counts.npy", NPY), (GENERATE,)),
    **{
        f"{name} of three gigabytes": Attack(
            instead(name, Sparse(3 << 30, b"{")), (GENERATE, LIST, SHOW), codes=HARMLESS
        )
        for name in (
            "recipe.toml",
            "tokenizer.json",
            "metrics.jsonl",
            "checksums.json",
            "checkpoints/*/record.json",
            "environment.json",
        )
    },
    "labels of three gigabytes": Attack(instead("labels.json", Sparse(3 << 30, b"[")), (PREDICT,), "task"),
    # parsers
    **{
        f"{name} nested a hundred thousand deep": Attack(instead(name, DEEP), (GENERATE, LIST, SHOW), codes=HARMLESS)
        for name in (
            "tokenizer.json",
            "metrics.jsonl",
            "checksums.json",
            "checkpoints/*/record.json",
            "checkpoints/*/checksums.json",
        )
    },
    "a number of six thousand digits": Attack(instead("checkpoints/*/record.json", DIGITS), (GENERATE, RESUME)),
    "a record of six thousand digits": Attack(metrics(DIGITS), (LIST, SHOW), codes=HARMLESS),
    "a word with the number two to the power of 31": Attack(vocabulary("cat", 2**31), (GENERATE, RESUME)),
    "a word with the number four billion": Attack(vocabulary("cat", 2**32 - 2), (GENERATE, RESUME)),
    "an expression that takes for ever": Attack(
        tokenizer(pre_tokenizer=REDOS), (("score", "run", "long.txt", "--json"), GENERATE), codes=HARMLESS
    ),
    # the terminal
    "escapes in the name of the recipe": Attack(
        recipe(name="\x1b]0;x\x07\x1b[31mred"), (LIST, SHOW, *OPENING), codes=HARMLESS
    ),
    "escapes in a kind": Attack(recipe(model={"kind": "\x1b[31m:x"}), OPENING),
    "escapes in a corpus": Attack(recipe(data__corpus="\x1b[31mred"), (EVALUATE, RESUME)),
    "escapes in records": Attack(
        metrics(b'{"kind": "valid", "step": 9, "stage": "\\u001b[31m", "loss": 1.0}'),
        (LIST, SHOW, ("doctor", "run")),
        codes=HARMLESS,
    ),
    "escapes in a file's name": Attack(instead("\x1b[31m.safetensors", b""), OPENING, codes=HARMLESS),
    "labels with escapes": Attack(labels("a\x1b[31m", "b"), (PREDICT,), "task", codes=HARMLESS),
    "labels with ends of lines and tabs": Attack(labels("a\nb", "c\td"), (PREDICT,), "task", codes=HARMLESS),
}
