"""Files and folders that appear whole or not at all.

Everything is written under a temporary name in the same folder, synced, and renamed when it is finished. So a reader
never sees half a file, and an error, a full disk or a kill leaves the earlier file as it was. The draft of a killed
process is deleted by the next writer into the same folder. A draft in use is locked (flock); the system drops the lock
when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # not on this platform: there, one process at a time is up to the user
    fcntl = None  # type: ignore[assignment]

DRAFT = ".draft"


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`, wholly or not at all."""
    with whole_file(path) as file:
        file.write(content)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as readable JSON, wholly or not at all."""
    write_atomic(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file of tensors, detached and contiguous, wholly or not at all.

    Raises `OSError` for errors of the system, which the library reports by number in its message only.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as file:
        try:
            save_file(plain, file.name, metadata)
        except SafetensorError as problem:
            told = re.search(r"os error (\d+)", str(problem))
            if told is None:
                raise
            raise OSError(int(told[1]), os.strerror(int(told[1])), str(path)) from problem


def without_nan(value: Any) -> Any:
    """The value with null for each number that is not finite: JSON has neither NaN nor Infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that is at `path` when the block ends well, and not at all if it does not."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_dead_drafts(path.parent)
    draft, file = new_file(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.replace(path)
    except OSError as problem:
        raise named(problem, draft, path) from None
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that is at `path` when the block ends well, and not at all if it does not.

    What is at `path` may be an empty folder, which is replaced; anything else is a `FileExistsError`.
    """
    if not is_free(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    place = path.absolute()  # `.` has no name
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_dead_drafts(place.parent)
    draft, descriptor = new_folder(place)
    try:
        yield draft
        sync_tree(draft)
        if place.is_dir():
            place.rmdir()
        draft.rename(place)
    except OSError as problem:
        raise named(problem, draft, path) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(descriptor)
    sync_folder(place.parent)


def is_free(path: Path) -> bool:
    """Whether nothing is there, or a folder with nothing in it."""
    return not os.path.lexists(path) or (path.is_dir() and not path.is_symlink() and not any(path.iterdir()))


# --- drafts ---------------------------------------------------------------------------------------


def new_file(path: Path) -> tuple[Path, IO[bytes]]:
    """A draft of a file, open and locked."""
    while True:
        draft = draft_of(path)
        file = draft.open("xb")
        if is_ours(draft, file.fileno()):
            return draft, file
        file.close()


def new_folder(path: Path) -> tuple[Path, int]:
    """A draft of a folder, and the descriptor that holds it."""
    while True:
        draft = draft_of(path)
        draft.mkdir()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(draft, os.O_RDONLY)
            if is_ours(draft, descriptor):
                return draft, descriptor
            os.close(descriptor)


def is_ours(draft: Path, descriptor: int) -> bool:
    """Lock a new draft; False where another process took it for a dead one before it was locked."""
    try:
        lock(descriptor)
        return os.path.samestat(os.fstat(descriptor), os.stat(draft))
    except (BlockingIOError, FileNotFoundError):
        return False


def draft_of(path: Path) -> Path:
    """A new temporary name in the folder of `path`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")


def is_draft(path: Path) -> bool:
    """Whether a file or folder has the name of a draft."""
    return re.fullmatch(rf"\..*\.[0-9a-f]{{8}}{re.escape(DRAFT)}", path.name, re.DOTALL) is not None


def remove_dead_drafts(folder: Path) -> None:
    """Delete the drafts in a folder whose processes have ended."""
    with contextlib.suppress(OSError):
        for draft in [item for item in folder.iterdir() if is_draft(item)]:
            remove_if_dead(draft)


def remove_all_dead_drafts(folder: Path) -> None:
    """Delete the drafts of ended processes in a folder and all its subfolders."""
    for draft in [item for item in folder.rglob(f".*{DRAFT}") if is_draft(item)]:
        remove_if_dead(draft)


def remove_if_dead(draft: Path) -> None:
    """Delete a draft unless a living process holds it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(draft, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe of that name does not block
        try:
            lock(descriptor)  # raises where it is held
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def lock(descriptor: int) -> None:
    """Hold an open file until it is closed; a `BlockingIOError` where another process does."""
    if fcntl:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give `path` to an `OSError` of the block that has no file name, as errors of writes do."""
    try:
        yield
    except OSError as problem:
        if problem.filename is None and problem.errno is not None:
            problem.filename = str(path)
        raise


def named(problem: OSError, draft: Path, path: Path) -> OSError:
    """The error with the final path, if it has that of the draft or none."""
    known = str(problem.filename) if problem.filename is not None else ""
    if problem.errno is None or (known and not known.startswith(str(draft))):
        return problem
    inside = known.removeprefix(str(draft)).lstrip("/") if known else ""
    return type(problem)(problem.errno, problem.strerror, str(path / inside if inside else path))


def sync_tree(folder: Path) -> None:
    """Force a folder and all that is in it to the disk."""
    for place, _, files in os.walk(folder, topdown=False):
        for file in files:
            sync_file(Path(place) / file)
        sync_folder(Path(place))


def sync_file(file: Path) -> None:
    """Force a file to the disk."""
    handle = os.open(file, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Make renames inside a folder survive a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Make the folder, and keep other processes out of it until the block ends, however it ends.

    Without `wait`, raises `BlockingIOError` if another process holds it. The system drops the lock of a process that
    ends or is killed.
    """
    if not fcntl:
        folder.mkdir(exist_ok=True)
        yield
        return
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # renamed or deleted since it was made
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                break
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was renamed or deleted while we waited
    try:
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            folder.rmdir()  # only when it is empty: nothing was to be done
