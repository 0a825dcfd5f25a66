"""A tokenizer.json that others wrote, looked through and tried out before it is believed.

The `tokenizers` library ends the whole process for some files (a token with the id 2,147,483,648, a damaged table of
characters), fills the memory for others, and gives tokens other ids than their file says where these have gaps. So the
ids are read here first, and a file from outside is tried out in a process of its own, with little time and memory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import tokenizers

from foretell.checksums import verify
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.strict_json import JsonObject, read_object, shown
from foretell.trust import is_trusted

SECONDS, PATIENCE = 6, 20
"""of a processor, and by the clock"""
MEMORY = 1 << 30
"""bytes of address space"""
TRIAL = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[3]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
import tokenizers
library = tokenizers.Tokenizer.from_str(open(sys.argv[1], encoding="utf-8-sig").read())
library.no_truncation()
library.no_padding()
library.to_str()
letters = "aZ0 .\\n\\u00e9\\u4e2d\\U0001f600'"
tail = "".join(map(chr, range(32, 127)))
texts = ["", "The cat, don't: 12.5 \\u00e9\\u4e2d!", *((a + b) * 40 + tail for a in letters for b in ("", "a"))]
for encode_special_tokens in (False, True):
    library.encode_special_tokens = encode_special_tokens
    for text in texts:
        library.decode(library.encode(text).ids)
"""


def read_library(path: Path) -> tokenizers.Tokenizer:
    """Load a tokenizer.json with the library; an untrusted one is checked and tried out first (see `trust`)."""
    if not is_trusted():
        check_tokenizer(path)
        try_tokenizer(path)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as problem:
        raise ConfigError(f"cannot be read: {getattr(problem, 'strerror', 'not UTF-8')}", file=path) from None
    with failing("not a JSON file of the tokenizers library", path):
        return tokenizers.Tokenizer.from_str(content)


def named_file(path: Path | str) -> Path:
    """The tokenizer.json at a path, or in a run folder; raises `ConfigError` if that of a run is not as written."""
    path = Path(path).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    run = Run(file.parent)
    if run.recipe_file.is_file() and run.checksums_file.is_file() and run.read().holds(file):
        verify(run.path, {file.name: run.checksums["files"][file.name]})
    return file


@contextlib.contextmanager
def failing(what: str, file: Path | None = None) -> Iterator[None]:
    """Turn errors of the library into `ConfigError`: plain `Exception`s, and panics, which are not `Exception`s."""
    try:
        yield
    except BaseException as problem:
        if type(problem) is not Exception and type(problem).__name__ != "PanicException":
            raise
        raise ConfigError(f"{what}: {shown(str(problem))}", file=file) from None


def check_tokenizer(path: Path) -> None:
    """Raise `ConfigError` if the ids of a tokenizer.json are not 0, 1, 2 and so on."""
    found = read_object(path)
    model = found.inner("model")
    vocabulary = model.value("vocab")
    if isinstance(vocabulary, list):  # pieces and their scores, in order
        pieces = [piece[0] if isinstance(piece, list) and piece else None for piece in vocabulary]
        if wrong := [number for number, piece in enumerate(pieces) if not isinstance(piece, str)]:
            raise ConfigError(f"entry {wrong[0]} of 'model.vocab' is not a [text, score] pair", file=path)
        ids = {str(piece): token for token, piece in enumerate(pieces)}
        size = len(pieces)
    else:
        ids = ids_of(model.inner("vocab"))
        check_ids(ids, path)
        size = len(ids)
    for entry in found.entries("added_tokens", []):
        added = JsonObject(entry, path, "added_tokens")
        content, token = added.text("content"), added.integer("id", least=0)
        if content and ids.setdefault(content, size) == token:
            size = max(size, token + 1)
            continue
        raise ConfigError(
            f"the added token {shown(content)} has the id {token}, but the library would give it {ids.get(content)}",
            file=path,
            remedy="give added tokens the ids after the vocabulary, without gaps",
        )


def ids_of(vocabulary: JsonObject) -> dict[str, int]:
    """The ids of a vocabulary by token."""
    for token in vocabulary:
        vocabulary.integer(token, least=0)
    return {token: int(number) for token, number in vocabulary.items()}


def check_ids(ids: Mapping[str, int], path: Path) -> None:
    """Raise `ConfigError` if tokens are not numbered from 0, each once."""
    tokens: list[str | None] = [None] * len(ids)
    for token, number in ids.items():
        if number >= len(ids):
            what = f"the token {shown(token)} has the id {number}, though there are only {len(ids):,} tokens"
            raise ConfigError(what, file=path, remedy="number tokens from 0 on, without gaps")
        if (other := tokens[number]) is not None:
            raise ConfigError(f"the tokens {shown(other)} and {shown(token)} both have the id {number}", file=path)
        tokens[number] = token


def try_tokenizer(path: Path) -> None:
    """Raise `ConfigError` if the library crashes when it loads a tokenizer.json or encodes some texts with it."""
    limits = [str(MEMORY), str(SECONDS)]
    command = [sys.executable, "-P", "-c", TRIAL, str(path.absolute()), *limits]
    alone = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}
    try:
        ended = subprocess.run(
            command, capture_output=True, check=False, timeout=PATIENCE, env=alone, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        ended = None
    if ended is None or ended.returncode == -24:  # SIGXCPU
        why = "it takes the tokenizers library too long to read it or to encode a few words"
    elif ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        told = next((line for line in reversed(lines) if line.startswith("Exception: ")), None)
        why = "the tokenizers library " + ("breaks down over it" if told is None else f"says {shown(told[11:])}")
    else:
        return
    raise ConfigError(why, file=path, remedy="save it again with the program it was made with")
