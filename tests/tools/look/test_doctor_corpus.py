"""Examination of corpora."""

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest
from examinations import sentence, shown, worst, write_corpus

from foretell.errors import ConfigError
from foretell.tools.look import doctor_corpus
from foretell.tools.look.doctor import examine_corpus
from foretell.tools.train.prepare import prepare_store


def test_lines_shared_between_splits_are_found_with_their_share(tmp_path: Path) -> None:
    train = [sentence(number) for number in range(2000)]
    valid = [sentence(number) for number in range(5000, 5150)] + train[:50]  # 50 of 200
    test = [sentence(number) for number in range(6000, 6200)] + ["short"] * 100
    path = write_corpus(tmp_path / "c", train=[*train, "short"], valid=valid, test=test)
    result = examine_corpus(path)
    splits = result["splits"]
    assert splits["valid"]["also_in_train"]["lines"] == pytest.approx(0.25)
    assert splits["test"]["also_in_train"]["lines"] == 0  # short lines come back by chance
    assert splits["train"]["repeated"]["lines"] == 0
    assert worst(result, "valid")["level"] == "warning"
    assert splits["train"]["lines"] == 2001 and splits["train"]["documents"] == 1
    assert splits["train"]["words"] == 2000 * 8 + 1
    assert splits["valid"]["longest_line"] == max(map(len, valid)) + 1
    assert "25.0% of lines" in " ".join(shown(result).split())


def test_a_split_that_is_mostly_train_is_an_error(tmp_path: Path) -> None:
    train = [sentence(number) for number in range(100)]
    path = write_corpus(tmp_path / "c", train=train, valid=train[:60], test=[sentence(999)])
    finding = worst(examine_corpus(path), "valid")
    assert finding["level"] == "error" and "remove them from train" in finding["do"]


def test_shares_stay_right_when_more_lines_are_met_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_corpus, "ROOM", 1000)
    train = [sentence(number) for number in range(8000)]
    valid = train[:2000] + [sentence(number) for number in range(9000, 15000)]
    result = examine_corpus(write_corpus(tmp_path / "c", train=train, valid=valid, test=["x"]))
    share = result["splits"]["valid"]["also_in_train"]["lines"]
    assert share == pytest.approx(0.25, abs=0.07)  # about 750 of 8000 lines are looked up


def test_repeated_lines_and_paragraphs_within_train_are_found(tmp_path: Path) -> None:
    paragraphs = [[sentence(number), sentence(number + 1000)] for number in range(90)]
    written = [line for block in [*paragraphs, *paragraphs[:10]] for line in [*block, ""]]
    path = write_corpus(tmp_path / "c", train=written, valid=["x"], test=["y"])
    repeated = examine_corpus(path)["splits"]["train"]["repeated"]
    assert repeated == {"lines": pytest.approx(0.1), "paragraphs": pytest.approx(0.1)}


def test_unknown_rates_are_those_counted_by_hand(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=["a a a b"], valid=["a b c d"], test=["a"])
    unknown = examine_corpus(path)["splits"]["valid"]["unknown"]
    assert unknown["words"] == 0.5  # c and d
    assert unknown["characters"] == pytest.approx(2 / 8)  # of eight with blanks and newline
    counts = Counter({"a": 3, "b": 1})
    assert doctor_corpus.unknown(counts, Counter("abcd"), 1) == 0.75


def test_odd_bytes_are_counted(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=[], valid=["fine"], test=["fine"])
    (tmp_path / "c" / "train.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo \xe4\r\nnul \0 \xee\x80\x80\n")
    (tmp_path / "c" / "train-1.txt").touch()
    with gzip.open(tmp_path / "c" / "train-2.txt.gz", "wb") as stream:
        stream.write(b"packed \xff\n")
    result = examine_corpus(path)
    files = result["files"]
    assert (files["count"], files["empty"], files["byte_order_marks"]) == (5, 1, 1)
    assert (files["invalid_utf8"], files["nul"], files["carriage_returns"]) == (2, 1, 2)
    assert result["odd_characters"] == {"U+FFFD": 2, "U+0000": 1, "U+E000": 1}
    text = " ".join(shown(result).split())
    assert "2 invalid UTF-8 sequences" in text and "iconv" in text and "dos2unix" in text


def test_a_damaged_file_is_an_error_and_nothing_else_is_read(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=["fine"], valid=["fine"], test=["fine"])
    packed = gzip.compress(random.Random(1).randbytes(5000))
    (tmp_path / "c" / "train-2.txt.gz").write_bytes(packed[:2000])
    result = examine_corpus(path)
    assert worst(result, "files")["level"] == "error" and result["splits"] == {}
    assert "train-2.txt.gz" in shown(result, width=200)


def test_what_is_left_out_of_a_folder_is_a_warning(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "c", train=["fine"], valid=["fine"], test=["fine"], more=["not read"])
    (tmp_path / "c" / "notes.md").write_text("not read")
    texts = [f["text"] for f in examine_corpus(path)["findings"] if f["level"] == "warning" and f["about"] == "files"]
    assert [text.rpartition(": ")[2] for text in texts] == ["notes.md", "more.txt"]
    assert "named for no split" in shown(examine_corpus(path))
    store = prepare_store(path, tmp_path / "store", "byte", quiet=True)
    assert store["left_out"] == texts


def test_only_the_beginning_is_looked_at_and_said_so(tmp_path: Path) -> None:
    train = [sentence(number) for number in range(1000)]
    path = write_corpus(tmp_path / "c", train=train, valid=train[-100:], test=["x"])
    splits = examine_corpus(path, sample_bytes=10_000)["splits"]
    assert not splits["train"]["complete"] and 10_000 <= splits["train"]["bytes"] < 10_100
    assert splits["valid"]["complete"]


def test_a_corpus_without_splits_is_divided_and_a_missing_split_is_told(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("".join(f"{sentence(n)}\n" for n in range(1000)))
    assert list(examine_corpus(str(tmp_path / "one.txt"))["splits"]) == ["train", "valid", "test"]
    result = examine_corpus(write_corpus(tmp_path / "c", train=["a b"]))
    assert "no valid and no test split" in worst(result, "splits")["text"]


@pytest.mark.parametrize(
    ("lines", "guess"),
    [
        (["The cat sat on a mat .", "A dog , too , did n't sit ."], "one sentence per line, tokenised"),
        (["The cat sat on it.", "No dog did."], "one sentence per line, not tokenised"),
        (["mr. smith is a man", "he is n't old at all"], "one sentence per line, tokenised"),
        (["One is here. Two is there. Three. Four."], "one paragraph per line, not tokenised"),
        (["It was the best of", "times and the worst", "of times.", ""], "wrapped or short lines"),
    ],
)
def test_the_form_of_lines_is_guessed(tmp_path: Path, lines: list[str], guess: str) -> None:
    path = write_corpus(tmp_path / "c", train=lines * 30, valid=["x"], test=["y"])
    assert examine_corpus(path)["looks_like"].startswith(guess)


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        examine_corpus(str(tmp_path / "nothing"))
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(ConfigError, match="token store"):
        examine_corpus(str(tmp_path))
