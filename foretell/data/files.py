"""Find the files of a corpus or labelled data set, and the split of each.

The rules:

- Below a folder, nothing is read whose path has a part that begins with a dot, and every real file is read once,
  however many links lead to it.
- A file is a split by its whole name or by a folder above it: `train.txt`, `dev.jsonl.gz`, `test/a.txt`,
  `train-00000-of-00003.parquet`. In a longer name the split is a part between dots, hyphens or underscores, and files
  of at least two splits share all the rest: `wiki.train.tokens` with `wiki.valid.tokens`. Blanks part nothing, so
  that `the night train.txt` is a book. With `eng.train`, `eng.testa` and `eng.testb` are for validation and test.
- Where files are named for splits, one is for training, and no other file is left out without a word.
"""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from foretell.data.compressed import COMPRESSED_ENDINGS
from foretell.errors import ConfigError, did_you_mean, printable

SPLITS = ("train", "valid", "test")
ALIASES = {"dev": "valid", "devel": "valid", "val": "valid", "validation": "valid"} | {name: name for name in SPLITS}
BESIDE_OTHERS = ALIASES | {"testa": "valid", "testb": "test"}
"""with the names of the CoNLL shared tasks, which are words for a split only where others share the rest of the name"""
SHOWN = 5
WHOLE_NAME = re.compile(rf"({'|'.join(ALIASES)})([-_.]\d+([-_.]of[-_.]\d+)?([-_.][0-9a-f]{{16}})?)?")
"""names that are a split as a whole"""
SEPARATORS = re.compile(r"([-_.])")
UNNAMED = "named for no split, as others are"
NAME_EACH = "name each: corpus = {train = …, valid = …, test = …}"

log = logging.getLogger("foretell")


@dataclass(frozen=True)
class LeftOut:
    """Files that are not read, with reasons."""

    place: str
    paths: tuple[Path, ...]
    why: str

    def __str__(self) -> str:
        return f"{printable(self.place)}: {len(self.paths)} not read ({self.why}): {listed(self.paths)}"


@dataclass(frozen=True)
class Found:
    """The files of a path, folder or glob."""

    place: str
    """as it was written"""
    root: Path
    """the folder searched"""
    files: tuple[Path, ...]
    """in order, each real file once"""
    links: Mapping[Path, Path] = field(default_factory=dict)
    """other paths to some of them"""
    left_out: tuple[LeftOut, ...] = ()


def listed(paths: Iterable[Path]) -> str:
    """The names of the first few."""
    names = [printable(path.name) for path in paths]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


@cache
def tell(text: str) -> None:
    """Log a message about a path once."""
    log.warning("%s", text)


# --- finding --------------------------------------------------------------------------------------


def find_files(
    place: str, known: Sequence[str] = (), wanted: Callable[[Path], bool] | None = None, kinds: str = ""
) -> Found:
    """The files of a path, folder or glob; of a folder only those `wanted`, which are of these `kinds`.

    `known`: names other than paths, for suggestions in errors.
    """
    path = expanded(place)
    if path.is_dir():
        everything = walk(path)
        if not everything:
            raise ConfigError("an empty folder", file=place, remedy="put train, valid and test files into it")
        chosen = [item for item in everything if item.is_file() and (wanted is None or wanted(item))]
        if not chosen:
            raise ConfigError(f"no {kinds or 'files'} in this folder (it has {listed(everything)})", file=place)
        return select(place, path, everything, chosen, f"no {kinds}" if kinds else "no files")
    if path.is_file():
        return Found(place, path.parent, (path,))
    matches = sorted(Path(item) for item in glob.glob(str(path), recursive=True))
    chosen = [item for item in matches if item.is_file()]
    if not chosen:
        raise ConfigError(f"corpus {place!r}: {nearest(path, known)}")
    root = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
    return select(place, root, matches, chosen, "no files")


def expanded(place: str) -> Path:
    """The path as a `Path`, if it can be looked up."""
    if not place:
        raise ConfigError("corpus is empty", remedy="give a file, a folder or a glob")
    try:
        path = Path(place).expanduser()
        path.is_dir()
    except (OSError, RuntimeError) as problem:  # too long, not allowed; a user who has no home
        raise ConfigError(f"corpus {place[:200]!r}: cannot be looked up: {problem.args[-1]}") from None
    return path


