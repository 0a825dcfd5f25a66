"""Short measurements agree with long ways to the same figures."""

import random
from pathlib import Path

import pytest

import foretell
from foretell.data.opening import open_corpus
from foretell.tools.look.trying_out import Sample, beginning, counted

WORDS = "the a small model reads some lines of text and counts which word follows another one here"


@pytest.mark.parametrize("documents", [1, 30])
def test_counting_a_sample_is_training_on_it(tmp_path: Path, documents: int) -> None:
    """As `foretell train ngram-5` and its evaluation have it, for a text that the sample holds whole."""
    (tmp_path / "text").mkdir()
    draw = random.Random(1)
    lines = [" ".join(draw.choices(WORDS.split(), k=12)) for _ in range(600)]
    for split, begin in (("train", 0), ("valid", 500), ("test", 550)):
        part = lines[begin : {"train": 500, "valid": 550, "test": 600}[split]]
        size = len(part) if documents == 1 else 10
        texts = ["\n".join(part[k : k + size]) + "\n" for k in range(0, len(part), size)]
        (tmp_path / "text" / f"{split}.txt").write_text("<|endofdoc|>\n".join(texts))
    found = counted(Sample.of(open_corpus(str(tmp_path / "text"))), "ngram-5", 300)
    tokenizer = {"kind": "bpe", "size": 300}
    corpus = str(tmp_path / "text")
    run = foretell.train("ngram-5", tmp_path / "run", quiet=True, data__corpus=corpus, data__tokenizer=tokenizer)
    assert found.bits_per_byte == pytest.approx(run.evaluate("valid")["bits_per_byte"], rel=1e-6)


def test_a_sample_is_the_beginning_of_each_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{number:09}\n" for number in range(1000)))
    corpus = open_corpus(str(tmp_path / "a.txt"))
    assert "".join(piece.text for piece in beginning(corpus, "train", 25)) == "000000000\n000000001\n000000002\n"
    sample = Sample.of(corpus)
    assert len(sample.counted) == 9000 and sample.measured.startswith(b"000000900")
