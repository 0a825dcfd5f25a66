"""ARPA files keep the model, and mean to KenLM what they mean to us."""

import gzip
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers

import foretell
from foretell.data.tokenizers.tokenizer import wrap
from foretell.errors import ConfigError
from foretell.interop import arpa, arpa_text
from foretell.models.ngram import NGram, NGramConfig

TEXT = (
    """the cat sat on the mat
the dog sat on the cat

a cat and a dog saw the mat
the mat lay on the dog
"""
    * 3
    + "one bird saw a cat\nthe bird sat on a dog\n"
)


@pytest.fixture(scope="module", params=["word", "character"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    folder = tmp_path_factory.mktemp("arpa")
    (folder / "text.txt").write_text(TEXT)
    file = str(folder / "text.txt")
    corpus = {"train": file, "valid": file, "test": file}
    data = {"corpus": corpus, "tokenizer": {"kind": request.param}}
    return foretell.train(
        {"name": "tiny", "data": data, "model": {"kind": "ngram", "order": 3}}, folder / "run", quiet=True
    )


def everywhere(model: NGram) -> np.ndarray:
    """Distributions after all pairs of some tokens."""
    pairs = np.array([(a, b) for a in range(8) for b in range(8)])
    return model.distribution(pairs)


def test_written_and_read_it_is_the_same_model(run: foretell.Trained, tmp_path: Path) -> None:
    model, words = run.ngram, arpa.spelled(run.tokenizer)
    assert isinstance(model, NGram)
    for name in ("lm.arpa", "lm.arpa.gz"):
        arpa.write_arpa(model, words, tmp_path / name)
        again, _ = arpa.read_arpa(tmp_path / name, words, run.tokenizer.boundary)
        np.testing.assert_allclose(everywhere(again), everywhere(model), atol=1e-5)


def test_a_file_with_gaps(tmp_path: Path) -> None:
    """Pruned files of other programs may lack the beginnings and endings of n-grams."""
    path = tmp_path / "gaps.arpa"
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=1\nngram 3=1\n\n"
        "\\1-grams:\n-0.5\ta\t-0.1\n-0.6\tb\t-0.2\n-1\t<unk>\n-99\t<s>\t-0.3\n"
        "-0.7\t</s>\n\n\\2-grams:\n-0.25\t<s> a\t-0.4\n\n\\3-grams:\n-0.125\ta b b\n\n\\end\\\n"
    )
    assert arpa.vocabulary_of(path) == ["a", "b", "<unk>"]
    model, _ = arpa.read_arpa(path, ["<unk>", "<eos>", "a", "b"], boundary=1)
    logp = model.distribution(np.array([[2, 3], [1, 2], [3, 2], [0, 0]])) / math.log(10)
    assert logp[0, 3] == pytest.approx(-0.125)  # a b b
    assert logp[0, 2] == pytest.approx(-0.2 - 0.5)  # a b | a: b's back-off, a alone
    assert logp[1, 3] == pytest.approx(-0.4 - 0.1 - 0.6)  # <s> a | b
    assert logp[2, 3] == pytest.approx(-0.1 - 0.6)
    assert logp[3, 1] == pytest.approx(-0.7)


# --- forms of the same file -----------------------------------------------------------------------

PLAIN = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-0.7\t</s>
-0.5\tdog\t-0.3
-0.9\tcat\t-0.2
-1.5\t<unk>\t-0.9

\\2-grams:
-0.2\t<s> dog\t-0.1
-0.4\tdog cat\t-0.25
-0.6\tcat </s>

\\3-grams:
-0.05\t<s> dog cat

\\end\\
"""
WORDS = ["<unk>", "<eos>", "dog", "cat"]
UNK, EOS, DOG, CAT = range(4)
CMU = """#############################################################
## Copyright (c) 1996, Carnegie Mellon University, Cambridge University,
This is a 3-gram language model, based on a vocabulary of 5 words,
  which begins "<s>", "</s>", "dog"...
Data formats:

Beginning of data mark: \\data\\
ngram 1=nr            # number of 1-grams

\\1-grams:
p_1     wd_1 bo_wt_1

end of data mark: \\end\\

"""


def read(path: Path, text: str | bytes, words: Sequence[str] = WORDS) -> NGram:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return arpa.read_arpa(path, words, EOS)[0]


def log10(model: NGram, *text: int) -> float:
    """log10 p of the last token after the others, which a line begins."""
    padded = np.array([[EOS] * model.order + list(text[:-1])])
    return float(model.logp(padded[:, -model.order :], np.array([text[-1:]]))[0][0, 0]) / math.log(10)


def figures(model: NGram) -> list[float]:
    """What the plain file says by the rules of back-off, without any program; `figures(plain) == EXPECTED`."""
    texts = [(DOG,), (CAT,), (EOS,), (DOG, CAT), (CAT, EOS), (CAT, CAT), (UNK, DOG), (DOG, CAT, EOS), (DOG, DOG)]
    return [log10(model, *text) for text in texts]


EXPECTED = [-0.2, -0.5 - 0.9, -0.5 - 0.7, -0.05, -0.6, -0.2 - 0.9, -0.9 - 0.5, -0.25 - 0.6, -0.1 - 0.3 - 0.5]


def without(text: str, line: str) -> str:
    assert text.count(line) == 1
    return text.replace(line, "")


FORMS = {
    "plain": PLAIN,
    "blanks": PLAIN.replace("\t", " "),
    "columns": PLAIN.replace("\t", "     \t "),
    "some lines by blanks": PLAIN.replace("dog\t-0.3", "dog -0.3").replace("-1.5\t<unk>\t", "-1.5 <unk> "),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "blanks at the ends": PLAIN.replace("\n", " \t\n"),
    "blanks before": PLAIN.replace("\n", "\n  "),
    "lines of blanks": PLAIN.replace("\n", "\n \t \n"),
    "no empty lines": PLAIN.replace("\n\n", "\n"),
    "no last newline": PLAIN.rstrip("\n"),
    "byte-order mark": "\ufeff" + PLAIN,
    "CMU": CMU + PLAIN.replace("<unk>", "<UNK>").replace("\t", " ").replace("-99", "-99.0000"),
    "exponents": PLAIN.replace("-0.2\t<s>", "-2.0e-1\t<s>").replace("-0.5\tdog", "-.5\tdog"),
    "spaced counts": PLAIN.replace("ngram 1=5", "ngram  1 = 5 "),
    "weights everywhere": PLAIN.replace("</s>\n", "</s>\t0\n").replace("<s> dog cat\n", "<s> dog cat\t0.0\n"),
    "other order": without(PLAIN, "-0.4\tdog cat\t-0.25\n").replace("cat </s>\n", "cat </s>\n-0.4 dog cat -0.25\n"),
    "beyond lines": PLAIN.replace("2=3", "2=5").replace("cat </s>\n", "cat </s>\n-0.1\tdog <s>\n-0.1\t</s> dog\n"),
    "an empty order": PLAIN.replace("3=1\n", "3=1\nngram 4=0\n").replace("\n\\end", "\n\\4-grams:\n\n\\end"),
    "an empty order without a title": PLAIN.replace("3=1\n", "3=1\nngram 4=0\n"),
}


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


def test_weights_count_where_no_longer_n_grams_are(tmp_path: Path) -> None:
    """As in KenLM: an empty highest order makes the one below a context."""
    text = PLAIN.replace("3=1", "3=0").replace("-0.05\t<s> dog cat\n", "")
    model = read(tmp_path / "lm.arpa", text)
    assert model.order == 3 and log10(model, DOG, CAT) == pytest.approx(-0.1 - 0.4, abs=1e-6)
    assert log10(model, DOG, EOS) == pytest.approx(-0.1 - 0.3 - 0.7, abs=1e-6)


def test_unknown_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without `<unk>` log10 p is -100, as in KenLM; a vocabulary's tokens that a file lacks are unknown words."""
    model = read(tmp_path / "lm.arpa", PLAIN.replace("<unk>", "<UNK>"), [*WORDS, "bird"])
    assert log10(model, DOG, 4) == log10(model, DOG, UNK) == pytest.approx(-0.1 - 0.3 - 1.5)
    assert "has no <unk>" not in caplog.text
    model = read(tmp_path / "lm.arpa", without(PLAIN, "-1.5\t<unk>\t-0.9\n").replace("1=5", "1=4"))
    assert log10(model, DOG, UNK) == pytest.approx(-0.1 - 0.3 - 100, abs=1e-4)
    assert "has no <unk>" in caplog.text


def test_probabilities_that_do_not_add_up_are_told(
    run: foretell.Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever changes one number of a model that is a distribution is seen, or too small to matter."""
    assert isinstance(run.ngram, NGram)
    words, boundary, path = arpa.spelled(run.tokenizer), run.tokenizer.boundary, tmp_path / "lm.arpa"
    arpa.write_arpa(run.ngram, words, path)
    lines = path.read_text(encoding="utf-8").split("\n")
    arpa.read_arpa(path, words, boundary)
    assert not caplog.records
    random = np.random.default_rng(0)
    entries = [at for at, line in enumerate(lines) if line.count("\t") == 2 and "</s>\t" not in line]
    for at in random.permutation(entries)[:40]:
        fields = lines[at].split("\t")
        place = 2 * int(random.integers(2)) if fields[1] != "<s>" else 2
        fields[place] = f"{float(fields[place]) - 0.2:.6g}"
        caplog.clear()
        path.write_text("\n".join([*lines[:at], "\t".join(fields), *lines[at + 1 :]]), encoding="utf-8")
        arpa.read_arpa(path, words, boundary)
        assert "add up to" in caplog.text, (lines[at], fields)


def test_sums_are_those_of_the_distributions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = read(tmp_path / "lm.arpa", PLAIN)
    whole = 10**-0.7 + 10**-0.5 + 10**-0.9 + 10**-1.5
    assert np.exp(model.distribution(np.array([[UNK, UNK]]))[0]).sum() == pytest.approx(10**-0.9 * whole)
    assert f"after no context add up to {whole:.4g}, not 1 (8 of 8 contexts" in caplog.text
    caplog.clear()
    normal = PLAIN.replace("-0.5\tdog", f"{math.log10(1 - whole + 10**-0.5):.7f}\tdog")
    model = read(tmp_path / "lm.arpa", normal)
    after = np.exp(model.distribution(np.array([[EOS, EOS], [EOS, DOG], [EOS, CAT], [UNK, UNK], [DOG, CAT]]))).sum(1)
    worst = after[1:4][np.abs(after[1:4] - 1).argmax()]
    model.distribution(np.array([[EOS, EOS]]))
    assert f"add up to {10**-0.9:.4g}, not 1" in caplog.text and worst == pytest.approx(10**-0.9, abs=1e-3)


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
    PLAIN[:-7]: "cut off",
    PLAIN[:80]: "cut off",
    "iARPA\n" + PLAIN: ":1: a format of IRSTLM",
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
        with pytest.raises(ConfigError, match="damaged or cut short"):
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


def test_gaps_have_an_end(tmp_path: Path) -> None:
    """A file of long n-grams alone would fill the memory with those between."""
    grams = "".join(f"-0.5 {' '.join('a' if (n >> k) & 1 else 'b' for k in range(15))}\n" for n in range(1 << 11))
    counts = "".join(f"ngram {n}=0\n" for n in range(2, 15))
    text = f"\\data\\\nngram 1=4\n{counts}ngram 15={1 << 11}\n\\1-grams:\n-1 a\n-1 b\n-1 <s>\n-1 </s>\n"
    with pytest.raises(ConfigError, match="most beginnings and endings"):
        read(tmp_path / "lm.arpa", f"{text}\\15-grams:\n{grams}\\end\\\n", ["<unk>", "<eos>", "a", "b"])


# --- written files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_a_model_with_empty_orders_is_written_and_read(name: str, tmp_path: Path) -> None:
    tokens = np.array([2, 3, 1, 3, 1, 2, 2, 1, 3, 2, 1] * 3, dtype=np.uint16)
    model = NGramConfig(order=15).fit(tokens, np.zeros(0, np.int64), EOS, 4)
    assert [len(order) > 0 for order in model.orders] == [True] * 4 + [False] * 11
    arpa.write_arpa(model, WORDS, tmp_path / name)
    again, _ = arpa.read_arpa(tmp_path / name, WORDS, EOS)
    assert [len(order) for order in again.orders] == [len(order) for order in model.orders]
    texts = np.array(list(itertools.product(range(4), repeat=3)))
    np.testing.assert_allclose(again.distribution(texts), model.distribution(texts), atol=1e-5)


def test_a_model_of_order_15_is_written_and_read(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 4, 300).astype(np.uint16)
    tokens[tokens == EOS] = CAT
    model = NGramConfig(order=15).fit(tokens, np.zeros(0, np.int64), EOS, 4)
    assert len(model.orders[14]) > 250
    arpa.write_arpa(model, WORDS, tmp_path / "lm.arpa")
    again, _ = arpa.read_arpa(tmp_path / "lm.arpa", WORDS, EOS)
    text = np.concatenate([np.full(15, EOS), tokens[:-1].astype(np.int64)])[None]
    words = tokens[None].astype(np.int64)
    logp, matched = model.logp(text, words)
    np.testing.assert_allclose(again.logp(text, words)[0], logp, atol=1e-5)
    assert matched[0].tolist() == again.logp(text, words)[1][0].tolist() == [min(n + 2, 15) for n in range(300)]


def test_tokens_that_would_be_written_alike_are_refused() -> None:
    library = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<unk>": 0, "<eos>": 1, "a b": 2, "a\\u0020b": 3}, unk_token="<unk>")
    )
    tokenizer = wrap(library)
    assert arpa.spelled(tokenizer)[2:] == ["a\\u0020b", "a\\u005cu0020b"]
    library = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<unk>": 0, "<eos>": 1, "<3>": 2, "b": 5}, unk_token="<unk>")
    )
    with pytest.raises(ConfigError, match="'<3>'"):
        arpa.spelled(wrap(library))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before stays when writing fails, and drafts of dead processes are cleared away."""
    path = tmp_path / "lm.arpa.gz"
    model = read(tmp_path / "plain.arpa", PLAIN)
    path.write_bytes(b"before")
    (tmp_path / ".lm.arpa.gz.01234567.draft").write_bytes(b"left by a process that was killed")
    with monkeypatch.context() as patched:
        patched.setattr(arpa, "lines", lambda *_: iter(["-1\t", None]))
        with pytest.raises((AttributeError, TypeError)):
            arpa.write_arpa(model, WORDS, path)
    assert path.read_bytes() == b"before"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle))
    arpa.write_arpa(model, WORDS, path)
    assert len(synced) == 2  # the file, and the folder it was renamed in
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lm.arpa.gz", "plain.arpa"]
    assert figures(arpa.read_arpa(path, WORDS, EOS)[0]) == pytest.approx(EXPECTED, abs=1e-6)


@pytest.mark.slow
def test_kenlm_scores_our_file_as_we_do(run: foretell.Trained, tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm")
    model, tokenizer = run.ngram, run.tokenizer
    assert isinstance(model, NGram)
    if tokenizer.kind != "word":
        pytest.skip("KenLM splits at blanks")
    arpa.write_arpa(model, arpa.spelled(tokenizer), tmp_path / "lm.arpa")
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    for line in ("the cat sat on the dog", "a bird", "zebra saw the mat", ""):
        ids = [*tokenizer.encode(line + "\n")]
        text = np.array([[tokenizer.boundary] * 3 + ids[:-1]])
        ours, _ = model.logp(text, np.array([ids]))
        wanted = [p for p, _, _ in theirs.full_scores(line)]
        np.testing.assert_allclose(ours[0] / math.log(10), wanted, atol=1e-5)