def select(place: str, root: Path, everything: Sequence[Path], chosen: Sequence[Path], others: str) -> Found:
    """The chosen paths, and the reasons why others are left out: links, packed copies, and the `others`."""
    wanted = set(chosen)
    copies = {path for path in wanted if path.with_name(unpacked(path.name)) in wanted - {path}}
    originals: dict[tuple[int, int], Path] = {}
    links: dict[Path, Path] = {}
    for path in sorted(wanted - copies, key=lambda path: (path.is_symlink(), path)):
        original = originals.setdefault(identity(path), path)
        if original is not path:
            links[path] = original
    reasons: dict[str, list[Path]] = {}
    for path in everything:
        if path in copies:
            reasons.setdefault("packed copies of files in the same folder", []).append(path)
        elif path not in wanted:
            folder = "links to folders that are read already" if path.is_symlink() else "folders"
            reasons.setdefault(folder if path.is_dir() else others, []).append(path)
    left_out = tuple(LeftOut(place, tuple(paths), why) for why, paths in reasons.items())
    return Found(place, root, tuple(sorted(originals.values())), links, left_out)


def walk(root: Path) -> list[Path]:
    """The files below a folder, in order, without hidden ones; links to folders already read are not followed."""
    entered: set[tuple[int, int]] = set()
    folders, linked, items = [root], list[Path](), list[Path]()
    while folders or linked:  # links last, so that one next to its target adds nothing
        folder = folders.pop() if folders else linked.pop(0)
        if identity(folder) in entered:
            items.append(folder)
            continue
        entered.add(identity(folder))
        for path in entries(folder):
            if not path.is_dir():
                items.append(path)
            else:
                (linked if path.is_symlink() else folders).append(path)
    return sorted(items)


def entries(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden, in order."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror or problem}", file=folder) from None


def identity(path: Path) -> tuple[int, int]:
    """The identity of a file or folder: equal for links to the same one."""
    stored = os.stat(path)
    return stored.st_dev, stored.st_ino


def missing(path: Path) -> ConfigError:
    """The error for a file of text that does not exist."""
    return ConfigError(nearest(path), file=path, remedy="name text files, or - for stdin")


def nearest(path: Path, known: Sequence[str] = ()) -> str:
    """A hint for a path that does not exist."""
    if path.is_symlink():
        return f"a link to {str(path.readlink())!r}, which does not exist"
    if path.exists():
        return "not a regular file"
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    here = [item.name for item in entries(folder)]
    missing = path.relative_to(folder).parts[0] if path.parts else ""
    hint = did_you_mean(missing, [*here, *known])
    names = f"; built-in: {', '.join(known[:SHOWN])}, …, which foretell doctor lists" if known else ""
    return f"no such file or folder{hint} (nearest existing folder: {printable(str(folder))}{names})"


# --- splits ---------------------------------------------------------------------------------------


def no_split(name: str) -> ConfigError:
    """The error for a split that is neither a known name nor a file."""
    meant = ALIASES.get(name.lower())
    folder = Path(name).parent
    beside = [entry.name for entry in entries(folder)] if folder.is_dir() else []
    hint = f"; did you mean {meant!r}?" if meant else did_you_mean(Path(name).name, [*SPLITS, *beside])
    return ConfigError(f"{name!r}: no such split{hint} ({', '.join(SPLITS)}) and no such file")


def split_keys(corpus: Mapping[str, str]) -> dict[str, str]:
    """The paths of `{train = …, dev = …}` by canonical names of the splits."""
    places: dict[str, str] = {}
    for key, place in corpus.items():
        if key not in ALIASES:
            raise ConfigError(f"corpus.{key}: no such split{did_you_mean(key, SPLITS)} (known: {', '.join(SPLITS)})")
        if ALIASES[key] in places:
            raise ConfigError(f"corpus.{key}: the {ALIASES[key]} split is given twice", remedy="leave one out")
        places[ALIASES[key]] = place
    if not places:
        raise ConfigError("corpus: no split is given", remedy=NAME_EACH)
    return places


@dataclass(frozen=True)
class Named:
    """The splits that paths are named after."""

    splits: Mapping[Path, str]
    doubtful: Mapping[Path, bool]
    """those with a word for a split in their name that no other file shares the rest of; whether between dots"""


