"""Text files to pieces: lines, cuts, documents, invalid text, packed files, Parquet."""

import contextlib
import gzip
import json
import logging
import lzma
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard
from corpora import TEXTS, documents_of, read, refused, text_of, whole, write_jsonl, write_parquet
from hypothesis import given
from hypothesis import strategies as st

from foretell.data import text_files
from foretell.data.opening import open_corpus
from foretell.data.text_files import LONGEST, Piece, Report, join_blocks, read_blocks, split_pieces
from foretell.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # of foreign packages


# --- pieces ---------------------------------------------------------------------------------------


@given(st.text(alphabet="ab \n\r\x85\u2028é😀"))
def test_pieces_join_to_the_text_and_end_at_newlines_only(text: str) -> None:
    pieces = split_pieces(text)
    assert "".join(pieces) == text
    assert all(piece and "\n" not in piece[:-1] for piece in pieces)


def test_a_long_line_is_cut_after_its_last_blank() -> None:
    line = "x" * (LONGEST - 10) + " " + "y" * LONGEST + "z\n"
    pieces = split_pieces(line)
    assert [len(piece) for piece in pieces] == [LONGEST - 9, LONGEST, 2]
    assert "".join(pieces) == line
    assert split_pieces("x" * (LONGEST - 1) + "\n") == ["x" * (LONGEST - 1) + "\n"]


@given(st.lists(st.text(alphabet="ab \n", max_size=9)), st.integers(2, 6))
def test_cuts_do_not_depend_on_the_blocks_read(blocks: list[str], longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "LONGEST", longest)
        assert list(join_blocks(blocks)) == split_pieces("".join(blocks))


@given(st.binary(max_size=40), st.integers(4, 9))
def test_decoding_does_not_depend_on_the_blocks_read(data: bytes, block: int) -> None:
    import io

    data = b"head" + data  # no byte-order mark
    report = Report()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "BLOCK", block)
        blocks = list(read_blocks(io.BytesIO(data), Path("x")))
    text, replaced, size = text_files.mended("".join(text_files.decode(part, report) for part in blocks))
    assert text == data.decode(errors="replace")
    assert report.bytes == size == len(data)
    assert report.replaced == replaced
    assert report.replaced == text.count("\ufffd") - data.count("\ufffd".encode())


# --- reading --------------------------------------------------------------------------------------


def test_boundary_lines_end_documents_and_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    stored = "one\ntwo\n<|endofdoc|>\n<|endofdoc|>\nthree <|endofdoc|>\n<|endofdoc|>\r\nlast"
    path.write_bytes(stored.encode())
    corpus = whole(path)
    assert documents_of(corpus, "train") == ["one\ntwo\n", "three <|endofdoc|>\n", "last"]
    assert corpus.report == Report(documents=3, bytes=31, characters=31)


def test_a_cut_that_looks_like_a_boundary_line_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * (LONGEST - 1) + " <|endofdoc|>\n")
    assert documents_of(whole(path), "train") == [path.read_text()]


def test_carriage_returns_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    pieces = list(whole(tmp_path / "a.txt").pieces("train"))
    assert pieces == [Piece("one\r\n", False), Piece("two\rthree\n", True)]


def test_invalid_utf8_is_replaced_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9 \xef\xbf\xbd\xff\n" + "é".encode()[:1])
    corpus = whole(path)
    with caplog.at_level(logging.WARNING, "foretell"):
        assert text_of(corpus, "train") == "caf\ufffd \ufffd\ufffd\n\ufffd"
    assert corpus.report.replaced == 3
    assert "3 invalid UTF-8 sequences" in caplog.text


def test_nul_bytes_are_kept_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\0b\0\n")
    corpus = whole(tmp_path / "a.txt")
    with caplog.at_level(logging.WARNING, "foretell"):
        assert text_of(corpus, "train") == "a\0b\0\n"
    assert corpus.report.nul == 2
    assert "2 NUL bytes" in caplog.text


def test_a_utf8_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhi\n")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf")
    (tmp_path / "c.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "yes"}\n')
    corpus = whole(tmp_path)
    assert text_of(corpus, "train") == "hi\nyes"
    assert corpus.report.bytes == 6
    assert corpus.report.empty_files == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("text", ["", "x", "hello\n"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str, text: str) -> None:
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    (tmp_path / "a.txt").write_bytes((mark + text).encode(encoding))
    with pytest.raises(ConfigError, match=encoding[:6].upper() + r"; convert it to UTF-8"):
        whole(tmp_path / "a.txt")


def test_jsonl_is_a_document_a_line(tmp_path: Path) -> None:
    texts = ["one\ntwo", "", "drei\u00fc\n", "<|endofdoc|>\n"]
    lines = [json.dumps({"text": text, "more": 1}) for text in texts]
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines))
    corpus = whole(tmp_path / "a.jsonl")
    assert documents_of(corpus, "train") == ["one\ntwo", "drei\u00fc\n"]
    assert (corpus.report.documents, corpus.report.bytes) == (2, 14)


