"""`checksums.json`: the checksums of the files in its folder.

Each file of such a folder is verified before use: one that is missing, altered, a link or not a plain file is reported
by name and not used.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.artifacts import write_json
from foretell.errors import ConfigError
from foretell.strict_json import LARGEST, parse_json

FILE = "checksums.json"
LARGEST_FILE = 256 << 20
"""bytes of a file that does not hold weights"""
OWN = "checksum"
"""the key of the checksum of `checksums.json` itself"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+")


def write_checksums(folder: Path, files: Mapping[str, str], **facts: Any) -> None:
    """Write the checksums of the files of a folder, by name, along with some facts."""
    write_json(folder / FILE, sealed(facts | {"files": dict(sorted(files.items()))}))


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its own checksum."""
    return {**record, OWN: digest_of(record)}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether a record is what `sealed` made."""
    return record.get(OWN) == digest_of(record)


def digest_of(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record, its own checksum left out, in hexadecimal."""
    content = json.dumps({key: value for key, value in record.items() if key != OWN}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read_checksums(folder: Path, format: int) -> dict[str, Any]:
    """Read the record of `write_checksums`; raises `ConfigError` if it is missing, damaged or of another format."""
    if not (folder / FILE).exists():
        raise ConfigError("is missing: damaged, or of an older format", file=folder / FILE, remedy="train it again")
    found = read_record(folder / FILE)
    if found.get("format") != format:
        what = f"is of format {found.get('format')!r}, and this version reads format {format}"
        raise ConfigError(what, file=folder / FILE, remedy="train it again")
    if not is_sealed(found):
        raise damaged(folder / FILE)
    files = found.get("files")
    if not isinstance(files, dict) or not all(NAME.fullmatch(n) and isinstance(d, str) for n, d in files.items()):
        raise damaged(folder / FILE)
    return found


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Raise `ConfigError` with the name of the first file that does not match its checksum."""
    for name, expected in files.items():
        file = plain_file(folder, name)
        large = file.stat().st_size > LARGEST_FILE
        if large and not name.endswith(".safetensors"):
            raise damaged(file, "is larger than such a file can be")
        if large and is_sparse(file):
            raise damaged(file, "is mostly holes, which weights are not")
        if (large and not fills_its_length(file)) or digest(file) != expected:
            raise damaged(folder / name, "does not match its checksum")


def is_sparse(file: Path) -> bool:
    """Whether less than half of a file is on the disk: cheap to send, and long to read."""
    facts = file.stat()
    return getattr(facts, "st_blocks", facts.st_size) * 512 < facts.st_size // 2


def fills_its_length(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size) if size <= LARGEST else b""
    try:
        tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        return file.stat().st_size == 8 + size + max(int(entry["data_offsets"][1]) for entry in tensors)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def plain_file(folder: Path, name: str) -> Path:
    """The path of a plain file in a folder; raises `ConfigError` for links and everything else."""
    path = folder / name
    if not NAME.fullmatch(name):
        raise damaged(folder, f"names a file {name!r}")
    try:
        mode = path.lstat().st_mode
    except OSError:
        raise damaged(path, "is missing") from None
    if not stat.S_ISREG(mode):
        raise damaged(path, "is a link" if stat.S_ISLNK(mode) else "is not a plain file")
    return path


def plain_folder(path: Path) -> bool:
    """Whether it is a folder, and not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON object that foretell wrote, infinities included; raises `ConfigError` if it is damaged."""
    content = plain_file(path.parent, path.name).read_bytes() if path.stat().st_size <= LARGEST else b""
    found = parse_json(content, path, lenient=True)
    if not isinstance(found, dict):
        raise damaged(path)
    return found


def damaged(path: Path, what: str = "is damaged") -> ConfigError:
    """The error for a file that is not as it was written."""
    return ConfigError(what, file=path, remedy="restore it from a backup")


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
