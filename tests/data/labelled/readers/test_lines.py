"""Lines of labelled files."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.data.labelled.examples import BadRow
from foretell.data.labelled.readers.lines import LinesReader


def test_lines_are_numbered_and_have_no_endings(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"one\r\n\ntwo\rthree\x85\xe2\x80\xa8\nlast".replace(b"\x85", b""))
    assert list(LinesReader().lines(path)) == [(1, "one"), (2, ""), (3, "two\rthree\u2028"), (4, "last")]
    assert list(LinesReader(encoding="utf-8-sig").lines(path)) == list(LinesReader().lines(path))


@given(st.lists(st.binary(max_size=6), max_size=5), st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"]))
def test_a_line_of_another_encoding_is_bad_by_itself(
    tmp_path_factory: pytest.TempPathFactory, stored: list[bytes], encoding: str
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    lines = [b"first", *(line.replace(b"\n", b"").removesuffix(b"\r") for line in stored)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    for number, (line, found) in enumerate(zip(lines, LinesReader(encoding=encoding).lines(path), strict=True), 1):
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as problem:
            assert isinstance(found, BadRow) and found.where == f"{path}:{number}"
            byte = f"byte 0x{line[problem.start]:02x} at place {problem.start + 1}"
            assert found.reason.startswith(f"not {encoding} ({byte})")
        else:
            assert found == (number, text)


def test_encodings_that_could_hide_the_ends_of_lines() -> None:
    for name in ("utf-16", "utf-32-le", "utf-7", "cp500"):
        try:
            keeps = "a\n".encode(name) == b"a\n"
        except LookupError:
            keeps = False
        if keeps:
            assert LinesReader(encoding=name).encoding == name
            continue
        with pytest.raises(ValueError, match="convert the files to UTF-8"):
            LinesReader(encoding=name)
