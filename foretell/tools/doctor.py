"""What is wrong with this installation, a corpus or a run, and what to do about it.

Every examination is a plain dictionary with `findings`: each has a level (ok, warning, error), what
it is about, what was found, and what to do. Nothing that is examined is changed.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from safetensors import SafetensorError, safe_open

import foretell
from foretell import allocator
from foretell.api import run_recipe
from foretell.config import ConfigError, Tree
from foretell.data import reading
from foretell.data.builtin import BUILTIN, open_builtin, topics
from foretell.data.corpus import SPLITS, Corpus, Files, Share, Texts, byte_length, open_corpus
from foretell.data.encoding import load_tokenizer
from foretell.data.store import cache_folder, prepare
from foretell.data.tokenizer import ByteConfig
from foretell.data.writing import META
from foretell.recipe import Recipe, load_recipe
from foretell.run import Run, free_space, processor
from foretell.tools.show import readable
from foretell.training.checkpoint import Checkpoint, digest
from foretell.training.trainer import weights

TORCH_FROM, TORCH_BELOW = (2, 11), (2, 14)  # as pyproject.toml has it
LITTLE = 2 << 30  # bytes of disk or memory
SAMPLE = 32 << 20  # bytes of each split that are looked at
LEAST = 20  # characters of a line that does not come back by chance
ROOM = 500_000  # hashes or words kept at once
SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "KMP_BLOCKTIME", "LD_PRELOAD")


def check(good: bool, about: str, text: str, do: str, level: str = "warning") -> Tree:
    """A finding; what to do is said where it is not good."""
    return (
        {"level": "ok", "about": about, "text": text, "do": ""}
        if good
        else {"level": level, "about": about, "text": text, "do": do}
    )


# --- the machine ----------------------------------------------------------------------------------


def examine_machine(quick: bool = False) -> Tree:
    """This installation: versions, hardware, data, cache, its speed, and a training in miniature.

    Takes about 10 seconds at most; `quick` about 3, with figures of speed that are rougher.
    """
    names = ("torch", "numpy", "tokenizers", "pydantic", "safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a driver it cannot use: `devices` tells
        graphics = devices()
    result: Tree = {
        "what": "machine",
        "versions": {"foretell": foretell.__version__, "python": platform.python_version()}
        | {name: version(name) for name in names},
        "machine": machine(),
        "devices": graphics,
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ}
        | {"allocator keeps memory": allocator.active()},
        "data": {name: whereabouts(name) for name in BUILTIN},
        "cache": {
            "folder": str(cache_folder()),
            "bytes": sum(f.stat().st_size for f in cache_folder().rglob("*") if f.is_file()),
        },
        "speed": speed(0.15 if quick else 0.6),
        "self_test": self_test(20 if quick else 60),
    }
    return result | {"findings": machine_findings(result)}


def machine() -> Tree:
    """Processor, cores, threads, memory and disk; limits of a container count."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit():
        cores = max(1, min(cores, math.ceil(int(quota) / int(period))))
    known = {k: int(v) << 10 for k, v in re.findall(r"(\w+):\s+(\d+) kB", read("/proc/meminfo"))}
    total, available = known.get("MemTotal"), known.get("MemAvailable")
    limit = read("/sys/fs/cgroup/memory.max").strip()
    if limit.isdigit() and total and available and int(limit) < total:
        used = int(read("/sys/fs/cgroup/memory.current") or 0)
        total, available = int(limit), min(available, int(limit) - used)
    places = (Path.cwd(), cache_folder())
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_bytes": total,
        "memory_available_bytes": available,
        "disk_free_bytes": {str(place): free_space(existing(place)) for place in places},
    }


