"""The run folder, in which a training keeps its results.

    recipe.toml        the resolved recipe        environment.json   versions, machine, command
    tokenizer.json     the run's own tokenizer    metrics.jsonl      one record per line, training and validation
    token-counts.npy   of the training split      checkpoints/       see `training.checkpoint`
    labels.json        those of a task            checksums.json     of the files above except metrics.jsonl

A run is self-contained: with this folder alone it can be opened and measured and, given its text, trained further.
`checksums.json` also holds the `format` of the run, the `id` that its checkpoints carry, the steps of the last and the
best checkpoint (`saved`), the fingerprint of each corpus it was trained on (`corpus_fingerprint`), the signature of its
recipe (see `trust`), and which probabilities of an imported n-gram model do not sum to 1 (`unnormalised`). A file is
part of the run once its checksum is there. Everything appears whole or not at all (see `artifacts`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from foretell.artifacts import (
    exclusive,
    is_draft,
    is_free,
    naming,
    remove_all_dead_drafts,
    whole_folder,
    without_nan,
    write_atomic,
    write_json,
)
from foretell.checksums import FILE, damaged, digest, plain_file, read_checksums, verify, write_checksums
from foretell.errors import ConfigError
from foretell.hub import local
from foretell.run_names import RECIPE, no_run
from foretell.strict_json import JsonObject
from foretell.trust import foreign, is_own, sign, trusts_everything

Record = dict[str, Any]
FORMAT = 3
"""of run folders; a change that an older version would misread makes it one more"""
METRICS = "metrics.jsonl"
BEFORE_TRAINING = ("callbacks", "clock", "init")
"""kinds of records written before the first step"""
LONGEST_RECORD = 1 << 20
"""bytes of a line of metrics.jsonl"""
NUMBERS = (
    *("epoch", "tokens", "seconds", "tokens_per_second", "gradient_norm", "learning_rate"),
    *("loss", "objective_loss", "perplexity", "bits_per_byte"),
)
"""optional figures of a record"""
REQUIRED = {"train": ("stage", "epoch", "tokens", "seconds"), "fit": ("stage", "tokens", "seconds")}
"""keys that records of a kind always have"""


class Run:
    """A run folder, open for reading or writing."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.checksums: Record = {}
        """the contents of `checksums.json`, once read or written"""
        self.trust = False
        """whether the user trusts it, though it may have been made elsewhere"""

    @classmethod
    def create(cls, path: Path | str, *, recipe: str, resume: bool) -> Run:
        """A run folder for a recipe; one that exists is an error unless it is to be resumed with the same recipe, or
        nothing was saved in it yet."""
        run = cls(path)
        if run.checksums_file.exists() and resume:
            run.verify()
            before = run.recipe_file.read_text(encoding="utf-8")
            if before != recipe:
                raise ConfigError(
                    f"{run.path} was started with other settings ({difference(before, recipe)}); "
                    "resume it without overrides, or choose another --out"
                )
            remove_all_dead_drafts(run.path)
        else:
            run.make_room(resume)
            run.path.mkdir(parents=True, exist_ok=True)
            write_json(run.environment_file, environment())  # the first, by which `make_room` knows a start of ours
            write_atomic(run.recipe_file, recipe.encode())
            facts = {"format": FORMAT, "id": secrets.token_hex(16), "signature": sign(recipe.encode())}
            run.checksums = {**facts, "saved": {}, "files": {}}
            run.seal(run.recipe_file, run.environment_file)
        run.checkpoints.mkdir(exist_ok=True)
        return run

    @classmethod
    @contextlib.contextmanager
    def whole(cls, path: Path | str, *, recipe: str) -> Iterator[Run]:
        """A new run to fill, which is at `path` when the block ends well, checkpoint and all, and else not at all."""
        if not is_free(Path(path)):
            raise ConfigError("exists", file=path, remedy="choose another --out")
        try:
            with whole_folder(Path(path)) as draft:
                yield cls.create(draft, recipe=recipe, resume=False)
        except OSError as problem:
            if problem.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another process was first
                raise ConfigError("exists", file=path, remedy="choose another --out") from None
            raise

    def make_room(self, resume: bool) -> None:
        """Delete the files of a start that saved nothing; raise `ConfigError` if the folder holds anything else."""
        if self.path.exists():
            self.check_room(resume)
            self.clear()

    def check_room(self, resume: bool = False) -> None:
        """Raise `ConfigError` if the folder holds anything but the files of a start that saved nothing."""
        self.check_folder()
        names = {item.name for item in self.path.iterdir() if not is_draft(item)} if self.path.exists() else set()
        if FILE in names:
            if not self.read().was_saved and not any(self.checkpoints.glob("step-*")):
                return
            raise ConfigError(f"{self.path} exists; add --resume to continue it, or choose another --out")
        # checksums.json is written last: before it, a start of ours leaves these two, or the first of them
        if names and not (names <= {RECIPE, self.environment_file.name} and self.environment_file.exists()):
            if resume and RECIPE in names:
                self.read()  # which says what is wrong with it
            raise ConfigError(f"{self.path} exists and is not a run; choose another --out")

    def check_folder(self) -> None:
        """Raise `ConfigError` if there is a file where the folder is to be."""
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} exists and is not a run; choose another --out")

    def clear(self) -> None:
        """Delete the files of the run, and the folder if nothing else is in it. The user's own files stay."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        marks = (self.checksums_file, self.recipe_file, self.environment_file)  # last: `make_room` knows a run by them
        sealed = [self.path / Path(name).name for name in self.checksums.get("files", ())]
        for file in [*(file for file in sealed if file not in marks), self.metrics_file, *marks]:
            file.unlink(missing_ok=True)
        remove_all_dead_drafts(self.path)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def discard_if_empty(self) -> None:
        """Delete a run in which nothing was trained, so that it does not block a corrected start."""
        if self.checksums and not self.was_saved and all(r["kind"] in BEFORE_TRAINING for r in self.metrics()):
            self.clear()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the run against training or deletion by other processes; a `ConfigError` if it is locked."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.check_folder()
        with contextlib.ExitStack() as held:
            for patience in (0.1, 0.3, 0):  # `is_busy` holds the lock for an instant
                try:
                    held.enter_context(exclusive(self.path, wait=False))
                    break
                except BlockingIOError:
                    time.sleep(patience)
            else:
                raise ConfigError(
                    f"{self.path} is being trained by another process; wait for it or stop it, or choose another --out"
                )
            yield

    def is_busy(self) -> bool:
        """Whether a process is training or deleting the run."""
        try:
            with exclusive(self.path, wait=False):
                return False
        except BlockingIOError:
            return True

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """An existing run folder with verified files; a `ConfigError` names the first damaged one."""
        return cls.find(path).verify()

    @classmethod
    def find(cls, path: Path | str) -> Run:
        """An existing run folder, or a run on the hub, without verifying its files."""
        run = cls(local(path))
        if not run.recipe_file.exists() and not run.checksums_file.exists():
            raise no_run(run.path)
        return run.read()

    # --- checksums --------------------------------------------------------------------------------

    def read(self) -> Run:
        """Read `checksums.json`; a `ConfigError` where it is missing, damaged or of an older format."""
        found = read_checksums(self.path, FORMAT)
        facts = JsonObject(found, self.checksums_file)
        saved = facts.inner("saved")
        self.checksums = found | {
            "id": facts.text("id"),
            "saved": {which: saved.integer(which, least=0) for which in saved},
            "resumed": facts.entries("resumed", []),
            "corpus_fingerprint": dict(facts.inner("corpus_fingerprint", {})),
        }
        return self

    @property
    def facts(self) -> Record:
        """The contents of `checksums.json`, read when first needed; empty in a folder that is not a run."""
        if not self.checksums and self.checksums_file.exists():
            self.read()
        return self.checksums

    @property
    def id(self) -> str:
        """The random name that binds checkpoints to this run."""
        return str(self.facts.get("id", ""))

    def verify(self) -> Run:
        """Read `checksums.json`, and verify the files."""
        files = self.read().checksums["files"]
        if RECIPE not in files:
            raise damaged(self.checksums_file)
        verify(self.path, files)
        return self

    def seal(self, *files: Path) -> None:
        """Make files part of the run, with checksums of their present contents."""
        self.checksums["files"] |= {file.name: digest(file) for file in files}
        write_checksums(self.path, **self.checksums)

    def holds(self, file: Path) -> bool:
        """Whether that file of the folder is part of the run."""
        return file.name in self.checksums.get("files", ())

    def note(self, **facts: Any) -> None:
        """Keep facts in `checksums.json`."""
        if any(self.checksums.get(key) != value for key, value in facts.items()):
            self.checksums |= facts
            self.seal()

    def note_resumed(self) -> None:
        """Record the machine, versions and time of a resumption."""
        self.note(resumed=[*self.checksums.get("resumed", ()), environment()])

    def note_saved(self, saved: Mapping[str, int]) -> None:
        """Record the steps of the last and the best checkpoint, once they are on disk."""
        if self.facts:
            self.note(saved=dict(saved))

    @property
    def saved(self) -> dict[str, int]:
        """The steps of the `last` and the `best` checkpoint that were saved, whether they are still there or not."""
        return dict(self.facts.get("saved", {}))

    @property
    def was_saved(self) -> bool:
        """Whether a checkpoint was ever saved, even if it no longer exists."""
        return bool(self.saved)

    @property
    def unnormalised(self) -> str:
        """Which probabilities of an imported n-gram model do not sum to 1; "" if all do."""
        found = self.checksums.get("unnormalised", "")
        return found if isinstance(found, str) else ""

    @property
    def is_trusted(self) -> bool:
        """Whether its recipe may name code and files: it was made here, or the user said `--trust`."""
        return (
            self.trust or trusts_everything() or is_own(self.recipe_file.read_bytes(), self.checksums.get("signature"))
        )

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Trust files read within the block as far as the run is trusted."""
        with contextlib.nullcontext() if self.is_trusted else foreign():
            yield

    def corpus_fingerprint(self, corpus: str | Mapping[str, str]) -> dict[str, str]:
        """The fingerprint of each split of a corpus as recorded by the run; empty if it has no record."""
        found = self.facts.get("corpus_fingerprint", {}).get(corpus_key(corpus))
        return dict(found) if isinstance(found, dict) else {}

    def keep_corpus_fingerprint(self, corpus: str | Mapping[str, str], splits: Mapping[str, str]) -> None:
        """Remember the fingerprint of each split of a corpus, or refuse another text than that which was learned from.

        What is for measuring alone may change.
        """
        known = self.corpus_fingerprint(corpus)
        if changed := [name for name in ("train", "valid") if name in known and known[name] != splits.get(name)]:
            raise ConfigError(
                f"the {' and the '.join(changed)} text of {corpus_key(corpus)} has changed since this run began",
                file=self.path,
                remedy=f"restore it, or start a new run from this one: init={self.path}",
            )
        every = self.facts.get("corpus_fingerprint", {})
        self.note(corpus_fingerprint=every | {corpus_key(corpus): dict(splits) | known})

    # --- files ------------------------------------------------------------------------------------

    @property
    def checksums_file(self) -> Path:
        """The checksums of the other files."""
        return self.path / FILE

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe."""
        return self.path / RECIPE

    @property
    def environment_file(self) -> Path:
        """Versions, machine and command of the start."""
        return self.path / "environment.json"

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer."""
        return self.path / "tokenizer.json"

    @property
    def counts_file(self) -> Path:
        """How often each token occurs in the training split; a model that is counted itself has none."""
        return self.path / "token-counts.npy"

    @property
    def labels_file(self) -> Path:
        """The names of what a task may say; a language model has none."""
        return self.path / "labels.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_file(self) -> Path:
        """The records, one JSON object a line."""
        return self.path / METRICS

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl, after the end of a line that was cut off."""
        with naming(self.metrics_file), self.metrics_file.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            line = b"" if file.read(1) in (b"", b"\n") else b"\n"
            file.write(line + json.dumps(without_nan(record)).encode() + b"\n")

    def metrics(self) -> Iterator[Record]:
        """The records so far; lines that are not records, such as a truncated last one, are skipped."""
        if not self.metrics_file.exists():
            return
        with plain_file(self.path, METRICS).open("rb") as file:
            while (line := file.readline(LONGEST_RECORD)) and len(line) < LONGEST_RECORD:
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if is_record(record):
                    yield record

    def rewind(self, step: int) -> None:
        """Drop the records after a step: training from its checkpoint writes them again."""
        kept = [json.dumps(record) + "\n" for record in self.metrics() if record["step"] <= step]
        write_atomic(self.metrics_file, "".join(kept).encode())


def corpus_key(corpus: str | Mapping[str, str]) -> str:
    """A corpus as a recipe names it, in one line."""
    return corpus if isinstance(corpus, str) else json.dumps(dict(corpus), ensure_ascii=False, sort_keys=True)


def is_record(value: Any) -> TypeGuard[Record]:
    """Whether a value is a record: it has a step and a kind, and its figures are numbers."""
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or not isinstance(value.get("step"), int):
        return False
    if not isinstance(value.get("stage", ""), str) or not isinstance(value.get("metric"), str | None):
        return False
    figures = [value["step"], *(value.get(name) for name in (*NUMBERS, value.get("metric")))]
    if not all(figure is None or is_number(figure) for figure in figures):
        return False
    return all(value.get(name) is not None for name in REQUIRED.get(value["kind"], ()))


def is_number(value: object) -> bool:
    """Whether a value is a number that fits 64 bits."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 1 << 63
    return isinstance(value, float)


def judged(measured: Mapping[str, Any]) -> float:
    """The figure that validations are compared by; less is better.

    It is the loss per token of text, the loss of the objective for models that give text no probability, or 1 minus the
    metric of a task. Infinite if unknown or NaN, so that it is never the best.
    """
    metric = measured.get("metric")
    if metric is not None:
        found = measured.get(metric)
        loss = None if found is None else 1.0 - found
    else:
        loss = measured.get("objective_loss") if measured.get("loss") is None else measured["loss"]
    return math.inf if loss is None or math.isnan(loss) else float(loss)


def difference(before: str, after: str) -> str:
    """The first line in which two recipes differ, shortened: enough to see which setting it is."""
    old = set(before.splitlines())
    new = [line for line in after.splitlines() if line not in old]
    return (new[0] if new else "some are gone")[:80]


def environment() -> Record:
    """Versions, machine and command, to understand figures later."""
    import numpy
    import torch

    return {
        "foretell": __import__("foretell").__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def processor() -> str:
    """The name of the processor, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def free_space(path: Path) -> int:
    """Bytes free where `path` is."""
    return shutil.disk_usage(path).free
