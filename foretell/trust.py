"""Trust in recipes: one that the user names may load code and open files, one inside a run folder may not.

A run carries a signature of its recipe (HMAC-SHA256 with a key that only this user's account has). A run whose
signature is valid was made here, from a recipe its user named. Any other run was made elsewhere: classes from outside
the package (`kind = "module:Class"`) and the corpus that its recipe names stay closed unless the user passes `--trust`.
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

KEY_BYTES = 32
PASSING_KEY = "FORETELL_PASSING_KEY"
"""passes the key to child processes where it cannot be stored"""
_trusted: ContextVar[bool] = ContextVar("trusted", default=True)
_everything: ContextVar[bool] = ContextVar("everything", default=False)


def is_trusted() -> bool:
    """Whether the file being read may name code and other files."""
    return _trusted.get() or _everything.get()


def trusts_everything() -> bool:
    """Whether the user passed `--trust`."""
    return _everything.get()


@contextlib.contextmanager
def foreign() -> Iterator[None]:
    """Treat files read within the block as untrusted."""
    token = _trusted.set(False)
    try:
        yield
    finally:
        _trusted.reset(token)


def trust_everything() -> None:
    """Let runs made elsewhere load code and open files, as `--trust` does."""
    _everything.set(True)


@contextlib.contextmanager
def trusting(everything: bool = True) -> Iterator[None]:
    """Call `trust_everything` for a block only, if `everything`."""
    token = _everything.set(everything or _everything.get())
    try:
        yield
    finally:
        _everything.reset(token)


def refuse(where: Path | str, would: str, otherwise: str = "") -> ConfigError:
    """The error about an action that an untrusted run asks for."""
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

    If it cannot be stored, the key lasts for this process and its children: later, their runs count as made elsewhere.
    """
    if held := os.environ.get(PASSING_KEY):
        return held.encode()
    try:
        return kept_key(state_folder() / "signing-key")
    except OSError:
        pass
    os.environ[PASSING_KEY] = secrets.token_hex(32)
    return own_key()


def kept_key(file: Path) -> bytes:
    """The key in a file, created if missing; a `ConfigError` if it is damaged."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)  # the first of two processes wins
        draft.unlink()
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        what = f"is damaged: it holds {len(key)} bytes, and a key has {KEY_BYTES}"
        remedy = "restore it from a backup, or delete it (runs made so far then need --trust)"
        raise ConfigError(what, file=file, remedy=remedy)
    return key


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
