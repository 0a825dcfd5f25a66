"""Compressed files, against the libraries that write them."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretell.data.compressed import COMPRESSED_ENDINGS, compression, opened
from foretell.errors import ConfigError

WRITERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
QUICKLY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("ending", COMPRESSED_ENDINGS)
@QUICKLY
@given(parts=st.lists(st.binary(max_size=5000), min_size=1, max_size=4), size=st.integers(1, 4000))
def test_members_and_frames_are_read_as_one_file(tmp_path: Path, ending: str, parts: list[bytes], size: int) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"".join(map(WRITERS[ending], parts)))
    with opened(path) as stream:
        found = b"".join(iter(lambda: stream.read(size), b""))
    assert found == b"".join(parts)


@pytest.mark.parametrize("ending", COMPRESSED_ENDINGS)
@QUICKLY
@given(content=st.binary(min_size=1, max_size=3000), share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_never_taken_for_a_whole_one(tmp_path: Path, ending: str, content: bytes, share: float) -> None:
    path = tmp_path / f"a{ending}"
    whole = WRITERS[ending](content)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ConfigError, match=r"damaged or truncated"), opened(path) as stream:
        stream.read()


def test_compression_is_told_from_the_last_ending() -> None:
    assert [compression(Path(name)) for name in ("a.txt.GZ", "a.gz.txt", "a.zst", "a")] == [".gz", "", ".zst", ""]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.gz: cannot be read: No such file"), opened(tmp_path / "gone.gz"):
        pass
