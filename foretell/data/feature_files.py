"""Files of vectors, written in constant memory: as many as come, wholly or not at all."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from foretell.artifacts import whole_file
from foretell.errors import ConfigError

Floats = NDArray[np.float32]
ENDINGS = (".npy", ".parquet")


class VectorFile(ABC):
    """Takes vectors block by block."""

    def __init__(self, stream: IO[bytes], width: int):
        self.stream, self.width, self.rows = stream, width, 0

    def add(self, vectors: Floats, columns: Mapping[str, Sequence[Any]]) -> None:
        """Vectors [n, width], and what else is known of each: n values under a name."""
        self.write(np.ascontiguousarray(vectors, dtype="<f4"), columns)
        self.rows += len(vectors)

    @abstractmethod
    def write(self, vectors: Floats, columns: Mapping[str, Sequence[Any]]) -> None:
        """Append a block."""

    @abstractmethod
    def finish(self) -> None:
        """Write the parts that are known only at the end."""


class Npy(VectorFile):
    """numpy's own format, [rows, width] fp32: vectors alone. Its header has room for any number of rows."""

    def __init__(self, stream: IO[bytes], width: int):
        super().__init__(stream, width)
        self._head()

    def _head(self) -> None:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self.width)}
        np.lib.format.write_array_header_1_0(self.stream, shape)

    @override
    def write(self, vectors: Floats, columns: Mapping[str, Sequence[Any]]) -> None:
        self.stream.write(vectors.tobytes())

    @override
    def finish(self) -> None:
        self.stream.seek(0)
        self._head()


class Parquet(VectorFile):
    """A table with a column `vector` of fp32 lists of equal length, next to the other columns."""

    def __init__(self, stream: IO[bytes], width: int):
        super().__init__(stream, width)
        self.writer: Any = None

    def write(self, vectors: Floats, columns: Mapping[str, Sequence[Any]]) -> None:
        """See `VectorFile.write`; a block is a row group."""
        import pyarrow
        import pyarrow.parquet

        lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), self.width)
        table = pyarrow.table({**{name: pyarrow.array(values) for name, values in columns.items()}, "vector": lists})
        if self.writer is None:
            self.writer = pyarrow.parquet.ParquetWriter(self.stream, table.schema)
        self.writer.write_table(table)

    @override
    def finish(self) -> None:
        if self.writer is None:
            self.write(np.zeros((0, self.width), np.float32), {})
        self.writer.close()


@contextlib.contextmanager
def vector_file(path: Path, width: int) -> Iterator[VectorFile]:
    """A file of vectors of that width, in the format that the name's ending says; there when all is written."""
    if path.suffix not in ENDINGS:
        raise ConfigError(
            "has an unknown ending for feature vectors",
            file=path,
            remedy=f"name one that ends in {' or '.join(ENDINGS)}",
        )
    if path.suffix == ".parquet":
        require_parquet(path)
    with whole_file(path) as stream:
        file = (Npy if path.suffix == ".npy" else Parquet)(stream, width)
        try:
            yield file
        finally:  # also what is thrown away has to be ended while its file is open
            file.finish()


def require_parquet(path: Path) -> None:
    """Raise `ConfigError` if the library is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        remedy = "pip install 'foretell[parquet]'"
        raise ConfigError("pyarrow, which writes .parquet files, is not installed", file=path, remedy=remedy) from None