def read(path: str) -> str:
    """A small file of the system; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def devices() -> list[Tree]:
    """The accelerators that torch can use."""
    found = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts, (free, total) = torch.cuda.get_device_properties(number), torch.cuda.mem_get_info(number)
        memory = {"memory_bytes": total, "memory_free_bytes": free}
        found.append({"name": facts.name, **memory, "bf16": facts.major >= 8})
    return found


def whereabouts(name: str) -> str:
    """`found`, or where to put which files of a built-in corpus."""
    try:
        return "found" if name == BUILTIN[0] or open_builtin(name) else ""
    except ConfigError as problem:
        return str(problem).partition(": ")[2]


def speed(seconds: float) -> list[Tree]:
    """The rate of matrix products and of copying memory, in fp32 and, on accelerators, bf16."""
    places = [("cpu", torch.float32, 1024, 1 << 24)]
    if torch.cuda.is_available():
        places += [("cuda", kind, 8192, 1 << 28) for kind in (torch.float32, torch.bfloat16)]
    found = []
    for device, dtype, width, numbers in places:
        a = torch.ones(width, width, device=device, dtype=dtype)
        source = torch.ones(numbers, device=device, dtype=dtype)
        target = torch.empty_like(source)
        product = fastest(partial(torch.matmul, a, a), seconds, device)
        copy = fastest(partial(target.copy_, source), seconds, device)
        moved = 2 * numbers * dtype.itemsize  # read and written
        rates = {"gflops": 2 * width**3 / product / 1e9, "gigabytes_per_second": moved / copy / 1e9}
        found.append({"device": device, "dtype": str(dtype).removeprefix("torch."), **rates})
    return found


def fastest(work: Callable[[], Any], seconds: float, device: str) -> float:
    """The least time in seconds that some work took, repeated for so long."""
    best, stop = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < stop or best == math.inf:
        begin = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best


def self_test(steps: int) -> Tree:
    """A tiny LSTM through all that a training goes through; `problem` says what failed.

    Trained, cut back to the checkpoint half-way, resumed (which on a processor has to give the same
    weights to the last bit), loaded, evaluated, scored and generated from.
    """
    begin, state = time.monotonic(), torch.get_rng_state()
    folder = Path(tempfile.mkdtemp(prefix="foretell-doctor-"))
    try:
        result = miniature(folder, steps)
    except Exception as problem:  # whatever it is, that is the finding
        result = {"problem": f"{type(problem).__name__}: {problem}"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        torch.set_rng_state(state)
    return {"problem": "", **result, "seconds": time.monotonic() - begin}


def miniature(folder: Path, steps: int) -> Tree:
    """The self-test proper, in a folder of its own."""
    text = "\n".join(islice(topics(), 60))[:120_000]
    cuts = {"train": (0, -8000), "valid": (-8000, -4000), "test": (-4000, None)}
    parts = {name: Texts([text[slice(*cut)]]) for name, cut in cuts.items()}
    store = prepare(Corpus("self-test", parts), ByteConfig().train(()), folder / "store")
    batches = {"kind": "streams", "batch": 16, "length": 32}
    recipe = load_recipe(
        {
            "limit": f"{steps}steps",
            "data": {"corpus": str(store.path), "batches": batches},
            "model": {"kind": "recurrent", "embedding": 32, "hidden": 96, "layers": 1},
            "optimizer": {"kind": "adamw", "learning_rate": 0.01},
            "training": {"log_every": f"{steps // 4}steps"},
            "checkpoint": {"every": f"{steps // 2}steps", "keep": 3},
            "evaluation": {"every": f"{steps}steps"},
        }
    )
    first = run_recipe(recipe, folder / "run", resume=False, quiet=True)
    losses = [record["loss"] for record in first.run.metrics() if record["kind"] == "train"]
    shutil.rmtree(first.checkpoint.path)
    again = run_recipe(recipe, folder / "run", resume=True, quiet=True)
    same = all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    records = [record for record in again.run.metrics() if record["kind"] == "train"]
    measured, scored = again.evaluate("test"), again.score(["A line of text.\n"])[0]
    problem = "" if losses[-1] < losses[0] - 0.1 else "the loss does not fall"
    problem = problem or ("" if same or again.device.type != "cpu" else "resuming is not exact")
    problem = problem or ("" if math.isfinite(scored.logp) else "scoring is not finite")
    return {
        "problem": problem,
        "device": again.device.type,
        "steps": steps,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "bits_per_byte": measured["bits_per_byte"],
        "resumed_exactly": same,
        "tokens_per_second": records[-1]["tokens_per_second"],
        "sample": " ".join(again.generate("The ", tokens=20, seed=1).split()),
    }


def machine_findings(found: Mapping[str, Any]) -> list[Tree]:
    """What of an installation needs attention."""
    here, test, there = found["machine"], found["self_test"], list(found["data"].values())
    cores, threads, memory = here["cores"], here["threads"], here["memory_available_bytes"]
    keeps = allocator.active() or sys.platform != "linux"
    findings = torch_findings(found["versions"]["torch"], len(found["devices"]))
    rows = [
        (threads <= cores, "threads", f"{threads} on {cores} cores", f"export OMP_NUM_THREADS={cores}"),
        (
            keeps,
            "allocator",
            f"freed memory {'is kept' if keeps else 'is given back: slower'}",
            "use the foretell command, FORETELL_ALLOCATOR unset (Linux with glibc only)",
        ),
        (
            memory is None or memory >= LITTLE,
            "memory",
            "unknown" if memory is None else f"{readable(memory)} available",
            "end other programs",
        ),
        (
            "FORETELL_DATA" in os.environ,
            "data",
            f"{there.count('found')} of {len(there)} built-in corpora found",
            "set FORETELL_DATA to a folder that holds them; python-docs needs none",
        ),
    ]
    for place, free in here["disk_free_bytes"].items():
        do = "free some, or set FORETELL_CACHE to another place"
        rows.append((free >= LITTLE, "disk", f"{readable(free)} free in {place}", do))
    works = test["problem"] or "trained, resumed, evaluated, scored, generated"
    do = "report it with the output of foretell doctor --json"
    findings += [check(*row) for row in rows]
    return [*findings, check(not test["problem"], "self-test", works, do, "error")]


def torch_findings(installed: str, accelerators: int) -> list[Tree]:
    """Whether torch is of a supported version, and built for what is there."""
    wanted = "torch>={}.{},<{}.{}".format(*TORCH_FROM, *TORCH_BELOW)
    parts = tuple(int(part) for part in installed.split(".")[:2])
    built = torch.version.cuda or torch.version.hip
    driver = Path("/proc/driver/nvidia/version").exists()
    built_for = f"torch built for {f'CUDA {built}' if built else 'processors'}"
    do = "the driver is there: install a CUDA build of torch from pytorch.org"
    do = "see whether nvidia-smi works; the processor is used meanwhile" if built else do
    good = TORCH_FROM <= parts < TORCH_BELOW
    oned = torch.backends.mkldnn.is_available()
    slow = "there" if oned else "missing: recurrent layers are slow on processors"
    return [
        check(good, "torch", f"{installed}; supported: {wanted}", f'pip install "{wanted}"'),
        check(accelerators > 0 or not (built or driver), "devices", f"{accelerators} accelerators, {built_for}", do),
        check(oned, "oneDNN", slow, "install a torch that has oneDNN"),
    ]


# --- a corpus -------------------------------------------------------------------------------------


def examine_corpus(corpus: str, sample_bytes: int = SAMPLE) -> Tree:
    """A corpus by path or name: its files, its splits, and what the splits share.

    Of each split the first `sample_bytes` are looked at, in constant memory; `complete` says whether
    that was all of it. Where more lines are met than are kept, shares are those of a fair sample.
    """
    if (Path(corpus) / META).is_file():
        raise ConfigError(f"{corpus} is a token store; name the text that it was made of")
    opened = open_corpus(corpus)
    paths = {path: None for source in opened.sources.values() for path in files_of(source)}
    files = scan(list(paths), sample_bytes)
    result: Tree = {"what": "corpus", "corpus": opened.name, "files": files, "splits": {}}
    if files["damaged"]:
        return result | {"findings": corpus_findings(result)}
    lines, blocks = Repeats(), Repeats()
    train: Survey | None = None
    characters: Counter[str] = Counter()
    for split in opened.splits:
        look = (lines.has, blocks.has) if train else (lines.add, blocks.add)
        survey = Survey(opened.pieces(split), sample_bytes, *look)
        train = survey if split == "train" else train
        characters += survey.characters
        facts = survey.facts("also_in_train" if train and survey is not train else "repeated")
        if train and survey is not train:
            facts["unknown"] = {
                "words": unknown(train.words, survey.words),
                "words_top_30000": unknown(train.words, survey.words, 30_000),
                "characters": unknown(train.characters, survey.characters),
            }
        elif survey is train:
            result["looks_like"] = survey.form()
        result["splits"][split] = facts
    odd = {f"U+{ord(c):04X}": count for c, count in characters.most_common() if is_odd(c)}
    result["odd_characters"] = dict(islice(odd.items(), 20))
    return result | {"findings": corpus_findings(result)}


def files_of(source: object) -> Sequence[Path]:
    """The files of a split."""
    files = source.whole.files if isinstance(source, Share) else source
    return files.paths if isinstance(files, Files) else ()


def is_odd(character: str) -> bool:
    """Whether a character is rarely meant: control, private, unassigned, invisible marks, U+FFFD."""
    if character in "\n\t\r":
        return False
    strange = unicodedata.category(character) in ("Cc", "Co", "Cn", "Cs")
    return strange or character in "\ufffd\ufeff\u200b"


def scan(paths: Sequence[Path], sample: int) -> Tree:
    """What files hold as bytes, each up to its share of the sample."""
    share = max(1 << 20, sample // max(len(paths), 1))
    errors: tuple[type[Exception], ...] = (ConfigError, OSError, *reading.damage_errors())
    found: Counter[str] = Counter()
    damaged: list[str] = []
    for path in paths:
        found["stored_bytes"] += path.stat().st_size
        size = 0
        try:
            with reading.open_stream(path) as stream:
                found["byte_order_marks"] += stream.read(3) == b"\xef\xbb\xbf"
            with reading.open_stream(path) as stream:
                for block in reading.read_blocks(stream, path):
                    size += len(block)
                    found["invalid_utf8"] += reading.count_replaced(block)
                    found["nul"] += block.count(0)
                    if reading.content_ending(path) != ".jsonl":
                        found["carriage_returns"] += block.count(b"\r\n")
                    if size >= share:
                        break
        except errors as problem:
            damaged.append(str(problem) if str(path) in str(problem) else f"{path}: {problem}")
        found["empty"] += size == 0
        found["looked_at_bytes"] += size
    keys = ("stored_bytes", "looked_at_bytes", "empty", "byte_order_marks", "invalid_utf8")
    counts = {key: found[key] for key in (*keys, "nul", "carriage_returns")}
    return {"count": len(paths), **counts, "damaged": damaged}


class Repeats:
    """Which texts were there before, in constant memory.

    When more than `ROOM` hashes would be kept, only those that are multiples of a growing power of
    two stay: a fair sample of the different texts (Gibbons 2001).
    """

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.mask = 0

    def has(self, text: str) -> bool | None:
        """Whether the text was added; None where it is outside the sample."""
        key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        return None if key & self.mask else key in self.kept

    def add(self, text: str) -> bool | None:
        """Add a text; tells what `has` said before."""
        before = self.has(text)
        if before is False:
            self.kept.add(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))
        while len(self.kept) > ROOM:
            self.mask = 2 * self.mask + 1
            self.kept = {key for key in self.kept if not key & self.mask}
        return before


Look = Callable[[str], bool | None]


class Survey:
    """The beginning of a split, counted."""

    def __init__(self, pieces: Iterable[reading.Piece], sample: int, line: Look, block: Look) -> None:
        self.n: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.complete = True
        length, chain = 0, ""
        for text, ends_document in pieces:
            if self.n["bytes"] >= sample:
                self.complete = False
                break
            bare = text.strip()
            self.count(text, bare)
            self.n["documents"] += ends_document
            length += len(text)
            self.n["longest_line"] = max(self.n["longest_line"], length)
            if text.endswith("\n") or ends_document:
                self.n["lines"] += 1
                length = 0
            if len(bare) >= LEAST:
                self.compare("lines", line(bare))
            if bare:  # a paragraph is kept as the hash of its lines, however long it is
                chain = blake2b((chain + bare).encode(), digest_size=8).hexdigest()
            if chain and (ends_document or not bare):
                self.compare("paragraphs", block(chain))
                chain = ""

    def count(self, text: str, bare: str) -> None:
        """Sizes, words, characters, and signs of how lines are made."""
        self.n["bytes"] += byte_length(text)
        self.n["characters"] += len(text)
        words = bare.split()
        self.n["words"] += len(words)
        self.words.update(words)
        self.characters.update(text)
        if len(self.words) > 2 * ROOM:  # words met once make room
            self.words = Counter({word: n for word, n in self.words.items() if n > 1})
        self.n["filled"] += bool(bare)
        self.n["closed"] += bare.endswith((".", "!", "?", '"', "\u201d"))
        self.n["inside"] += len(re.findall(r"[.!?] +[A-Z]", bare))

    def compare(self, unit: str, found: bool | None) -> None:
        """Count a line or paragraph that was looked up."""
        self.n[f"{unit} looked up"] += found is not None
        self.n[f"{unit} found"] += bool(found)

    def facts(self, word: str) -> Tree:
        """The figures of the split; `word` says what a line found again means."""
        keys = ("documents", "lines", "words", "characters", "bytes", "longest_line")
        shares = {
            unit: self.n[f"{unit} found"] / max(self.n[f"{unit} looked up"], 1) for unit in ("lines", "paragraphs")
        }
        return {"complete": self.complete, **{key: self.n[key] for key in keys}, word: shares}

    def form(self) -> str:
        """A guess at what a line is, and whether marks are words of their own."""
        n, marks = self.n, ".,;:!?"
        alone = sum(self.words[mark] for mark in marks)
        joined = sum(c for word, c in self.words.items() if len(word) > 1 and word[-1] in marks)
        filled = max(n["filled"], 1)
        closed, inside, each = n["closed"] / filled, n["inside"] / filled, n["words"] / filled
        plain = closed < 0.05 and n["filled"] == n["lines"]  # marks removed, no blank lines
        if inside < 0.2 and each < 60 and (closed > 0.6 or plain):
            line = "one sentence a line"
        elif inside >= 1:
            line = "one paragraph a line"
        elif closed < 0.5 and n["characters"] / filled < 100:
            line = "wrapped or short lines"
        else:
            line = "mixed lines"
        tokenised = alone > 9 * joined or self.words["n't"] > n["words"] / 5000
        return f"{line}, {'tokenised' if tokenised else 'not tokenised'}"


def unknown(known: Counter[str], held_out: Counter[str], size: int | None = None) -> float:
    """The share of a text that is outside the vocabulary of another, its most frequent `size`."""
    vocabulary = {item for item, _ in known.most_common(size)}
    missing = sum(count for item, count in held_out.items() if item not in vocabulary)
    return missing / max(held_out.total(), 1)


def corpus_findings(found: Mapping[str, Any]) -> list[Tree]:
    """What of a corpus needs attention."""
    files, splits, odd = found["files"], found["splits"], found.get("odd_characters", {})
    do = "fetch, convert or remove it"
    findings = [check(False, "files", text, do, "error") for text in files["damaged"]]
    convert = "read as U+FFFD: convert the files, as by iconv -f WINDOWS-1252 -t UTF-8"
    for key, name, do in (
        ("invalid_utf8", "places of invalid UTF-8", convert),
        ("nul", "NUL characters", "kept as text: remove them, as by tr -d '\\000'"),
        ("carriage_returns", "lines end in a carriage return", "kept as text: remove them, as by dos2unix"),
        ("empty", "empty files", "they are skipped"),
    ):
        findings.append(check(not files[key], "files", f"{files[key]:,} {name}", do))
    if files["damaged"]:
        return findings
    missing = [name for name in SPLITS if name not in splits]
    text = f"no {' and no '.join(missing)} split" if missing else "train, valid and test"
    findings += [
        check(not missing, "splits", text, "give files named train, valid and test"),
        check(not odd, "characters", f"odd ones: {', '.join(odd) or 'none'}", "look whether they are meant"),
    ]
    return findings + [item for name, facts in splits.items() for item in split_findings(name, facts)]


def split_findings(name: str, facts: Mapping[str, Any]) -> list[Tree]:
    """What of a split needs attention."""
    enough = facts["bytes"] >= (100_000 if name == "train" else 10_000)
    part = "" if facts["complete"] else "; only the beginning: shares are at least so high"
    size, longest = f"{readable(facts['bytes'])} looked at{part}", facts["longest_line"]
    rows = [
        (enough, size, "results on so little text are noise: give more"),
        (
            longest <= reading.LONGEST,
            f"longest line {longest:,} characters",
            "it is cut in pieces: break lines, if they can be",
        ),
    ]
    if repeats := facts.get("repeated"):
        text = f"{repeats['lines']:.1%} of lines, {repeats['paragraphs']:.1%} of paragraphs came before"
        rows.append((max(repeats.values()) < 0.1, text, "remove duplicates: they are learnt by heart"))
    if rate := facts.get("unknown"):
        text = f"{rate['words']:.1%} of words, {rate['characters']:.2%} of characters not in train"
        rows.append((rate["words"] < 0.1, text, "prefer subwords (tokenizer bpe) to words"))
    findings = [check(good, name, text, do) for good, text, do in rows]
    if shared := facts.get("also_in_train"):
        text = f"{shared['lines']:.1%} of lines of {LEAST} characters or more are in train too"
        do = "results look better than they are: remove them from train, if the text is your own"
        level = "warning" if shared["lines"] < 0.5 else "error"
        findings.append(check(shared["lines"] < 0.01, name, text, do, level))
    return findings


# --- a run ----------------------------------------------------------------------------------------


def examine_run(path: Path | str) -> Tree:
    """A run folder: recipe, tokenizer, each checkpoint, records, and whether it can be resumed."""
    run = Run.open(path)
    recipe, shapes, findings = examine_settings(run)
    saved = {p.name: examine_checkpoint(p, shapes) for p in sorted(run.checkpoints.glob("step-*"))}
    intact = [name for name, facts in saved.items() if not facts["problem"]]
    position = read_json(run.checkpoints / intact[-1] / "record.json")["position"] if intact else {}
    records = [record for record in run.metrics() if "loss" in record]
    valid = [record for record in records if record["kind"] == "valid"]
    result = {
        "what": "run",
        "run": str(run.path),
        "checkpoints": saved,
        **{name: read_json(run.checkpoints / f"{name}.json") for name in ("best", "last")},
        "half_written": [p.name for p in run.checkpoints.glob(".step-*")],
        "last_record": records[-1] if records else None,
        "best_validation": min(valid, key=lambda record: float(record["loss"]), default=None),
        "finished": bool(position.get("finished")),
        "resumable": bool(recipe and shapes and intact and not position.get("finished")),
        "disk_free_bytes": free_space(run.path),
    }
    return result | {"findings": findings + run_findings(run, result)}


def run_findings(run: Run, found: Mapping[str, Any]) -> list[Tree]:
    """What of a run's checkpoints and records needs attention."""
    saved, free = found["checkpoints"], found["disk_free_bytes"]
    findings = []
    do = "remove this folder; --resume goes on from the newest intact one"
    for name, facts in saved.items():
        text = facts["problem"] or "intact"
        findings.append(check(not facts["problem"], name, text, do, "error"))
    do = "it names no intact checkpoint: train further with --resume"
    for name in ("best", "last"):
        meant = str(found[name].get("checkpoint", "none yet"))
        findings.append(check(meant in saved and not saved[meant]["problem"], name, meant, do))
    largest = max((facts["bytes"] for facts in saved.values()), default=0)
    text = f"{readable(free)} free, a checkpoint takes {readable(largest)}"
    findings.append(check(free > 2 * largest, "disk", text, "free some before going on"))
    whole, written = sum(1 for _ in run.metrics()), len(read(str(run.metrics_file)).splitlines())
    text = f"{whole} in metrics.jsonl" + (f", {written - whole} unreadable" if written > whole else "")
    do = "a line is damaged or cut off; --resume writes what it needs again"
    return [*findings, check(whole == written, "records", text, do)]


