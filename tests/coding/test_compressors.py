"""What compressors make of a text after another, by the programs themselves."""

import lzma
import random
import shutil
from pathlib import Path

import pytest

from foretell.coding.compressors import COMPRESSORS, XZ, ZPAQ, PPMd, foreign
from foretell.errors import ConfigError

WORDS = [bytes(random.Random(n).choices(range(97, 123), k=7)) for n in range(300)]


def text_of(seed: int, words: int) -> bytes:
    return b" ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda compressor: compressor.name)
def test_a_text_takes_less_after_one_of_its_words(compressor: object) -> None:
    if not compressor.exists():
        pytest.skip("is not installed")
    train, text = text_of(1, 3000), text_of(2, 500)
    alone, after = compressor.bits_per_byte(text), compressor.bits_per_byte(text, train)
    assert after < 0.9 * alone
    assert after > 1.0  # a word of 300 in 8 bytes: log2(300) / 8 = 1.03 bits
    assert compressor.bits_per_byte(b"", train) is None


def test_xz_is_the_difference_of_two_files() -> None:
    train, text = text_of(1, 900), text_of(2, 300)
    sizes = [len(lzma.compress(part, preset=9)) for part in (train + text, train)]
    assert XZ().bits_per_byte(text, train) == 8 * (sizes[0] - sizes[1]) / len(text)


def test_ppmd_writes_what_7_zip_reads() -> None:
    pyppmd = pytest.importorskip("pyppmd")
    text, ppmd = text_of(3, 400), PPMd()
    encoder = pyppmd.Ppmd7Encoder(ppmd.order, ppmd.memory)
    packed = encoder.encode(text) + encoder.flush()
    assert ppmd.size(text) == len(packed)
    assert pyppmd.Ppmd7Decoder(ppmd.order, ppmd.memory).decode(packed, len(text)) == text


@pytest.mark.parametrize("train", [0, 100, 900_000, 1_003_854, (1 << 20) - 1, 1 << 20, 2_000_000, 8_300_000])
@pytest.mark.parametrize("text", [1, 100_000, 450_000, 3_000_000])
def test_zpaq_chooses_one_model_for_both_sizes(train: int, text: int) -> None:
    def size_of_model(length: int) -> int:  # libzpaq 7.15, compressBlock
        return max((length + 4095).bit_length() - 20, 0)

    padding = ZPAQ().padding(train, text)
    assert size_of_model(padding + train) == size_of_model(padding + train + text)
    assert padding == 0 or train + text + (1 << 13) > 1 << 20
    assert len(foreign(padding)) == padding


def test_zpaq_that_is_missing_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ZPAQ().bits_per_byte(b"text", b"train") is None
    program = tmp_path / "zpaq"
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 2\n")
    program.chmod(0o755)
    assert shutil.which("zpaq")
    with pytest.raises(ConfigError, match="zpaq failed: out of memory"):
        ZPAQ().bits_per_byte(b"text", b"train")