def test_a_lone_surrogate_in_json_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}\n')
    corpus = whole(tmp_path / "a.jsonl")
    assert list(corpus.pieces("train")) == [Piece("a\ufffdb", True, replaced=1)]
    assert corpus.report == Report(documents=1, bytes=5, characters=3, replaced=1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a"', "not valid JSON"),
        ('{"txt": "a"}', 'needs a string under "text"'),
        ('{"text": 3}', 'needs a string under "text"'),
        ('["text"]', 'needs a string under "text"'),
    ],
)
def test_jsonl_mistakes_name_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n\n' + line + "\n")
    with pytest.raises(ConfigError, match=rf"a\.jsonl:3: {problem}"):
        list(whole(tmp_path / "a.jsonl").pieces("train"))


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_packed_files_give_the_same_and_damage_is_told(tmp_path: Path, ending: str) -> None:
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[ending]
    text = "".join(f"line {index}\n" for index in range(5000))
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(pack(text.encode()))
    assert text_of(whole(path), "train") == text
    stored = path.read_bytes()
    for damaged in (stored[:-40], stored[: len(stored) // 2], stored[:-1], stored[:1], b"", b"nothing packed"):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"a\.txt.*damaged"):
            list(whole(path).pieces("train"))


def test_all_frames_of_zstandard_are_read(tmp_path: Path) -> None:
    frames = [zstandard.compress(f"part {i}\n".encode() * 1000) for i in range(3)]
    skipped = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"..."  # what `pzstd` puts between
    path = tmp_path / "a.txt.zst"
    path.write_bytes(skipped.join([b"", *frames, b""]))
    assert text_of(whole(path), "train") == "".join(f"part {i}\n" * 1000 for i in range(3))
    path.write_bytes(b"".join(frames)[:-3])
    with pytest.raises(ConfigError, match=r"a\.txt\.zst: damaged or truncated \(the last frame is incomplete\)"):
        text_of(whole(path), "train")


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_packed_json_lines(tmp_path: Path, ending: str) -> None:
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[ending]
    texts = [f"text {index}" for index in range(5000)]
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack("\n".join(json.dumps({"text": text}) for text in texts).encode()))
    assert documents_of(whole(path), "train") == texts
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ConfigError, match="damaged or truncated"):
        text_of(whole(path), "train")


def test_a_json_line_longer_than_memory_bears_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 1 << 20)
    (tmp_path / "a.jsonl").write_text('{"text": "fits"}\n{"text": "' + "x" * (1 << 20) + '"}\n')
    with pytest.raises(ConfigError, match=r"a\.jsonl:2: longer than 1 MiB; break it"):
        text_of(whole(tmp_path / "a.jsonl"), "train")


@pytest.mark.slow
def test_lines_need_no_more_memory_than_their_limit(tmp_path: Path) -> None:
    """Just below the limit, with a character that makes Python store each in four bytes; and far above it."""
    code = """
import resource, sys
from foretell.data.opening import open_corpus
from foretell.errors import ConfigError
try:
    print(sum(len(piece.text) for piece in open_corpus({"train": sys.argv[1]}).pieces("train")))
except ConfigError as problem:
    print(problem)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
    for size, said in {63: str((63 << 20) + 1), 150: "longer than 64 MiB"}.items():
        with (tmp_path / "a.jsonl").open("w") as stream:
            stream.write('{"text": "😀')
            for _ in range(size):
                stream.write("x y " * (1 << 18))
            stream.write('"}\n')
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.jsonl")], capture_output=True, text=True)
        found, mebibytes = done.stdout.splitlines()
        assert said in found and int(mebibytes) < 900


# --- Parquet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["text", "body"])
@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 7, "compression": "zstd"}, {"use_dictionary": False}], ids=str
)
def test_parquet_is_the_same_text_as_json_lines(tmp_path: Path, column: str, options: dict[str, Any]) -> None:
    plain = open_corpus(write_jsonl(tmp_path / "a.jsonl", TEXTS))
    path = write_parquet(tmp_path / "a.parquet", TEXTS, column, **options)
    found = open_corpus(path if column == "text" else f"{path}#{column}")
    assert read(found) == read(plain)
    assert (found.report.documents, found.report.bytes) == (62, plain.report.bytes)


def test_a_folder_of_parquet_files_by_split(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", [f"{split} text"])
    assert read(open_corpus(str(tmp_path))) == {"train": [("train text", True)], "valid": [("validation text", True)]}


def test_empty_and_broken_values(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [b"good", None, b"", b"bad \xff"])
    corpus = open_corpus({"train": path})
    assert [text for text, _ in read(corpus)["train"]] == ["good", "bad \ufffd"]
    assert (corpus.report.documents, corpus.report.replaced) == (2, 1)


def test_parquet_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", TEXTS, "body")
    assert refused(path) == f"{path}: has no column 'text' (it has other, body); name one as {path}#COLUMN"
    assert "column 'other' is int64, not text" in refused(f"{path}#other")
    (tmp_path / "b.parquet").write_text("PAR1")
    assert "damaged or truncated" in refused(str(tmp_path / "b.parquet"))
    whole = (tmp_path / "a.parquet").read_bytes()
    said = set()
    for place in range(4, len(whole) // 2):
        (tmp_path / "d.parquet").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(ConfigError):
            list(open_corpus({"train": str(tmp_path / "d.parquet#body")}).pieces("train"))
            continue
        said.add(refused(str(tmp_path / "d.parquet#body")).removeprefix(str(tmp_path)))
    assert len(said) > 1
    assert not [line for line in said if "\n" in line or "Exception" in line or "damaged or truncated" not in line]
    (tmp_path / "c.parquet.gz").write_bytes(b"")
    assert "packed inside; unpack" in refused(str(tmp_path / "c.parquet.gz"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused(f"{path}#body").endswith("to read .parquet files, pip install 'foretell[parquet]'")


def test_parquet_takes_constant_memory(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    path = write_parquet(tmp_path / "a.parquet", [f"{i} " * 2000 for i in range(4000)], row_group_size=200)
    corpus = open_corpus({"train": path})
    tracemalloc.start()
    held = pyarrow.total_allocated_bytes()
    size, most = 0, 0
    for piece in corpus.pieces("train"):
        size += len(piece.text)
        most = max(most, pyarrow.total_allocated_bytes() - held)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 35e6
    assert peak < 6e6
    assert most < 12e6
