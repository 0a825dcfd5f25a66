"""A compressed file says what it was made with; anything else, and every damage, is named."""

import pytest

from foretell.coding import container
from foretell.coding.container import Header, digest_of, digest_of_parts, machine, opened
from foretell.errors import ConfigError

HEADER = Header(True, b"12345678", 70_000, digest_of(b"text"), (0.25, 0.75))
FILE = HEADER.seal(b"message")


def test_a_header_comes_back() -> None:
    header, message = opened(FILE, "file")
    assert message == b"message" and header.machine == machine() and len(header.machine) == 8
    assert (header.adaptive, header.model, header.tokens, header.digest, header.weights) == (
        *(True, b"12345678", 70_000, digest_of(b"text"), (0.25, 0.75)),
    )


def test_a_single_run_has_a_header_of_51_bytes() -> None:
    assert len(Header(False, b"12345678", 0, digest_of(b"")).seal(b"")) == 51


@pytest.mark.parametrize("length", [1, 4, 30, 50, 60, len(FILE) - 1])
def test_a_truncated_file_is_named(length: int) -> None:
    with pytest.raises(ConfigError, match=r"^file: is truncated or altered"):
        opened(FILE[:length], "file")


@pytest.mark.parametrize("place", [5, 6, 8, 20, 35, 50, 60, len(FILE) - 1])
def test_an_altered_file_is_named(place: int) -> None:
    altered = FILE[:place] + bytes([FILE[place] ^ 1]) + FILE[place + 1 :]
    with pytest.raises(ConfigError, match="truncated or altered"):
        opened(altered, "file")


def test_other_files_and_versions_are_named() -> None:
    for content in (b"", b"PK\x03\x04", b"a text"):
        with pytest.raises(ConfigError, match="not a file of foretell compress"):
            opened(content, "file")
    with pytest.raises(ConfigError, match="version 9"):
        opened(FILE[:4] + b"\x09" + FILE[5:], "file")


def test_digests_change_with_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({digest_of_parts(parts) for parts in (["a", "b"], ["a", "c"], ["ab"], ["a"])}) == 4
    before = machine()
    machine.cache_clear()
    monkeypatch.setattr(container, "processor", lambda: "another")
    assert machine() != before
    machine.cache_clear()
