"""Compressors that language models are compared with: bits per byte of a text, given the training text.

A compressor learns from all that it reads, the text itself included. So its figure is an *adaptive* one, to be held
against models that learn as they read and never against models as trained: there is no static one. It is the size of
both texts together minus that of the training text alone.
"""

from __future__ import annotations

import lzma
import random
import shutil
import string
import subprocess
import tempfile
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path

from typing_extensions import override

from foretell.errors import ConfigError


class Compressor(ABC):
    """A compressor with fixed settings; abstract."""

    name: str
    """its key in results"""
    title: str
    """its name in tables"""

    @abstractmethod
    def size(self, content: bytes) -> int:
        """Bytes that it needs for some content."""

    def exists(self) -> bool:
        """Whether it is installed."""
        return True

    def padding(self, train: int, text: int) -> int:
        """Bytes of foreign text that have to go before both, so that their sizes may be subtracted."""
        return 0

    def bits_per_byte(self, text: bytes, train: bytes = b"") -> float | None:
        """Bits per byte of a text that is read after the training text; None if it is not installed, or no text."""
        if not text or not self.exists():
            return None
        before = foreign(self.padding(len(train), len(text))) + train
        return 8 * (self.size(before + text) - self.size(before)) / len(text)


class XZ(Compressor):
    """`xz -9`: LZMA with a dictionary of 64 MiB."""

    name, title = "xz", "xz -9"

    @override
    def size(self, content: bytes) -> int:
        return len(lzma.compress(content, preset=9))


class PPMd(Compressor):
    """PPMd, variant H (Shkarin 2002, "PPM: one step to practicality"), as in 7-Zip.

    Contexts have up to 16 bytes: repeated phrases and code are longer than the 6 of 7-Zip. Its model may take 1 GiB,
    as it forgets everything where the memory is full; what it does not need is not taken from the system.
    """

    name, title = "ppmd", "PPMd"
    order, memory = 16, 1 << 30

    @override
    def exists(self) -> bool:
        return find_spec("pyppmd") is not None

    @override
    def size(self, content: bytes) -> int:
        import pyppmd

        encoder = pyppmd.Ppmd7Encoder(self.order, self.memory)
        return len(encoder.encode(content)) + len(encoder.flush())


class ZPAQ(Compressor):
    """`zpaq -m5` (Mahoney 2016): context mixing, where the program is on the path.

    It chooses the size of its model by the length of its input, rounded up to a power of two, so only sizes between the
    same powers may be subtracted.
    """

    name, title = "zpaq", "zpaq -m5"
    least, added = 1 << 20, 1 << 13
    """length up to which the model is the same; what is added to a length (4,095 and a table of fragments)"""

    @override
    def exists(self) -> bool:
        return shutil.which("zpaq") is not None

    @override
    def padding(self, train: int, text: int) -> int:
        first, last = (max(length, self.least - 1) for length in (train, train + text + self.added))
        if first.bit_length() == last.bit_length():
            return 0
        return (1 << max(train, text + self.added).bit_length()) - train

    @override
    def size(self, content: bytes) -> int:
        with tempfile.TemporaryDirectory(prefix="foretell-") as folder:
            place, archive = Path(folder) / "text", Path(folder) / "text.zpaq"
            with place.open("wb") as file:
                file.write(content)
            done = subprocess.run(["zpaq", "add", archive, place, "-m5"], capture_output=True, text=True, check=False)
            if done.returncode or not archive.exists():
                said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
                raise ConfigError(f"zpaq failed: {said[-1]}")
            return archive.stat().st_size


COMPRESSORS: tuple[Compressor, ...] = (XZ(), PPMd(), ZPAQ())


def foreign(size: int) -> bytes:
    """Text unlike any other: random letters and blanks."""
    return "".join(random.Random(0).choices(string.ascii_lowercase + " ", k=size)).encode()