def by_split(found: Found) -> tuple[dict[str, list[Path]], tuple[LeftOut, ...]]:
    """The files by the splits they are named after, possibly none; and the files that are not read."""
    named = split_names([*found.files, *found.links], found.root)
    splits = decide(found.files, named, found.place)
    for link, file in found.links.items():
        if splits and named.splits.get(link) != named.splits.get(file):
            raise ConfigError(
                f"{listed([link])} is a link to {listed([file])}, and one file cannot be two splits",
                file=found.place,
                remedy=NAME_EACH,
            )
    unnamed = tuple(path for path in found.files if path not in named.splits)
    if not splits or not unnamed:
        return splits, found.left_out
    return splits, (*found.left_out, LeftOut(found.place, unnamed, UNNAMED))


def decide(paths: Iterable[Path], named: Named, place: str) -> dict[str, list[Path]]:
    """Paths by split, empty without such names; a `ConfigError` if the training split is ambiguous."""
    splits: dict[str, list[Path]] = {}
    unnamed: list[Path] = []
    for path in paths:
        splits.setdefault(named.splits[path], []).append(path) if path in named.splits else unnamed.append(path)
    held_out = [path for split, files in splits.items() for path in files if split != "train"]
    problem = ""
    if splits and "train" not in splits:
        problem = f"files are named for validation or test ({listed(held_out)}), and none for training"
    elif splits and not held_out and unnamed:
        problem = f"as {listed(splits['train'])} is named for training, {listed(unnamed)} would not be read"
    elif named.doubtful and (splits or any(named.doubtful.values())):
        problem = f"{listed(named.doubtful)} may or may not be named for a split: no others share the rest of the name"
    if problem:
        alone = f'if it is to be trained on, write corpus = {{train = "{place}"}}'
        raise ConfigError(problem, file=place, remedy=alone if os.path.isfile(place) else NAME_EACH)
    if named.doubtful:
        named_so = f"text like all other, whatever split the name may say: {listed(named.doubtful)}"
        tell(f"{printable(place)}: {named_so}; else {NAME_EACH}")
    return splits


def split_names(paths: Sequence[Path], root: Path) -> Named:
    """The splits that files are named after."""
    splits: dict[Path, str] = {}
    patterns: dict[tuple[Path, str, bool], dict[Path, str]] = {}
    for path in paths:
        folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
        words = [folder.lower() for folder in folders if folder.lower() in ALIASES]
        if match := WHOLE_NAME.fullmatch(stem(path.name)):
            words.append(match[1])
        if words:
            splits[path] = ALIASES[words[0]]
            continue
        for pattern, word, dotted in parts_named(path.name):
            patterns.setdefault((path.parent, pattern, dotted), {})[path] = word
    doubtful: dict[Path, bool] = {}
    for (_, _, dotted), words_of in patterns.items():
        found = {path: BESIDE_OTHERS[word] for path, word in words_of.items()}
        named = [path for path, word in words_of.items() if word in ALIASES]
        if len(set(found.values())) > 1 or (dotted and len(named) == len(paths)):
            splits |= found
        else:
            doubtful |= {path: dotted or doubtful.get(path, False) for path in named}
    return Named(splits, {path: dotted for path, dotted in doubtful.items() if path not in splits})


def stem(name: str) -> str:
    """A file's name in lower case, without the endings of compression and format."""
    plain = unpacked(name.lower())
    return plain.rpartition(".")[0] or plain


def unpacked(name: str) -> str:
    """A file's name without the ending of compression."""
    rest, dot, ending = name.rpartition(".")
    return rest if rest and dot + ending.lower() in COMPRESSED_ENDINGS else name


def parts_named(name: str) -> Iterator[tuple[str, str, bool]]:
    """The words for splits in a name: the rest, as `wiki.*.tokens`, the word, and whether it is between dots."""
    parts = ["", *SEPARATORS.split(unpacked(name.lower())), ""]
    for place in range(1, len(parts), 2):
        if parts[place] in BESIDE_OTHERS:
            rest = "".join([*parts[:place], "*", *parts[place + 1 :]])
            dotted = {parts[place - 1], parts[place + 1]} <= {".", ""}
            yield re.sub(r"\d+", "#", rest), parts[place], dotted
