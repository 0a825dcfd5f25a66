"""Checkpoint folders: config.json with tensors in one safetensors file, or in several with an index.

Nothing is ever unpickled: folders with other kinds of weights are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from foretell.artifacts import write_json, write_tensors
from foretell.errors import ConfigError
from foretell.strict_json import JsonObject, read_object, shown

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""a file is closed before it would hold more"""
MOST_TENSORS = 1 << 16
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def inside(folder: Path, name: str) -> Path:
    """A file of a folder, which may be a link to another in it, or, as the hub's own cache has it, to one of its blobs;
    a `ConfigError` where it leads elsewhere."""
    root, file = folder.resolve(), (folder / name).resolve()
    if root in file.parents or (root.parent.name == "snapshots" and root.parents[1] / "blobs" == file.parent):
        return folder / name
    raise ConfigError("a link that leads out of the folder", file=folder / name, remedy="copy what it leads to there")


def has(folder: Path, name: str) -> bool:
    """Whether a folder has a file of that name."""
    return (folder / name).is_file() and inside(folder, name).is_file()


def read_settings(folder: Path, name: str) -> JsonObject:
    """The object in one of the JSON files of a folder; an empty one where it has no such file."""
    return read_object(folder / name) if has(folder, name) else JsonObject({}, folder / name)


def read_config(folder: Path) -> JsonObject:
    """The folder's config.json."""
    if not has(folder, "config.json"):
        raise ConfigError("has no config.json", file=folder, remedy="name the folder of a checkpoint")
    return read_object(folder / "config.json")


@dataclass(frozen=True)
class Place:
    """The file of a tensor, with its name and shape there."""

    file: str
    name: str
    """its name in that file"""
    shape: tuple[int, ...]


class Weights(Mapping[str, Tensor]):
    """The tensors of a folder by name, read from disk when asked for."""

    def __init__(self, folder: Path, places: Mapping[str, Place]):
        self.folder, self.places = folder, dict(places)

    @classmethod
    def open(cls, folder: Path) -> Weights:
        """All tensors of a folder under their own names."""
        return cls(folder, places_in(folder))

    def renamed(self, rename: Callable[[str], str]) -> Weights:
        """A view of the tensors under other names."""
        found: dict[str, Place] = {}
        for name, place in self.places.items():
            if found.setdefault(rename(name), place) is not place:
                raise ConfigError(
                    f"has both {found[rename(name)].name} and {place.name}, where both are one", file=self.folder
                )
        return Weights(self.folder, found)

    def without(self, left_out: Callable[[str], bool]) -> Weights:
        """Some of the tensors."""
        return Weights(self.folder, {name: place for name, place in self.places.items() if not left_out(name)})

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, which is known without reading it."""
        return self.places[name].shape

    @property
    def largest(self) -> int:
        """The largest dimension of all tensors."""
        return max((max(place.shape, default=1) for place in self.places.values()), default=0)

    @property
    def numbers(self) -> int:
        """How many numbers all tensors hold."""
        return sum(math.prod(place.shape) for place in self.places.values())

    def __getitem__(self, name: str) -> Tensor:
        place = self.places[name]
        file = self.folder / place.file
        with opened(file) as opening:
            try:
                tensor: Tensor = opening.get_tensor(place.name)
            except Exception as problem:  # types of numbers that torch does not know, and what else the library finds
                raise ConfigError(f"{place.name} cannot be read: {shown(str(problem))}", file=file) from None
        if not tensor.is_floating_point():
            raise ConfigError(f"{place.name} holds {tensor.dtype}, which are not weights", file=file)
        found = tensor.float()
        if not bool(found.isfinite().all()):
            count = int((~found.isfinite()).sum())
            raise ConfigError(
                f"{count:,} of the {found.numel():,} numbers in {place.name} are NaN or infinite",
                file=file,
                remedy="take a checkpoint from before training diverged, or download it again",
            )
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def places_in(folder: Path) -> dict[str, Place]:
    """Where each tensor of a folder is."""
    if has(folder, INDEX):
        return places_by_index(folder)
    if has(folder, WHOLE):
        return tensors_in(folder, WHOLE)
    if pickled := [name for name in PICKLED if (folder / name).is_file()]:
        raise ConfigError(
            "is a pickle, which can run any code and is never opened here",
            file=folder / pickled[0],
            remedy="convert it where you trust it: "
            "AutoModelForPreTraining.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    raise ConfigError(f"has no {WHOLE} and no {INDEX}", file=folder, remedy="name the folder of a checkpoint")


def places_by_index(folder: Path) -> dict[str, Place]:
    """The places of the tensors of a checkpoint in several files."""
    index = read_object(folder / INDEX).inner("weight_map")
    files = {name: index.text(name) for name in index}
    held: dict[str, dict[str, Place]] = {}
    for file in sorted(set(files.values())):
        if Path(file).name != file or not file.isprintable() or not has(folder, file):
            what = f"names {clean(file)}, which is not in the folder"
            raise ConfigError(what, file=folder / INDEX, remedy="bring it there")
        held[file] = tensors_in(folder, file)
    if gone := [name for name, file in files.items() if name not in held[file]]:
        what = f"lacks {clean(gone[0])}, which the index says it holds"
        raise ConfigError(what, file=folder / files[gone[0]], remedy="download both again")
    return {name: held[file][name] for name, file in files.items()}


def tensors_in(folder: Path, name: str) -> dict[str, Place]:
    """The tensors in one file, after its header."""
    file = folder / name
    with opened(file) as opening:
        names = opening.keys()
        if len(names) > MOST_TENSORS:
            raise ConfigError(f"holds {len(names):,} tensors, and no model has more than {MOST_TENSORS:,}", file=file)
        found = {its: Place(name, its, tuple(opening.get_slice(its).get_shape())) for its in names}
    for its, place in found.items():
        if not its.isprintable():
            raise ConfigError(f"the name of a tensor, {shown(its)}, has characters that cannot be shown", file=file)
        if 0 in place.shape:
            raise ConfigError(f"{its} {place.shape} is empty", file=file)
    return found


def opened(file: Path) -> Any:
    """A safetensors file for reading."""
    try:
        return safe_open(str(file), framework="pt")
    except (SafetensorError, OSError) as problem:
        what = f"not a whole safetensors file: {clean(str(problem))}"
        raise ConfigError(what, file=file, remedy="download it again") from None
    except (RuntimeError, MemoryError):  # by torch, for a private mapping of more than there is memory
        what = f"its {file.stat().st_size:,} bytes cannot be mapped into memory"
        remedy = "use a machine with more memory, or save it in several files: save_pretrained(FOLDER, max_shard_size)"
        raise ConfigError(what, file=file, remedy=remedy) from None


def clean(text: str) -> str:
    """A foreign text for a message: short, and without characters that cannot be shown."""
    return text if text.isprintable() and len(text) <= 60 else shown(text)


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int = SHARD_BYTES) -> None:
    """One safetensors file, or several with an index; one of them is in memory at a time."""
    placed: dict[str, int] = {}
    drafts: list[Path] = []
    shard: dict[str, Tensor] = {}
    filled = total = 0

    def close() -> None:
        drafts.append(folder / f".shard-{len(drafts)}")
        write_tensors(drafts[-1], shard, {"format": "pt"})
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
