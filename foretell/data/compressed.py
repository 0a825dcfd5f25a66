"""Read compressed files: `.gz`, `.xz` and `.zst`."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast, final

from foretell.errors import ConfigError

BLOCK = 1 << 20
COMPRESSED_BLOCK = 1 << 11
"""bytes of a `.zst` file unpacked at once; each can expand to 32 thousand"""
COMPRESSED_ENDINGS = (".gz", ".xz", ".zst")
DAMAGE = (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error)
"""what unpacking a damaged file raises"""


def compression(path: Path) -> str:
    """The ending of compression in lower case; empty if the file is not compressed."""
    ending = path.suffix.lower()
    return ending if ending in COMPRESSED_ENDINGS else ""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of a file; raises `ConfigError` if they cannot be read completely."""
    try:
        with open_stream(path) as stream:
            yield stream
    except DAMAGE as problem:
        raise ConfigError(f"damaged or truncated ({problem})", file=path, remedy="fetch or write it again") from None
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror or problem}", file=path) from None


def open_stream(path: Path) -> IO[bytes]:
    """The uncompressed bytes of a file that is plain, `.gz`, `.xz` or `.zst`; see `opened` for its errors."""
    openers: dict[str, Callable[[Path], Any]] = {
        ".gz": gzip.open,
        ".xz": lzma.open,
        ".zst": open_zstd,
    }
    if (ending := compression(path)) not in openers:
        return path.open("rb")
    if path.is_file() and path.stat().st_size == 0:
        raise EOFError("it is empty")
    return cast("IO[bytes]", openers[ending](path))


def open_zstd(path: Path) -> IO[bytes]:
    """The unpacked bytes of a `.zst` file."""
    return io.BufferedReader(ZstdFile(path), BLOCK)


@final
class ZstdFile(io.RawIOBase):
    """A `.zst` file of one or more complete frames. The library's own reader accepts truncated files and ignores all
    frames but the first."""

    def __init__(self, path: Path) -> None:
        import zstandard  # slow to import

        self.stored = path.open("rb")
        self.error: type[Exception] = zstandard.ZstdError
        self.library = zstandard.ZstdDecompressor()
        self.frame = self.library.decompressobj()
        self.begun = False
        self.unpacked = memoryview(b"")

    def readable(self) -> bool:
        """True, as `io.BufferedReader` requires."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to the size of the buffer; return the number of bytes, 0 at the end."""
        while not self.unpacked and (packed := self.frame.unused_data or self.stored.read(COMPRESSED_BLOCK)):
            if self.frame.eof:
                self.frame, self.begun = self.library.decompressobj(), False
            try:
                self.unpacked, self.begun = memoryview(self.frame.decompress(packed)), True
            except self.error as problem:
                raise EOFError(str(problem)) from None
        if not self.unpacked and self.begun and not self.frame.eof:
            raise EOFError("the last frame is incomplete")
        size = min(len(buffer), len(self.unpacked))
        buffer[:size], self.unpacked = self.unpacked[:size], self.unpacked[size:]
        return size

    def close(self) -> None:
        """Close the file."""
        self.stored.close()
        super().close()
