"""Whose recipe it is: what a user names himself may load code and open files, what came in a folder may not.

A run carries a signature of its recipe (HMAC-SHA256 with a key that only this user's account has). A run whose
signature holds was made here, from a recipe its user named. Any other was sent by somebody: classes from outside the
package (`kind = "module:Class"`) and the corpus that its recipe names stay closed, unless the user says `--trust`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from foretell.errors import ConfigError

PASSING_KEY = "FORETELL_PASSING_KEY"
"""holds the key of a process that can keep none, for the processes it starts"""
_trusted: ContextVar[bool] = ContextVar("trusted", default=True)
_everything: ContextVar[bool] = ContextVar("everything", default=False)


def is_trusted() -> bool:
    """Whether what is being read may name code and files."""
    return _trusted.get() or _everything.get()


def trusts_everything() -> bool:
    """Whether the user has said `--trust`."""
    return _everything.get()


@contextlib.contextmanager
def foreign() -> Iterator[None]:
    """Within it, what is read came from somebody else."""
    token = _trusted.set(False)
    try:
        yield
    finally:
        _trusted.reset(token)


def trust_everything() -> None:
    """What `--trust` says: runs that others made may load code and open files."""
    _everything.set(True)


@contextlib.contextmanager
def trusting(everything: bool = True) -> Iterator[None]:
    """The same for a block, where `everything`."""
    token = _everything.set(everything or _everything.get())
    try:
        yield
    finally:
        _everything.reset(token)


def refuse(where: Path | str, would: str, otherwise: str = "") -> ConfigError:
    """The error for what a run that was not made here would do."""
    remedy = f"if you trust who made it, add --trust{f', or {otherwise}' if otherwise else ''}"
    return ConfigError(f"this run was not made here, and would {would}", file=where, remedy=remedy)


# --- signatures -----------------------------------------------------------------------------------


def sign(content: bytes) -> str:
    """The signature of some bytes."""
    return hmac.new(own_key(), content, hashlib.sha256).hexdigest()


def is_own(content: bytes, signature: object) -> bool:
    """Whether this user's account has signed these bytes."""
    return isinstance(signature, str) and signature.isascii() and hmac.compare_digest(sign(content), signature)


def own_key() -> bytes:
    """This account's key, made when it is first needed.

    Where none can be kept, one for this process and those it starts: what they make is their own, and nobody's later.
    """
    if held := os.environ.get(PASSING_KEY):
        return held.encode()
    try:
        key = kept_key(state_folder() / "signing-key")
        if len(key) == 32:
            return key
    except OSError:
        pass
    os.environ[PASSING_KEY] = secrets.token_hex(32)
    return own_key()


def kept_key(file: Path) -> bytes:
    """The key in a file, which is made where it is not there."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)  # the first of two processes wins
        draft.unlink()
    return file.read_bytes()


def keeps_key() -> bool:
    """Whether what is signed now will be known as this account's later."""
    own_key()
    return PASSING_KEY not in os.environ


def state_folder() -> Path:
    """`$FORETELL_STATE`, or the platform's usual place for what cannot be made again."""
    if own := os.environ.get("FORETELL_STATE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "foretell"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "foretell" / "state"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "foretell"
