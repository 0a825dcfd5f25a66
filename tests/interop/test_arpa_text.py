"""The text of ARPA files: every form of one means the same, and what is wrong with one is told with its line."""

import gzip
from pathlib import Path

import pytest
from arpa_files import EXPECTED, FORMS, PLAIN, figures, read, without

from foretell.errors import ConfigError
from foretell.interop import arpa, arpa_text


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_means_the_same(form: str, tmp_path: Path) -> None:
    model = read(tmp_path / "lm.arpa", FORMS[form])
    assert figures(model) == pytest.approx(EXPECTED, abs=1e-6)
    assert arpa.vocabulary_of(tmp_path / "lm.arpa") == ["dog", "cat", "<unk>"]


def test_blocks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (40, 61, 97):
        monkeypatch.setattr(arpa_text, "BLOCK", size)
        assert figures(read(tmp_path / "lm.arpa", PLAIN)) == pytest.approx(EXPECTED, abs=1e-6)
        with pytest.raises(ConfigError, match=r"lm.arpa:16: '-0.6\\tcat' is not a 2-gram"):
            read(tmp_path / "lm.arpa", PLAIN.replace("cat </s>", "cat"))


def test_lines_parsed_at_once_are_those_parsed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(arpa_text.Reader, "parse_at_once", fails)
    for text in FORMS.values():
        assert figures(read(tmp_path / "lm.arpa", text)) == pytest.approx(EXPECTED, abs=1e-6)


# --- files that are wrong -------------------------------------------------------------------------


def after(line: str, new: str, text: str = PLAIN) -> str:
    assert text.count(line) == 1
    return text.replace(line, line + new)


def instead(line: str, new: str, text: str = PLAIN) -> str:
    assert text.count(line) == 1
    return text.replace(line, new)


WRONG = {
    "hello\n": "no line .data.",
    "": "no line .data.",
    "\\data\\\n\\end\\\n": "no n-grams",
    PLAIN[:-7]: "truncated",
    PLAIN[:80]: "truncated",
    "iARPA\n" + PLAIN: ":1: an IRSTLM format",
    PLAIN + PLAIN: ":22: a second .data.",
    PLAIN + "-0.1 dog\n": ":22: continues after",
    instead("-0.5\tdog", "0.5\tdog"): ":9: log10 p is '0.5': a probability above 1",
    instead("-0.5\tdog", "nan\tdog"): ":9: 'nan' is not a number",
    instead("-0.5\tdog", "-inf\tdog"): ":9: '-inf' is not a number",
    instead("-0.5\tdog", "-1e999\tdog"): ":9: '-1e999' is not a logarithm",
    instead("-0.5\tdog", "-1_0\tdog"): ":9: '-1_0' is not a number",
    instead("-0.5\tdog", "-0,5\tdog"): ":9: '-0,5' is not a number; write a point, not a comma",
    instead("-0.5\tdog", "-\u0661\tdog"): ":9: .* is not a number",
    instead("-0.5\tdog", "-" + "9" * 300_000 + "x\tdog"): ":9: '-999.* is not a number",
    instead("-0.5\tdog", "-" + "9" * 300_000 + "\tdog"): ":9: '-999.* is not a logarithm",
    instead("dog\t-0.3", "dog\tnan"): ":9: 'nan' is not a number",
    instead("dog\t-0.3", "dog\t-0,3"): ":9: '-0,3' is not a number; write a point, not a comma",
    instead("dog\t-0.3", "dog\t-0.3\t1"): ":9: .* is not a 1-gram",
    instead("-0.5\tdog", "-0.5dog"): ":9: .* is not a number",
    instead("-0.5\tdog\t-0.3", "-0.5"): ":9: '-0.5' is not a 1-gram",
    instead("-0.4\tdog cat", "-0.4\tdog"): ":15: the word '-0.25' is not in the vocabulary",
    instead("-0.4\tdog cat", "-0.4\tdog\0cat"): ":15: has a control character",
    instead("-0.4\tdog cat", "-0.4\tdog zebra"): ":15: the word 'zebra' is not in the vocabulary",
    instead("-0.4\tdog cat", "-0.4\tdog <eos>"): ":15: the word '<eos>' stands for the end of a line",
    instead("-0.9\tcat", "-0.9\tdog"): ":10: the same 1-gram as in line 9; keep one",
    instead(
        "-0.9\tcat", "-0.9\t<UNK>"
    ): ":11: the same 1-gram as in line 10; keep one of the two .<unk> and <UNK> are one word",
    instead("-0.4\tdog cat", "-0.4\t<s> dog"): ":15: the same 2-gram as in line 14",
    instead("dog cat\n", "dog cat\t-0.1\n"): ":19: .* has a back-off weight, but no 4-grams follow",
    instead("2=3", "2=4"): ":3: ngram 2=4, but .2-grams: has 3",
    instead("2=3", "2=2"): ":16: ngram 2=2, in line 3, promises fewer",
    instead("1=5", "1=1000000000000"): ":2: ngram 1=1000000000000, but .1-grams: has 5",
    instead("1=5", "1=-5"): ":2: 'ngram 1=-5' where the next count",
    instead("1=5", "1=" + "9" * 5000): ":2: 'ngram 1=9999.* where the next count",
    instead("ngram 2=3\n", ""): ":3: 'ngram 3=1' where the next count",
    instead("ngram 3=1\n", ""): ":13: .* has a back-off weight, but no 3-grams follow",
    instead("\\3-grams:\n", ""): ":18: 'cat' is not a number",
    instead("\\3-grams:", "\\4-grams:"): ":18: .4-grams: without a line",
    instead("\\3-grams:", "\\2-grams:"): ":18: .2-grams: after .2-grams:",
    instead("\\2-grams:", "\\2-gram:"): ":13: .* is not a 1-gram",
    instead("-0.7\t</s>\n", "", instead("1=5", "1=4")): "has no word </s>",
    instead("-0.9\tcat\t-0.2\n", "", instead("1=5", "1=4")): ":14: the word 'cat' is not among the 1-grams",
    after("3=1\n", "".join(f"ngram {n}=0\n" for n in range(4, 17))): ":17: has n-grams of more than 15 words",
    "\\data\\" + "x" * (3 << 20): "no line .data.|a line of more than a megabyte",
    instead("-0.5\tdog", "-0.5\tdo" + "g" * (3 << 20)): ":9: a line of more than a megabyte",
    instead("-0.5\tdog", "\n" * (3 << 20)): "half a megabyte of empty lines",
    "a\n" * (2 << 20) + PLAIN: "no line .data.",
}


