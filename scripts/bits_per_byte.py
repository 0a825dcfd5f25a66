"""The texts and the ablation of the context-mixing results in docs/results.md.

    .venv/bin/python scripts/bits_per_byte.py texts DATA FOLDER
    .venv/bin/python scripts/bits_per_byte.py ablation FOLDER DOMAIN

`texts` cuts files for training, validation and testing out of public data sets and out of this machine's own files;
`ablation` leaves out each part of context mixing in turn, and prints bits per byte of the test file, read adaptively.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import math
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretell.models.context_mixing.model import ContextMixingConfig
from foretell.models.context_mixing.scorer import VOCABULARY

Tokens = NDArray[np.uint16]
LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "lib2to3"}


def domains(data: Path) -> Iterator[tuple[str, bytes, bytes, bytes]]:
    """Name, training text, validation text and test text of each domain."""
    text = (data / "tinyshakespeare" / "input.txt").read_bytes()
    end = len(text) * 9 // 10
    yield "shakespeare", text[: end - 20_000], text[end - 20_000 : end], text[end:]
    for name, folder, size in (("wiki", "wiki_en", 500_000), ("novels", "novels100", 300_000)):
        train = lzma.decompress((data / folder / "train.txt.xz").read_bytes())[:10_000_000]
        valid, test = ((data / folder / f"{split}.txt").read_bytes() for split in ("valid", "test"))
        yield name, train, valid[:100_000], test[:size]
    valid, test = ((data / "ptb" / f"ptb.{split}.txt").read_bytes() for split in ("valid", "test"))
    yield "ptb", gzip.decompress((data / "ptb" / "ptb.train.txt.gz").read_bytes()), valid[:100_000], test
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(library.rglob("*.py")) if not LEFT_OUT.intersection(path.parts)]
    text = b"".join(path.read_bytes() for path in files)
    yield "source", text[:5_000_000], text[5_000_000:5_100_000], text[5_100_000:5_400_000]
    log = Path("/var/log/dpkg.log")
    if log.exists():
        text = log.read_bytes()
        middle, last = len(text) * 80 // 100, len(text) * 85 // 100
        yield "log", text[:middle], text[middle:last], text[last:]
    else:
        print(f"log: left out, as this machine has no {log}")


def write_texts(data: Path, folder: Path) -> None:
    """Write `NAME.{train,valid,test}.txt` of each domain."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, *texts in domains(data):
        for split, text in zip(("train", "valid", "test"), texts, strict=True):
            (folder / f"{name}.{split}.txt").write_bytes(text)
        print(name, *map(len, texts))


def ablation(folder: Path, name: str) -> None:
    """Print what each part of the shipped model brings on a domain."""
    train, test = (as_bytes(folder / f"{name}.{split}.txt") for split in ("train", "test"))
    whole = ContextMixingConfig()
    bits_per_byte(whole, train[:1000], test[:1000])  # compiles
    base = report("all parts", whole, train, test)
    for field in ("contexts", "mixers", "matches"):
        parts = getattr(whole, field)
        for place, part in enumerate(parts):
            rest = parts[:place] + parts[place + 1 :]
            report(f"{field}: without {part}", whole.model_copy(update={field: rest}), train, test, base)


def report(title: str, config: ContextMixingConfig, train: Tokens, test: Tokens, base: float = math.nan) -> float:
    """Print a line of the table; returns bits per byte."""
    begin = time.perf_counter()
    bits = bits_per_byte(config, train, test)
    print(f"{bits:.4f} {bits - base:+.4f} {time.perf_counter() - begin:5.1f} s  {title}", flush=True)
    return bits


def bits_per_byte(config: ContextMixingConfig, train: Tokens, test: Tokens) -> float:
    """Of the test text, each byte learned once it is scored."""
    model = config.fit(train, np.zeros(1, np.int64), 0, VOCABULARY)
    return float(-model.learn(test).sum() / math.log(2) / len(test))


def as_bytes(file: Path) -> Tokens:
    """A file's bytes as tokens: 0 is the boundary of documents."""
    return np.frombuffer(file.read_bytes(), np.uint8).astype(np.uint16) + 1


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    texts = commands.add_parser("texts")
    texts.add_argument("data", type=Path)
    texts.add_argument("folder", type=Path)
    texts.set_defaults(run=lambda given: write_texts(given.data, given.folder))
    parts = commands.add_parser("ablation")
    parts.add_argument("folder", type=Path)
    parts.add_argument("domain")
    parts.set_defaults(run=lambda given: ablation(given.folder, given.domain))
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
