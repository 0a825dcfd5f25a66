"""Tokenisation of text: `foretell prepare` compared with the `tokenizers` library alone."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload

CORPORA = ("novels", "wiki-en")
SAMPLE_PIECES = 100_000
VOCABULARY = 16_384


def inputs(folder: Path, tiny: bool) -> dict[str, str]:
    """A list of files of training text, and a BPE tokenizer trained on the first lines of each."""
    from foretell.data.text.builtin import open_builtin
    from foretell.data.text.corpus import Files
    from foretell.data.tokenizers.kinds import BPEConfig

    paths: list[Path] = []
    pieces: list[str] = []
    for name in CORPORA if not tiny else ():
        corpus = open_builtin(name)
        source = corpus.source("train")
        assert isinstance(source, Files)
        paths += source.paths
        pieces += [piece.text for piece in islice(corpus.pieces("train"), SAMPLE_PIECES)]
    if tiny:
        pieces = [f"{i} times {i} is {i * i}, and a rose is a rose\n" for i in range(200)]
        paths = [folder / "text.txt"]
        paths[0].write_text("".join(pieces), encoding="utf-8")
    BPEConfig(size=300 if tiny else VOCABULARY).train(pieces).save(folder / "tokenizer.json")
    (folder / "paths.txt").write_text("\n".join(map(str, paths)), encoding="utf-8")
    return {"tokenizer": str(folder / "tokenizer.json"), "paths": str(folder / "paths.txt")}


def corpus_of(job: Job) -> Any:
    """The listed files as a corpus."""
    from foretell.data.text.corpus import Corpus, Files

    paths = [Path(line) for line in Path(job.inputs["paths"]).read_text(encoding="utf-8").splitlines()]
    return Corpus("bench", {"train": Files(paths)})


def ours(job: Job) -> dict[str, Any]:
    """From compressed text files to a synced store on disk."""
    from foretell.data.store.store import prepare
    from foretell.data.tokenizers.kinds import load_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        store = prepare(corpus_of(job), load_tokenizer(Path(job.inputs["tokenizer"])), Path(folder) / "store")
        seconds = time.perf_counter() - begin
        counts = store.counts["train"]
    boundaries = counts.documents if counts.documents > 1 else 0  # the other side has none
    return {
        "seconds": seconds,
        "bytes": counts.bytes,
        "tokens": counts.tokens - boundaries,
        "megabytes_per_second": counts.bytes / seconds / 1e6,
    }


def bare(job: Job) -> dict[str, Any]:
    """`Tokenizer.encode_batch` of all lines, loaded into memory before the clock starts; writes nothing."""
    import tokenizers

    lines = [piece.text for piece in corpus_of(job).pieces("train")]
    size = sum(len(line.encode()) for line in lines)
    library = tokenizers.Tokenizer.from_file(job.inputs["tokenizer"])
    begin = time.perf_counter()
    encodings = library.encode_batch(lines, add_special_tokens=False)
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "bytes": size,
        "tokens": sum(map(len, encodings)),
        "megabytes_per_second": size / seconds / 1e6,
    }


PREPARE = Workload(
    name="prepare",
    text="text files to a token store, compared with encode_batch of tokenizers",
    work=(
        "the training texts of novels and wiki-en, 121 MB, byte-level BPE of 16,384; ours from compressed files to a "
        "synced store on disk, the library from lines in memory to encodings in memory"
    ),
    sides=(Side(OURS, ours, ("tokenizers",)), Side("tokenizers", bare, ("tokenizers",))),
    inputs=inputs,
)
