"""Files of vectors: what is in them, in how little memory, and that none is half written."""

from pathlib import Path

import numpy as np
import pytest

from foretell.data.feature_files import vector_file
from foretell.errors import ConfigError


@pytest.mark.parametrize("blocks", [[], [3], [1, 4, 2]])
@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_blocks_are_one_array(tmp_path: Path, ending: str, blocks: list[int]) -> None:
    expected = np.random.default_rng(0).normal(size=(sum(blocks), 4)).astype(np.float32)
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    with vector_file(path, 4) as file:
        for part in np.split(expected, np.cumsum(blocks)[:-1]) if blocks else []:
            file.add(part.astype(np.float64), {"text": [f"{value:.3f}" for value in part[:, 0]]})
    if ending == "npy":
        found = np.load(path)
    else:
        table = parquet.read_table(path)
        found = np.array(table["vector"].to_pylist(), np.float32).reshape(-1, 4)
        assert not blocks or table["text"].to_pylist() == [f"{value:.3f}" for value in expected[:, 0]]
    assert found.dtype == np.float32 and np.array_equal(found, expected)
    assert file.rows == len(expected)


def test_many_vectors_need_no_memory(tmp_path: Path) -> None:
    """What is written is not kept: 256 blocks of 1 MiB while the process grows by a few of them at most."""
    resource = pytest.importorskip("resource")
    block = np.arange(2**18, dtype=np.float32).reshape(-1, 64)
    with vector_file(tmp_path / "many.npy", 64) as file:
        file.add(block, {})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(255):
            file.add(block, {})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    found = np.load(tmp_path / "many.npy", mmap_mode="r")
    assert found.shape == (2**20, 64) and np.array_equal(found[-4096:], block)


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"old.{ending}"
    path.write_text("old")
    with pytest.raises(KeyError), vector_file(path, 4) as file:
        file.add(np.zeros((3, 4), np.float32), {"text": ["a", "b", "c"]})
        raise KeyError
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"a\.csv: has an unknown ending .* ends in \.npy or \.parquet"),
        vector_file(tmp_path / "a.csv", 4),
    ):
        pass
    assert not list(tmp_path.iterdir())
