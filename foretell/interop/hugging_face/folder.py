"""Checkpoint folders: config.json beside tensors in one safetensors file, or in several with an index.

Nothing is ever unpickled: folders with other kinds of weights are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from foretell.artifacts import write_json
from foretell.errors import ConfigError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""a file is closed before it would hold more"""
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"{file}: cannot be read: {problem.strerror or problem}") from None
    except ValueError as problem:
        raise ConfigError(f"{file}: not JSON: {problem}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: holds no JSON object")
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json."""
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} has no config.json; name the folder of a checkpoint")
    return read_json(folder / "config.json")


class Weights(Mapping[str, Tensor]):
    """The tensors of a folder by name, read from disk when asked for."""

    def __init__(self, folder: Path, places: Mapping[str, tuple[str, str]]):
        self.folder, self.places = folder, dict(places)
        """by name the file of each tensor, and what it is called there"""

    @classmethod
    def open(cls, folder: Path) -> Weights:
        """All tensors of a folder under their own names."""
        return cls(folder, {name: (file, name) for name, file in files_of(folder).items()})

    def renamed(self, rename: Callable[[str], str]) -> Weights:
        """The same tensors under other names."""
        return Weights(self.folder, {rename(name): place for name, place in self.places.items()})

    def without(self, left_out: Callable[[str], bool]) -> Weights:
        """Some of the tensors."""
        return Weights(self.folder, {name: place for name, place in self.places.items() if not left_out(name)})

    def __getitem__(self, name: str) -> Tensor:
        file, own = self.places[name]
        with opened(self.folder / file) as opening:
            tensor: Tensor = opening.get_tensor(own)
            return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def files_of(folder: Path) -> dict[str, str]:
    """Which file holds each tensor."""
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX).get("weight_map")
        if not isinstance(index, dict):
            raise ConfigError(f"{folder / INDEX}: has no weight_map")
        for file in sorted(set(index.values())):
            if Path(file).name != file or not (folder / file).is_file():
                raise ConfigError(f"{folder / INDEX} names {file}, which is not in the folder; bring it there")
            with opened(folder / file) as shard:
                held = set(shard.keys())
            if gone := [name for name, its in index.items() if its == file and name not in held]:
                raise ConfigError(f"{folder / file} lacks {gone[0]}, which the index says it holds")
        return {str(name): str(file) for name, file in index.items()}
    if (folder / WHOLE).is_file():
        with opened(folder / WHOLE) as file:
            return dict.fromkeys(file.keys(), WHOLE)
    if pickled := [name for name in PICKLED if (folder / name).is_file()]:
        raise ConfigError(
            f"{folder / pickled[0]} is a pickle, which can run any code and is never opened here; convert it where you "
            "trust it: AutoModelForPreTraining.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    raise ConfigError(f"{folder} has no {WHOLE} and no {INDEX}; name the folder of a checkpoint")


def opened(file: Path) -> Any:
    """A safetensors file for reading."""
    try:
        return safe_open(str(file), framework="pt")
    except (SafetensorError, OSError) as problem:
        raise ConfigError(f"{file}: not a whole safetensors file: {problem}") from None


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int = SHARD_BYTES) -> None:
    """One safetensors file, or several with an index; one of them is in memory at a time."""
    placed: dict[str, int] = {}
    drafts: list[Path] = []
    shard: dict[str, Tensor] = {}
    filled = total = 0

    def close() -> None:
        drafts.append(folder / f".shard-{len(drafts)}")
        save_file(shard, drafts[-1], metadata={"format": "pt"})
        shard.clear()

    for name, tensor in tensors:
        if shard and filled + tensor.nbytes > shard_bytes:
            close()
            filled = 0
        placed[name], shard[name] = len(drafts), tensor
        filled, total = filled + tensor.nbytes, total + tensor.nbytes
    close()
    if len(drafts) == 1:
        drafts[0].rename(folder / WHOLE)
        return
    files = [f"model-{number:05d}-of-{len(drafts):05d}.safetensors" for number in range(1, len(drafts) + 1)]
    for draft, file in zip(drafts, files, strict=True):
        draft.rename(folder / file)
    index = {"metadata": {"total_size": total}, "weight_map": {name: files[i] for name, i in placed.items()}}
    write_json(folder / INDEX, index)