@pytest.mark.parametrize("text", WRONG, ids=[said[:40] for said in WRONG.values()])
def test_a_file_that_is_wrong_is_told_with_the_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=WRONG[text]) as told:
        read(tmp_path / "x.arpa", text)
    assert "\n" not in str(told.value) and len(str(told.value)) < 400 + len(str(tmp_path))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    with pytest.raises(ConfigError, match=r"lm.arpa:9: the word .* is not in the vocabulary"):
        read(path, PLAIN.encode().replace(b"\tdog\t", b"\td\xf6g\t"))
    with pytest.raises(ConfigError, match=r"lm.arpa:9: .* is not UTF-8; convert"):
        arpa.vocabulary_of(path)
    with pytest.raises(ConfigError, match="UTF-16"):
        read(path, PLAIN.encode("utf-16"))


def test_packed_files_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa.gz"
    whole = gzip.compress(PLAIN.encode())
    assert figures(read(path, whole)) == pytest.approx(EXPECTED, abs=1e-6)
    for damaged in (whole[:-9], whole[:20], PLAIN.encode(), whole[:40] + b"\0" + whole[41:]):
        with pytest.raises(ConfigError, match="damaged or truncated"):
            read(path, damaged)


def test_a_packed_file_cannot_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that come again end it at once, whatever is promised; so does a ratio that no n-grams have."""
    words = ["<unk>", "<eos>", *(f"w{number}" for number in range(10_000))]
    text = "\\data\\\nngram 1=99999999\n\\1-grams:\n" + "".join(
        f"-1.2345678901234567890 {word}\n" for word in words[2:]
    )
    again = gzip.compress((text + "-1 w7\n").encode())
    with pytest.raises(ConfigError, match=r":10004: the same 1-gram as in line 11"):
        read(tmp_path / "lm.arpa.gz", again, words)
    monkeypatch.setattr(arpa_text, "BLOCK", 1 << 10)
    monkeypatch.setattr(arpa_text, "PACKED", 2)
    with pytest.raises(ConfigError, match="unpacks to more than 2 times its size"):
        read(tmp_path / "lm.arpa.gz", again, words)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_n_gram_that_comes_again_far_away(order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a block, in another, and where the file has gaps."""
    counts = {1: "1=5", 2: "2=3", 3: "3=1"}[order]
    line, first, remedy = {
        1: ("-0.9\tcat\n", 10, "<unk>"),
        2: ("-1 <s> dog\n", 14, ""),
        3: ("-1\t<s> dog cat\n", 19, ""),
    }[order]
    ends = {1: "\n\\2-grams", 2: "\n\\3-grams", 3: "\n\\end"}[order]
    text = PLAIN.replace(counts, f"{counts[:2]}{int(counts[2:]) + 1}").replace(ends, line + ends)
    gaps = without(text, "-0.4\tdog cat\t-0.25\n").replace("2=3", "2=2").replace("2=4", "2=3")
    for given, at in ((text, first), (gaps, first - (order == 3))):
        for block in (1 << 20, 50):
            monkeypatch.setattr(arpa_text, "BLOCK", block)
            with pytest.raises(
                ConfigError, match=f"the same {order}-gram as in line {at}; keep one of the two.*{remedy}"
            ):
                read(tmp_path / "lm.arpa", given)
