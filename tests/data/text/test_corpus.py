"""Corpora: their fingerprints, and the columns they are read from."""

import json
from pathlib import Path

from corpora import TEXTS, read, refused, whole, write_jsonl

from foretell.data import text_files
from foretell.data.opening import open_corpus
from foretell.data.text.corpus import Files


def test_fingerprints_follow_bytes_not_names(tmp_path: Path) -> None:
    for name, text in {"a.txt": "one\n", "b.txt": "one\n", "c.txt": "two\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "d.jsonl").write_text("one\n")
    marks = [whole(tmp_path / name).fingerprint("train") for name in ("a.txt", "b.txt", "c.txt")]
    assert marks[0] == marks[1] != marks[2]
    jsonl = text_files.content_ending(tmp_path / "d.jsonl")
    assert jsonl == ".jsonl"
    assert Files([tmp_path / "d.jsonl"]).digest() != marks[0]  # read by other rules
    shares = open_corpus(str(tmp_path / "a.txt"))
    assert len({shares.fingerprint(split) for split in shares.splits} | {marks[0]}) == 4


def test_where_one_file_ends_matters(tmp_path: Path) -> None:
    for folder, texts in {"x": ("ab", "c"), "y": ("a", "bc")}.items():
        (tmp_path / folder).mkdir()
        for index, text in enumerate(texts):
            (tmp_path / folder / f"{index}.txt").write_text(text)
    assert whole(tmp_path / "x").fingerprint("train") != whole(tmp_path / "y").fingerprint("train")


def test_another_key_of_json_lines(tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    path = write_jsonl(tmp_path / "b.jsonl", TEXTS, "body")
    assert read(open_corpus(f"{path}#body")) == read(open_corpus(plain))
    assert read(open_corpus({"train": f"{path}#body"})) == read(open_corpus({"train": plain}))
    assert f'needs a string under "text", as in {{"text": "…"}}; name another key as {path}#KEY' in refused(path)
    odd = write_jsonl(tmp_path / "c#body", TEXTS)
    assert open_corpus(odd).name == "c#body"


def test_the_column_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    rows = [{"text": f"a{i}", "body": f"b{i}"} for i in range(30)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, other = open_corpus(str(tmp_path / "a.jsonl")), open_corpus(f"{tmp_path / 'a.jsonl'}#body")
    assert one.fingerprint("train") != other.fingerprint("train")
