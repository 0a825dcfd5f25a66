"""Files of `foretell compress`: a header of 51 bytes, and the message of a coder.

The header names what decoding has to be given: the model, and what its numbers depend on, each by a digest. A file is
checked before it is decoded, and what was decoded is checked against the digest of the original.
"""

from __future__ import annotations

import hashlib
import platform
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from foretell.errors import ConfigError

MAGIC = b"\x89FT\n"
VERSION = 1
FIELDS = struct.Struct(">4sBBB8s8sQ16s")
"""magic, version, adaptive, members of a mixture, model, machine, tokens, digest of the original"""
CHECK = struct.Struct(">I")


@dataclass(frozen=True)
class Header:
    """The header of a compressed file."""

    adaptive: bool
    """whether the model learned from the text as it read it"""
    model: bytes
    """digest of the model: weights, tokenizer, settings"""
    tokens: int
    digest: bytes
    """`digest_of` the original"""
    weights: tuple[float, ...] = ()
    """those of a mixture, in the order of its members"""
    machine: bytes = b""
    """digest of what numbers depend on; see `machine`"""

    def seal(self, message: bytes) -> bytes:
        """The whole file."""
        packed = FIELDS.pack(
            MAGIC, VERSION, self.adaptive, len(self.weights), self.model, machine(), self.tokens, self.digest
        )
        packed += struct.pack(f">{len(self.weights)}d", *self.weights)
        return packed + CHECK.pack(zlib.crc32(message, zlib.crc32(packed))) + message


def opened(content: bytes, name: str) -> tuple[Header, bytes]:
    """The header and the message of a compressed file; raises `ConfigError` if it is none, or damaged."""
    if not content.startswith(MAGIC[: len(content)]) or not content:
        raise ConfigError("is not a file of foretell compress", file=name)
    if len(content) > len(MAGIC) and content[len(MAGIC)] != VERSION:
        raise ConfigError(f"is of version {content[len(MAGIC)]}, and this foretell reads version {VERSION}", file=name)
    damage = ConfigError("is truncated or altered", file=name, remedy="copy it again from where it was made")
    if len(content) < FIELDS.size:
        raise damage
    _, _, adaptive, members, model, made_on, tokens, digest = FIELDS.unpack_from(content)
    begin = FIELDS.size + 8 * members + CHECK.size
    if len(content) < begin:
        raise damage
    packed, message = content[: begin - CHECK.size], content[begin:]
    if CHECK.unpack_from(content, len(packed))[0] != zlib.crc32(message, zlib.crc32(packed)):
        raise damage
    weights = struct.unpack_from(f">{members}d", content, FIELDS.size)
    return Header(bool(adaptive), model, tokens, digest, weights, made_on), message


def digest_of(content: bytes) -> bytes:
    """16 bytes that change with the content (BLAKE2b)."""
    return hashlib.blake2b(content, digest_size=16).digest()


def digest_of_parts(parts: Sequence[str]) -> bytes:
    """8 bytes that change with any of the parts."""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).digest()


@cache
def machine() -> bytes:
    """A digest of what the last bit of a probability depends on: libraries, system and kind of processor.

    exp, log and the order of sums differ between them, and one bit is enough for decoding to go wrong.
    """
    versions = [f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "llvmlite")]
    system = [platform.system(), platform.machine(), "".join(platform.libc_ver())]
    return digest_of_parts([*versions, *system, processor()])


def version(package: str) -> str:
    """The version of an installed package; "" without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """The name of the processor, as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