def examine_settings(run: Run) -> tuple[Recipe | None, dict[str, list[int]] | None, list[Tree]]:
    """The recipe, the names and shapes of the weights it asks for, and what is wrong with these."""
    try:
        recipe = load_recipe(run.recipe_file)
    except ConfigError as problem:
        do = "mend the file: nothing can be used without it"
        return None, None, [check(False, "recipe", str(problem), do, "error")]
    findings, shapes = [check(True, "recipe", recipe.name or "loads", "")], None
    try:
        corpus = recipe.data.corpus
        stored = isinstance(corpus, str) and (Path(corpus) / META).is_file()
        opened = None if stored else open_corpus(corpus)
        findings.append(check(True, "corpus", opened.name if opened else str(corpus), ""))
    except ConfigError as problem:
        do = "bring the text back: evaluating and resuming need it"
        findings.append(check(False, "corpus", str(problem), do))
    try:
        with torch.device("meta"):
            objective = recipe.build(load_tokenizer(run.tokenizer_file).size)
        shapes = {name: list(tensor.shape) for name, tensor in weights(objective).items()}
    except ConfigError as problem:
        do = "bring it back from a copy: nothing can be used without it"
        findings.append(check(False, "tokenizer", str(problem), do, "error"))
    return recipe, shapes, findings


