"""Combinations of options of the commands that use a model."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--beam", "2", "--count", "3"], "--beam does not sample, so --count does not apply"),
        (["--best", "2"], "--best needs --beam"),
        (["--length-penalty", "1"], "--length-penalty needs --beam"),
    ],
)
def test_options_that_exclude_each_other(options: list[str], what: str, run: Path, said: Any) -> None:
    code, _, err = said("generate", run, *options)
    assert code == 2 and what in err


def test_the_number_of_words_is_not_that_of_characters(run: Path, said: Any) -> None:
    code, out, err = said("next", run, "--prompt", "the", "--characters", "--words", "3")
    assert code == 2 and out == "" and "--words counts words" in err


def test_one_text_and_several(run: Path, said: Any) -> None:
    line = ("generate", run, "--prompt", "the", "--tokens", "4", "--device", "cpu")
    one = json.loads(said(*line, "--json")[1])
    assert one["prompt"] == "the" and isinstance(one["text"], str)
    assert said(*line)[1] == "the" + one["text"] + "\n"
    assert len(json.loads(said(*line, "--count", "2", "--json")[1])["texts"]) == 2
    hypotheses = json.loads(said(*line, "--beam", "2", "--best", "2", "--json")[1])["texts"]
    assert hypotheses[0]["score"] >= hypotheses[-1]["score"]


def test_a_mixture_is_decompressed_without_its_weights(run: Path, corpus: Any, tmp_path: Path, said: Any) -> None:
    packed, back, text = tmp_path / "text.ft", tmp_path / "text", corpus["test"]
    mix = ("--mix", run)
    code, out, _ = said(
        "compress", text, "--with", run, *mix, "--mix-weights", "0.25,0.75", "-o", packed, "--json", "-q"
    )
    figures = json.loads(out)
    assert code == 0 and figures["bytes"] == packed.stat().st_size and 0 < figures["bits_per_byte"] < 8
    assert said("decompress", packed, "--with", run, *mix, "-o", back, "-q")[0] == 0
    assert back.read_bytes() == Path(text).read_bytes()
    back.unlink()
    code, _, err = said("decompress", packed, "--with", run, "-o", back)
    assert code == 2 and "text.ft: was compressed by a mixture of 2 runs: name the others with --mix" in err
    code, _, err = said("decompress", text, "--with", run, "-o", back)
    assert code == 2 and "is not a file of foretell compress" in err
