"""Runs golden cases through `foretell.train` and `foretell.load` alone, so that older commits can run them.

Prints a JSON object per case: `figures`, the numbers in its metrics records and measures, and `weights`, a digest of
each tensor in its last checkpoint. Each case is trained once more with interruptions, which has to end the same.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden.cases import CASES, Case, Settings, merged
from golden.names import KEYS, old_call, old_recipe
from labelled import write_labelled
from safetensors.torch import load_file

import foretell

BY_NAME = {case.name: case for case in CASES}
COSTS = ("second", "memory")  # parts of the keys of what is never the same twice
WORDS = ("the a", "cat dog cats birds", "sat barked jumped jumping", "on under near", "the a", "mat mats tree", ". !")


def write_text(folder: Path) -> dict[str, str]:
    """Three splits of documents with short lines."""
    draw, paths = random.Random(11), {split: folder / f"{split}.txt" for split in ("train", "valid", "test")}
    for split, path in paths.items():
        lines = []
        for number in range(1, 241 if split == "train" else 41):
            lines.append(" ".join(draw.choice(words.split()) for words in WORDS[: draw.randint(3, 7)]))
            lines += ["<|endofdoc|>"] * (number % 8 == 0)
        path.write_text("\n".join(lines) + "\n")
    return {split: str(path) for split, path in paths.items()}


def recipe_of(case: Case, folder: Path, changes: Settings, old: bool = False) -> Settings:
    """A case's recipe, with its data written to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write_labelled(case.labelled, folder) if case.labelled else {"corpus": write_text(folder)}
    init = {"init": str(folder / "init")} if case.init else {}
    recipe = merged(case.recipe, {f"data.{name}": value for name, value in data.items()} | init | changes)
    return old_recipe(recipe) if old else recipe


def run_case(case: Case, folder: Path, changes: Settings, old: bool = False, short: bool = False) -> dict[str, Any]:
    """Train and measure a case; `short`: a few steps, else also hold a training with interruptions against it."""
    if short and case.resumes:
        stages = [stage | {"limit": "3steps"} for stage in case.recipe.get("stages", ())]
        changes = {"limit": "6steps", "training.log_every": "2steps", "evaluation.every": "3steps", "stages": stages}
    recipe, names = recipe_of(case, folder, changes, old), KEYS if old else {}
    if case.init:
        foretell.train(recipe_of(BY_NAME[case.init], folder / "before", {}, old), folder / "init", quiet=True)
    foretell.train(recipe, folder / "run", quiet=True)
    figures, found = records(folder / "run", names), weights(folder / "run")
    if case.resumes and not short:
        train_with_interruptions(recipe, folder / "resumed")
        assert weights(folder / "resumed") == found, "interruptions change the weights"
        assert records(folder / "resumed", names) == figures, "interruptions change the records"
    trained = foretell.load(folder / "run", quiet=True)
    for method, options in case.measures:
        called, given = (old_call(method), old_call(options)) if old else (method, options)
        figures |= numbers("-".join([method, *options]), getattr(trained, called)(**given), names)
    return {"name": case.name, "figures": figures, "weights": found}


def train_with_interruptions(recipe: Settings, run: Path) -> None:
    """Train with a Ctrl-C at every third metrics record, so always at the same steps, and go on each time."""
    opened, ended = 0, False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal opened
        if event == "open" and not ended and arguments[:2] == (str(run / "metrics.jsonl"), "a"):
            opened += 1
            if opened % 3 == 0:
                os.kill(os.getpid(), signal.SIGINT)

    sys.addaudithook(watch)
    while not ended:
        with contextlib.suppress(foretell.Interrupted):
            foretell.train(recipe, run, quiet=True, resume=run.exists())
            ended = True
    assert opened >= 3, "it was never interrupted"


def records(run: Path, names: Mapping[str, str]) -> dict[str, float]:
    """The numbers in all metrics records."""
    figures: dict[str, float] = {}
    for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        where = f"{record['stage']}-{names.get(record['kind'], record['kind'])}-{record.pop('step')}"
        figures |= numbers(where, record, names)
    return figures


def numbers(where: str, value: Any, names: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """The numbers in a result by their place, costs left out; of arrays and of generated text a digest."""
    if isinstance(value, np.ndarray):
        yield f"{where}.size", float(np.abs(value).sum(dtype=np.float64))
        yield f"{where}.digest", int(digest(value.tobytes())[:12], 16)
    elif isinstance(value, str):
        yield f"{where}.digest", int(digest(value.encode())[:12], 16)
    elif isinstance(value, int | float):
        yield where, value
    elif value is not None:
        fields = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
        pairs = enumerate(value) if isinstance(value, list | tuple) else fields.items()
        for key, part in pairs:
            if not isinstance(part, str) and not any(cost in str(key) for cost in COSTS):
                yield from numbers(f"{where}.{names.get(key, key)}", part, names)


def weights(run: Path) -> dict[str, str]:
    """A digest of each tensor in the last checkpoint, frozen ones that its record names included."""
    files = sorted(run.rglob("*.safetensors"))
    last = max(files, key=lambda file: file.parent.name).parent
    record = "".join(file.read_text() for file in last.glob("*.json"))
    return {
        f"{file.stem.partition('-')[0]} {name}": f"{list(tensor.shape)} {tensor.dtype} {digest(content)}"
        for file in files
        if file.parent == last or (file.parent == last.parent and file.name in record)
        for name, tensor in load_file(file).items()
        for content in [tensor.reshape(-1).view(torch.uint8).numpy().tobytes()]
    }


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    root, package, given = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    assert Path(foretell.__file__).is_relative_to(package), f"{foretell.__file__} is not the package of {package}"
    for case in map(BY_NAME.__getitem__, given.pop("cases")):
        try:
            result = run_case(case, root / case.name, **given)
        except Exception as problem:
            result = {"name": case.name, "error": "".join(traceback.format_exception(problem)[-3:])}
        print(json.dumps(result), flush=True)
