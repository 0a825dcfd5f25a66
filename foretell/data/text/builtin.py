"""Corpora known by name: the usual ones below `$FORETELL_DATA`, labelled or not, and one that every Python has."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from foretell.artifacts import write_atomic
from foretell.cache import cache_folder, digest
from foretell.checksums import is_sealed, sealed
from foretell.data.files import by_split, entries, select
from foretell.data.labelled.datasets import SETS
from foretell.data.labelled.opening import open_text
from foretell.data.text.corpus import Corpus, Files, Source, Texts
from foretell.data.text.holdout import Whole, byte_length, shuffled
from foretell.data.text_files import is_text_file
from foretell.errors import ConfigError

EXTRACTION = 1  # raise it when the same Python would give other documents
HELD_OUT_BYTES = 100_000
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SKIPPED_FOLDERS = {
    *("test", "tests", "idle_test", "idlelib", "lib2to3", "turtledemo", "pydoc_data"),
    *("site-packages", "dist-packages", "__pycache__"),
}


def spell_out(text: str) -> str:
    """Text of symbols between blanks, where `_` is a blank: `t h e _ c a t` is `the cat`."""
    return text.replace(" ", "").replace("_", " ")


@dataclass(frozen=True)
class Folder:
    """A corpus of files below `$FORETELL_DATA`."""

    folder: str
    files: str
    """The names of its files without endings of compression, for errors."""
    transform: Callable[[str], str] | None = None
    splits: bool = True
    """Whether the files come as train, valid and test."""


PYTHON_DOCS = "python-docs"
FOLDERS = {
    "ptb": Folder("ptb", "ptb.train.txt, ptb.valid.txt, ptb.test.txt"),
    "ptb-char": Folder("ptb_char", "ptb.char.{train,valid,test}.txt", spell_out),
    "wikitext-2": Folder("wikitext-2", "wiki.{train,valid,test}.tokens"),
    "wikitext-103": Folder("wikitext-103", "wiki.{train,valid,test}.tokens"),
    "enwik8": Folder("enwik8", "enwik8.txt", splits=False),  # 90/5/5 in order, as is usual
    # divided 90/5/5 in order, where nanoGPT has 90/10: its validation set is our valid and test
    "tinyshakespeare": Folder("tinyshakespeare", "input.txt", splits=False),
    "wiki-en": Folder("wiki_en", "train.txt, valid.txt, test.txt"),
    "novels": Folder("novels100", "train.txt, valid.txt, test.txt"),
}
BUILTIN = (PYTHON_DOCS, *FOLDERS, *SETS)


def open_builtin(name: str) -> Corpus:
    """The built-in corpus of this name; a `ConfigError` says which files to put where."""
    if name == PYTHON_DOCS:
        return Corpus(name, python_docs())
    if name in SETS:
        return open_text(name)
    entry = FOLDERS[name]
    root = os.environ.get("FORETELL_DATA")
    place = f"$FORETELL_DATA/{entry.folder}"
    if not root:
        raise ConfigError(f"corpus {name!r}: set FORETELL_DATA to a folder and put {entry.files} into {place}")
    folder = Path(root).expanduser() / entry.folder
    inside = entries(folder) if folder.is_dir() else []
    found = select(str(folder), folder, inside, [item for item in inside if is_text_file(item) and item.is_file()], "")
    named = by_split(found)[0] if entry.splits else {}
    if not found.files or (entry.splits and len(named) < 3):
        raise ConfigError(f"corpus {name!r}: put {entry.files} into {folder} ({place})")
    if entry.splits:
        return Corpus(name, {split: Files(files, entry.transform) for split, files in named.items()})
    return Corpus(name, Whole(Files(found.files, entry.transform)).shares())


# --- the documentation of Python ------------------------------------------------------------------


@lru_cache(maxsize=1)
def python_docs() -> dict[str, Source]:
    """The help topics and docstrings of the running Python's standard library, about 1.9 MB of
    English.

    One document a topic and one a module, paragraphs that occurred before left out (so that no
    split holds text of another), then about 100 kB each of whole documents as valid and test. The
    files are parsed, never run.
    """
    documents = kept_documents()
    remaining = shuffled(len(documents)).tolist()
    parts: dict[str, list[int]] = {"valid": [], "test": []}
    for chosen in parts.values():
        room = HELD_OUT_BYTES
        for index in list(remaining):
            if (size := byte_length(documents[index])) <= room:
                room -= size
                chosen.append(index)
                remaining.remove(index)
    parts = {"train": remaining, **parts}
    return {name: Texts([documents[index] for index in sorted(chosen)]) for name, chosen in parts.items()}


def kept_documents() -> list[str]:
    """The documents, from the cache where this very Python's are there: parsing its library takes seconds."""
    key = digest(f"extraction {EXTRACTION}", sys.version, sysconfig.get_paths()["stdlib"])
    path = cache_folder() / PYTHON_DOCS / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and is_sealed(kept):  # else it was altered, and is made again
            return list(kept["documents"])
    documents = without_repeats([*topics(), *docstrings()])
    with contextlib.suppress(OSError):  # a cache that cannot be written to costs only time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(sealed({"documents": documents})).encode())
    return documents


def topics() -> Iterator[str]:
    """The help topics of the interactive `help()`."""
    from pydoc_data.topics import topics as texts  # only text, and large: not needed otherwise

    for name in sorted(texts):
        yield texts[name]


def docstrings() -> Iterator[str]:
    """For each module of the standard library all its docstrings, in order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(source_files(root), key=lambda path: path.relative_to(root).as_posix()):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue
        yield "\n\n".join(docstrings_below(tree))


def source_files(root: Path) -> Iterator[Path]:
    """The modules below a folder, tests and foreign packages left out."""
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name not in SKIPPED_FOLDERS]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def docstrings_below(node: ast.AST) -> Iterator[str]:
    """The docstrings of a module, its classes and functions; expressions are not walked."""
    if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
        yield text
    for child in getattr(node, "body", ()):
        yield from docstrings_below(child)


def without_repeats(documents: Iterable[str]) -> list[str]:
    """The documents without paragraphs that occurred before; those that this empties are left out."""
    seen: set[str] = set()
    kept: list[str] = []
    for document in documents:
        fresh = []
        for paragraph in paragraphs(document):
            if paragraph not in seen:
                seen.add(paragraph)
                fresh.append(paragraph)
        if fresh:
            kept.append("\n\n".join(fresh) + "\n")
    return kept


def paragraphs(document: str) -> Iterator[str]:
    """The blocks of lines between blank lines, blanks at the ends of lines dropped."""
    block: list[str] = []
    for line in [*document.splitlines(), ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield "\n".join(block)
            block = []
