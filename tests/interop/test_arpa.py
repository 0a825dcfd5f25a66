"""ARPA files keep the model, and mean to KenLM what they mean to us."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from arpa_files import CAT, DOG, EOS, EXPECTED, PLAIN, UNK, WORDS, figures, log10, read, without

import foretell
from foretell.data.tokenizers.tokenizer import wrap
from foretell.errors import ConfigError
from foretell.interop import arpa
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
