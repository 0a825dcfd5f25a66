"""ARPA files keep the model, and mean to KenLM what they mean to us."""

import math
from pathlib import Path

import numpy as np
import pytest

import foretell
from foretell.errors import ConfigError
from foretell.interop import arpa
from foretell.models.ngram import NGram

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
    model, words = run.model, arpa.spelled(run.tokenizer)
    assert isinstance(model, NGram)
    for name in ("lm.arpa", "lm.arpa.gz"):
        arpa.write_arpa(model, words, tmp_path / name)
        again = arpa.read_arpa(tmp_path / name, words, run.tokenizer.boundary)
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
    model = arpa.read_arpa(path, ["<unk>", "<eos>", "a", "b"], boundary=1)
    logp = model.distribution(np.array([[2, 3], [1, 2], [3, 2], [0, 0]])) / math.log(10)
    assert logp[0, 3] == pytest.approx(-0.125)  # a b b
    assert logp[0, 2] == pytest.approx(-0.2 - 0.5)  # a b | a: b's back-off, a alone
    assert logp[1, 3] == pytest.approx(-0.4 - 0.1 - 0.6)  # <s> a | b
    assert logp[2, 3] == pytest.approx(-0.1 - 0.6)
    assert logp[3, 1] == pytest.approx(-0.7)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hello\n", "cut off"),
        ("\\data\\\n\n\\1-grams:\n-1\ta b\n\n\\end\\\n", "line 4"),
        ("\\data\\\n\n\\1-grams:\n-1\tzebra\n\n\\end\\\n", "zebra"),
        ("\\data\\\n\\end\\\n", "no n-grams"),
    ],
)
def test_what_is_no_arpa_file_is_told(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "x.arpa").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        arpa.read_arpa(tmp_path / "x.arpa", ["<unk>", "<eos>", "a"], boundary=1)


@pytest.mark.slow
def test_kenlm_scores_our_file_as_we_do(run: foretell.Trained, tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm")
    model, tokenizer = run.model, run.tokenizer
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
