import gzip
import json
import logging
import lzma
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from foretell.data import text_files
from foretell.data.opening import open_corpus
from foretell.data.text import builtin
from foretell.data.text.builtin import docstrings_below, paragraphs, without_repeats
from foretell.data.text.corpus import Corpus
from foretell.data.text.holdout import assign_documents, shuffled
from foretell.data.text_files import LONGEST, Piece, Report, join_blocks, read_blocks, split_pieces
from foretell.errors import ConfigError

DATA = os.environ.get("FORETELL_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs FORETELL_DATA")


def text_of(corpus: Corpus, split: str) -> str:
    return "".join(piece.text for piece in corpus.pieces(split))


def documents_of(corpus: Corpus, split: str) -> list[str]:
    documents, text = [], ""
    for piece in corpus.pieces(split):
        text += piece.text
        if piece.ends_document:
            documents.append(text)
            text = ""
    assert text == ""  # the last piece ends its document
    return documents


def write_splits(folder: Path, ending: str = ".txt") -> Path:
    for split in ("train", "valid", "test"):
        (folder / f"{split}{ending}").write_text(f"{split} text\n")
    return folder


def whole(path: Path) -> Corpus:
    return open_corpus({"train": str(path)})


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
    assert "3 places are not valid UTF-8" in caplog.text


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
    with pytest.raises(ConfigError, match=r"a\.txt\.zst: damaged or cut short \(the last frame does not end\)"):
        text_of(whole(path), "train")


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_packed_json_lines(tmp_path: Path, ending: str) -> None:
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[ending]
    texts = [f"text {index}" for index in range(5000)]
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack("\n".join(json.dumps({"text": text}) for text in texts).encode()))
    assert documents_of(whole(path), "train") == texts
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ConfigError, match="damaged or cut short"):
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
from foretell.data.text.corpus import open_corpus
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


# --- finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("train.txt", "dev.txt"), ("wiki.train.tokens", "wiki.validation.tokens")])
def test_names_of_files_tell_their_split(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in (*names, "unrelated.txt"):
        (tmp_path / name).write_text(name)
    corpus = open_corpus(str(tmp_path))
    assert corpus.splits == ("train", "valid")
    assert [text_of(corpus, split) for split in corpus.splits] == list(names)
    with pytest.raises(ConfigError, match=r"no 'test' split \(it has train, valid\)"):
        corpus.pieces("test")


def test_folders_and_globs_tell_splits_too(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for shard in "ba":
            (tmp_path / split / f"{shard}.txt").write_text(f"{split} {shard}\n")
    assert text_of(open_corpus(str(tmp_path)), "test") == "test a\ntest b\n"
    flat = tmp_path / "flat"
    flat.mkdir()
    write_splits(flat)
    (flat / "notes.md").write_text("not read")
    corpus = open_corpus(str(flat / "t*.txt"))
    assert corpus.splits == ("train", "test")


def test_splits_can_be_given_one_by_one(tmp_path: Path) -> None:
    write_splits(tmp_path)
    paths = {"train": str(tmp_path / "train.txt"), "dev": str(tmp_path / "v*.txt")}
    corpus = open_corpus(paths)
    assert corpus.splits == ("train", "valid")
    assert text_of(corpus, "valid") == "valid text\n"
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        open_corpus({"trian": paths["train"]})


def test_what_is_missing_or_unusable_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "novels.txt").write_text("text\n")
    (tmp_path / "empty").mkdir()
    for spec, problem in {
        str(tmp_path / "novel.txt"): "did you mean 'novels.txt'",
        str(tmp_path / "none" / "a.txt"): f"nearest existing folder: {tmp_path}; built-in: python",
        "python-doc": "did you mean 'python-docs'",
        str(tmp_path / "empty"): "an empty folder",
        str(tmp_path / "*.xyz"): "no such file or folder",
    }.items():
        with pytest.raises(ConfigError) as caught:
            open_corpus(spec)
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "table.csv").write_text("a,b")
    with pytest.raises(ConfigError, match="not a text file"):
        open_corpus(str(tmp_path / "table.csv"))


def test_empty_files_are_skipped_but_not_a_whole_corpus_of_them(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="no text in it"):
        open_corpus(str(tmp_path))
    (tmp_path / "c.txt").write_text("text\n")
    corpus = whole(tmp_path)
    assert documents_of(corpus, "train") == ["text\n"]
    assert corpus.report.empty_files == 2


# --- splitting ------------------------------------------------------------------------------------


@given(st.integers(20, 500))
def test_every_document_has_one_split_and_a_twentieth_is_held_out(documents: int) -> None:
    train, valid, test = np.bincount(assign_documents(documents), minlength=3)
    assert train + valid + test == documents
    assert valid == test == round(documents / 20)
    assert sorted(shuffled(documents)) == list(range(documents))


def test_the_assignment_is_the_same_for_ever() -> None:
    assert np.flatnonzero(assign_documents(100)).tolist() == [2, 32, 33, 41, 42, 43, 53, 88, 94, 95]


def test_many_documents_are_split_whole(tmp_path: Path) -> None:
    texts = [f"document {index}\nsecond line\n" for index in range(60)]
    (tmp_path / "a.txt").write_text("<|endofdoc|>\n".join(texts))
    corpus = open_corpus(str(tmp_path / "a.txt"))
    parts = [documents_of(corpus, split) for split in corpus.splits]
    assert [len(part) for part in parts] == [54, 3, 3]
    assert sorted(chain(*parts)) == sorted(texts)


