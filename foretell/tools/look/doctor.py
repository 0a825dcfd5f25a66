"""Examination of the installation; corpora and runs have modules of their own.

Every examination is a plain dictionary with `findings`, each with a level (ok, warning, error), its subject, a text,
and what to do. Nothing that is examined is changed.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import foretell
from foretell import process, units
from foretell.api.train import run_recipe
from foretell.cache import cache_folder
from foretell.data.store.store import prepare
from foretell.data.text.builtin import BUILTIN, open_builtin, topics
from foretell.data.text.corpus import Corpus, Texts
from foretell.data.tokenizers.kinds import ByteConfig
from foretell.errors import ConfigError
from foretell.recipe.files import recipe_names
from foretell.recipe.loading import load_recipe
from foretell.run import free_space
from foretell.tools.look.diagnosis import check, render
from foretell.tools.look.doctor_corpus import examine_corpus
from foretell.tools.look.doctor_labelled import examine_labels, examine_task
from foretell.tools.look.doctor_run import examine_run
from foretell.tools.look.labelled import NAME_LABELS, labelled_data
from foretell.tools.machine import hardware
from foretell.trees import Tree

__all__ = ["examine", "examine_corpus", "examine_machine", "examine_run", "render"]

TORCH_FROM, TORCH_BELOW = (2, 11), (2, 14)  # as pyproject.toml has it
LITTLE = 2 << 30
"""bytes of disk or memory below which to warn"""
SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS", "KMP_BLOCKTIME", "LD_PRELOAD")


def examine(what: str, overrides: Sequence[str] = ()) -> Tree:
    """Examine a run, the data of a recipe, labelled data, or a corpus of text."""
    if (Path(what) / "recipe.toml").exists():
        return examine_run(Path(what))
    if is_recipe(what, overrides):
        recipe = load_recipe(what, list(overrides))
        return examine_task(recipe) if recipe.is_task else examine_corpus(str(recipe.data.corpus))
    data = labelled_data(what, overrides)
    if data is None and overrides:
        raise ConfigError("is plain text, and settings are for labelled data", file=what, remedy=NAME_LABELS)
    return examine_corpus(what) if data is None else examine_labels(data)


def is_recipe(what: str, overrides: Sequence[str]) -> bool:
    """Whether a name is that of a recipe, rather than of data of the same name."""
    return what.endswith(".toml") or (bool(overrides) and what in recipe_names())


def examine_machine(quick: bool = False) -> Tree:
    """Examine this installation: versions, hardware, data, cache, speed, and a miniature training.

    Takes about 10 seconds; `quick` about 3, with rougher speed measurements.
    """
    names = ("torch", "numpy", "tokenizers", "pydantic", "safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an unusable driver, which `devices` shows
        graphics = devices()
    result: Tree = {
        "what": "machine",
        "versions": {"foretell": foretell.__version__, "python": platform.python_version()}
        | {name: version(name) for name in names},
        "machine": machine(),
        "devices": graphics,
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ}
        | {"allocator keeps memory": process.active()},
        "data": {name: data_state(name) for name in BUILTIN},
        "cache": {
            "folder": str(cache_folder()),
            "bytes": sum(f.stat().st_size for f in cache_folder().rglob("*") if f.is_file()),
        },
        "speed": speed(0.15 if quick else 0.6),
        "self_test": self_test(20 if quick else 60),
    }
    return result | {"findings": machine_findings(result)}


def machine() -> Tree:
    """Processor, cores, threads, memory and disk, within the limits of a container."""
    folders = (Path.cwd(), cache_folder())
    free = {str(folder): free_space(existing(folder)) for folder in folders}
    return hardware() | {"threads": torch.get_num_threads(), "disk_free_bytes": free}


def existing(path: Path) -> Path:
    """The path, or its nearest existing parent."""
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())


def devices() -> list[Tree]:
    """The accelerators that torch can use."""
    usable = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts, (free, total) = torch.cuda.get_device_properties(number), torch.cuda.mem_get_info(number)
        memory = {"memory_bytes": total, "memory_free_bytes": free}
        usable.append({"name": facts.name, **memory, "bf16": facts.major >= 8})
    return usable


def data_state(name: str) -> str:
    """`found`, or where to put which files of a built-in corpus."""
    try:
        return "found" if name == BUILTIN[0] or open_builtin(name) else ""
    except ConfigError as problem:
        return str(problem).partition(": ")[2]


def speed(seconds: float) -> list[Tree]:
    """Rates of matrix products and memory copies, in fp32 and, on accelerators, bf16."""
    tests = [("cpu", torch.float32, 1024, 1 << 24)]
    if torch.cuda.is_available():
        tests += [("cuda", kind, 8192, 1 << 28) for kind in (torch.float32, torch.bfloat16)]
    speeds = []
    for device, dtype, width, numbers in tests:
        a = torch.ones(width, width, device=device, dtype=dtype)
        source = torch.ones(numbers, device=device, dtype=dtype)
        target = torch.empty_like(source)
        product = fastest(partial(torch.matmul, a, a), seconds, device)
        copy = fastest(partial(target.copy_, source), seconds, device)
        moved = 2 * numbers * dtype.itemsize  # read and written
        rates = {"gflops": 2 * width**3 / product / 1e9, "gigabytes_per_second": moved / copy / 1e9}
        speeds.append({"device": device, "dtype": str(dtype).removeprefix("torch."), **rates})
    return speeds


def fastest(work: Callable[[], Any], seconds: float, device: str) -> float:
    """The shortest time of a call in seconds, over calls repeated for `seconds`."""
    best, stop = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < stop or best == math.inf:
        begin = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best


def self_test(steps: int) -> Tree:
    """Train, resume, load, evaluate, score and generate with a tiny LSTM; `problem` names what failed.

    It resumes from the checkpoint halfway, which on a CPU must give the same weights to the last bit.
    """
    begin, state = time.monotonic(), torch.get_rng_state()
    folder = Path(tempfile.mkdtemp(prefix="foretell-doctor-"))
    try:
        result = miniature(folder, steps)
    except Exception as problem:  # any failure is the finding
        result = {"problem": f"{type(problem).__name__}: {problem}"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        torch.set_rng_state(state)
    return {"problem": "", **result, "seconds": time.monotonic() - begin}


def miniature(folder: Path, steps: int) -> Tree:
    """The self-test in a folder."""
    text = "\n".join(islice(topics(), 60))[:120_000]
    cuts = {"train": (0, -8000), "valid": (-8000, -4000), "test": (-4000, None)}
    parts = {name: Texts([text[slice(*cut)]]) for name, cut in cuts.items()}
    store = prepare(Corpus("self-test", parts), ByteConfig().train(()), folder / "store")
    batches = {"kind": "streams", "batch": 16, "length": 32}
    recipe = load_recipe(
        {
            "limit": f"{steps}steps",
            "data": {"corpus": str(store.path), "batches": batches},
            "model": {"kind": "recurrent", "embedding_dim": 32, "hidden": 96, "layers": 1},
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


def machine_findings(result: Mapping[str, Any]) -> list[Tree]:
    """Findings about an installation."""
    host, test, data = result["machine"], result["self_test"], list(result["data"].values())
    cores, threads, memory = host["cores"], host["threads"], host["memory_available_bytes"]
    keeps = process.active() or sys.platform != "linux"
    findings = torch_findings(result["versions"]["torch"], len(result["devices"]))
    rows = [
        (threads <= cores, "threads", f"{threads} on {cores} cores", f"export OMP_NUM_THREADS={cores}"),
        (
            keeps,
            "allocator",
            f"freed memory is {'kept' if keeps else 'returned to the system: slower'}",
            "use the foretell command without FORETELL_ALLOCATOR (Linux with glibc only)",
        ),
        (
            memory is None or memory >= LITTLE,
            "memory",
            "unknown" if memory is None else f"{units.size(memory)} available",
            "close other programs",
        ),
        (
            "FORETELL_DATA" in os.environ,
            "data",
            f"{data.count('found')} of {len(data)} built-in corpora found",
            "set FORETELL_DATA to their folder; python-docs needs none",
        ),
    ]
    for folder, free in host["disk_free_bytes"].items():
        do = "free some space, or set FORETELL_CACHE to another folder"
        rows.append((free >= LITTLE, "disk", f"{units.size(free)} free in {folder}", do))
    outcome = test["problem"] or "trained, resumed, evaluated, scored, generated"
    do = "report it with the output of foretell doctor --json"
    findings += [check(*row) for row in rows]
    return [*findings, check(not test["problem"], "self-test", outcome, do, "error")]


def torch_findings(installed: str, accelerators: int) -> list[Tree]:
    """Findings about the version of torch and the hardware it is built for."""
    supported = "torch>={}.{},<{}.{}".format(*TORCH_FROM, *TORCH_BELOW)
    parts = tuple(int(part) for part in installed.split(".")[:2])
    built = torch.version.cuda or torch.version.hip
    driver = Path("/proc/driver/nvidia/version").exists()
    built_for = f"torch built for {f'CUDA {built}' if built else 'CPUs'}"
    do = "the driver is installed: install a CUDA build of torch from pytorch.org"
    do = "check that nvidia-smi works; the CPU is used meanwhile" if built else do
    good = TORCH_FROM <= parts < TORCH_BELOW
    oned = torch.backends.mkldnn.is_available()
    state = "available" if oned else "missing: recurrent layers are slow on CPUs"
    return [
        check(good, "torch", f"{installed}; supported: {supported}", f'pip install "{supported}"'),
        check(accelerators > 0 or not (built or driver), "devices", f"{accelerators} accelerators, {built_for}", do),
        check(oned, "oneDNN", state, "install a build of torch with oneDNN"),
    ]