def examine_checkpoint(path: Path, shapes: Mapping[str, list[int]] | None) -> Tree:
    """The size of a checkpoint and what is wrong with it, if anything."""
    facts: Tree = {"bytes": sum(f.stat().st_size for f in path.iterdir()), "problem": ""}
    record = read_json(path / "record.json")
    if "files" not in record or "position" not in record:
        return facts | {"problem": "record.json is missing or damaged"}
    if not Checkpoint(path).intact():
        wrong = [name for name, known in record["files"].items() if not same(path / name, known)]
        return facts | {"problem": f"damaged or missing: {', '.join(wrong)}"}
    try:
        with safe_open(path / "model.safetensors", framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in list(file.keys())}
    except (OSError, SafetensorError) as problem:
        return facts | {"problem": f"model.safetensors: {problem}"}
    if shapes is not None and found != shapes:
        odd = sorted(n for n in found.keys() | shapes if found.get(n) != shapes.get(n))
        return facts | {"problem": f"weights do not fit the recipe: {', '.join(odd[:3])}"}
    return facts


def same(file: Path, known: str) -> bool:
    """Whether a file is there and has the digest it was written with."""
    return file.is_file() and digest(file) == known


def read_json(path: Path) -> Tree:
    """A JSON object; empty where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# --- for people -----------------------------------------------------------------------------------

SHARES = ("repeated", "also_in_train", "unknown")
SIGNS = {"ok": ("ok", "green"), "warning": ("!!", "yellow"), "error": ("XX", "bold red")}


def render(result: Mapping[str, Any]) -> RenderableType:
    """An examination as a person reads it, in 80 columns: facts first, then findings."""
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for key, value in result.items():
        if key not in ("what", "findings"):
            label = key.removesuffix("_bytes").replace("_", " ")
            facts.add_row(label, described(key, shortened(key, value)))
    findings = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in result["findings"]:
        sign, style = SIGNS[finding["level"]]
        text = Text(finding["text"])
        if finding["do"]:
            text.append(f"\n-> {finding['do']}", style)
        findings.add_row(Text(sign, style), Text(finding["about"]), text)
    levels = Counter(finding["level"] for finding in result["findings"])
    total = f"{levels['error']} errors, {levels['warning']} warnings, {levels['ok']} fine"
    return Group(facts, Text(), findings, Text(), Text(total, "bold"))


def shortened(key: str, value: Any) -> Any:
    """What of a record of a run a person wants to see."""
    if key not in ("last_record", "best_validation") or value is None:
        return value
    kept = ("kind", "step", "epoch", "loss", "perplexity", "bits_per_byte", "tokens_per_second")
    return {name: value[name] for name in kept if value.get(name) is not None}


def described(key: str, value: Any) -> RenderableType:
    """A value in words: tables within tables, sizes in KiB, shares in per cent."""
    if isinstance(value, Mapping):
        inner = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        inner.add_column(style="dim", no_wrap=True)
        inner.add_column(overflow="fold")
        for name, item in value.items():
            within = key if key in SHARES or key.endswith("bytes") else name
            shown = described(within, item)
            label = name.removesuffix("_bytes") if "/" not in name else name
            inner.add_row(label if "/" in name else label.replace("_", " "), shown)
        return inner if value else Text("none", "dim")
    if isinstance(value, list):
        return Group(*(described(key, item) for item in value)) if value else Text("none", "dim")
    if isinstance(value, bool) or value is None:
        return Text({True: "yes", False: "no", None: "none"}[value])
    if isinstance(value, float):
        return Text(f"{value:.2%}" if key in SHARES else f"{value:,.4g}" if value < 100 else f"{value:,.0f}")
    if isinstance(value, int):
        return Text(readable(value) if key.endswith("bytes") else f"{value:,}")
    return Text(str(value) or "none")