def test_few_documents_are_split_in_order(tmp_path: Path) -> None:
    text = "".join(f"{index:03d} é\n" for index in range(1000))  # 7 bytes a line
    (tmp_path / "a.txt").write_text(text)
    corpus = open_corpus(str(tmp_path / "a.txt"))
    parts = [text_of(corpus, split) for split in corpus.splits]
    assert [part.count("\n") for part in parts] == [900, 50, 50]
    assert "".join(parts) == text
    assert all(len(documents_of(corpus, split)) == 1 for split in corpus.splits)


# --- fingerprints ---------------------------------------------------------------------------------


def test_fingerprints_follow_bytes_not_names(tmp_path: Path) -> None:
    for name, text in {"a.txt": "one\n", "b.txt": "one\n", "c.txt": "two\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "d.jsonl").write_text("one\n")
    marks = [whole(tmp_path / name).fingerprint("train") for name in ("a.txt", "b.txt", "c.txt")]
    assert marks[0] == marks[1] != marks[2]
    jsonl = text_files.content_ending(tmp_path / "d.jsonl")
    assert jsonl == ".jsonl"
    from foretell.data.text.corpus import Files

    assert Files([tmp_path / "d.jsonl"]).digest() != marks[0]  # read by other rules
    shares = open_corpus(str(tmp_path / "a.txt"))
    assert len({shares.fingerprint(split) for split in shares.splits} | {marks[0]}) == 4


def test_where_one_file_ends_matters(tmp_path: Path) -> None:
    for folder, texts in {"x": ("ab", "c"), "y": ("a", "bc")}.items():
        (tmp_path / folder).mkdir()
        for index, text in enumerate(texts):
            (tmp_path / folder / f"{index}.txt").write_text(text)
    assert whole(tmp_path / "x").fingerprint("train") != whole(tmp_path / "y").fingerprint("train")


# --- built-in -------------------------------------------------------------------------------------


def test_repeated_paragraphs_are_dropped() -> None:
    documents = ["a\nb\n\n\nc", "c\n \na\nb", "c\n\nd  \n"]
    assert without_repeats(documents) == ["a\nb\n\nc\n", "d\n"]
    assert list(paragraphs("\n\n x\n\ty \n")) == [" x\n\ty"]


def test_docstrings_are_found_without_running_anything() -> None:
    import ast

    source = '"""m"""\nif 1/0:\n  def f():\n    """f\n\n       more"""\n    x = "no"\nclass A:\n  "A"\n'
    assert list(docstrings_below(ast.parse(source))) == ["m", "f\n\nmore", "A"]


def test_python_docs_are_there_in_three_disjoint_splits() -> None:
    corpus = open_corpus("python-docs")
    texts = {split: text_of(corpus, split) for split in corpus.splits}
    sizes = {split: len(text.encode()) for split, text in texts.items()}
    assert 1_000_000 < sizes["train"] < 4_000_000
    assert 80_000 < sizes["valid"] <= 100_000
    assert 80_000 < sizes["test"] <= 100_000
    blocks = [set(paragraphs(text)) for text in texts.values()]
    assert not (blocks[0] & blocks[1] or blocks[0] & blocks[2] or blocks[1] & blocks[2])


def test_python_docs_are_extracted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path))
    monkeypatch.setattr(builtin, "docstrings", lambda: iter(["from the library \ud800"]))
    first = builtin.kept_documents()
    monkeypatch.setattr(builtin, "docstrings", lambda: pytest.fail("extracted again"))
    assert builtin.kept_documents() == first
    assert first[-1] == "from the library \ud800\n"
    (file,) = (tmp_path / "python-docs").iterdir()
    file.write_text(file.read_text()[:-9])
    monkeypatch.setattr(builtin, "docstrings", lambda: iter(["mended"]))
    assert builtin.kept_documents()[-1] == "mended\n"
    monkeypatch.setattr(sys, "version", "another Python")
    monkeypatch.setattr(builtin, "docstrings", lambda: iter(["of another"]))
    assert builtin.kept_documents()[-1] == "of another\n"
    monkeypatch.setenv("FORETELL_CACHE", str(file))  # no folder can be made there
    assert builtin.kept_documents()[-1] == "of another\n"


def test_data_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"set FORETELL_DATA to a folder and put ptb\.train\.txt"):
        open_corpus("ptb")
    monkeypatch.setenv("FORETELL_DATA", str(tmp_path))
    for name in ("ptb", "tinyshakespeare"):
        with pytest.raises(ConfigError, match=rf"into {tmp_path}/{name}"):
            open_corpus(name)


@needs_data
def test_published_sizes() -> None:
    corpus = open_corpus("ptb-char")
    sizes = [len(text_of(corpus, split)) for split in corpus.splits]
    assert sizes == [5_017_482, 393_042, 442_423]
    assert len(set(text_of(corpus, "train"))) == 50
    shakespeare = open_corpus("tinyshakespeare")
    sizes = [len(text_of(shakespeare, split)) for split in shakespeare.splits]
    assert sum(sizes) == 1_115_394
    assert sizes[0] == pytest.approx(0.9 * 1_115_394, abs=100)


@needs_data
@pytest.mark.parametrize(
    ("name", "documents", "words"),
    [
        ("wiki-en", (23_308, 217, 231), (8_515_173, 78_439, 82_540)),
        ("novels", (88, 4, 4), (12_553_638, 384_565, 343_741)),
    ],
)
@pytest.mark.slow
def test_published_documents_and_words(name: str, documents: tuple[int, ...], words: tuple[int, ...]) -> None:
    corpus = open_corpus(name)
    for split, expected in zip(corpus.splits, zip(documents, words, strict=True), strict=True):
        pieces = list(corpus.pieces(split))
        found = sum(piece.ends_document for piece in pieces)
        assert (found, sum(len(piece.text.split()) for piece in pieces)) == expected
