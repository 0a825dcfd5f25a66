"""`foretell prepare` beside bare `tokenizers.Tokenizer.encode_batch` on the same lines.

Our side reads packed files and leaves a synced store on disk; the bare side has all lines in memory before its clock
starts, and keeps nothing. Child processes take turns, and each prints one JSON line:

    FORETELL_DATA=… python benchmarks/prepare.py --pairs 9 --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import tokenizers

from foretell.data.builtin import open_builtin
from foretell.data.corpus import Corpus, Files
from foretell.data.store import prepare
from foretell.data.tokenizer import BPEConfig, load_tokenizer

CORPORA = ("novels", "wiki-en")
SAMPLE_PIECES = 100_000


def training_text(repeat: int) -> Corpus:
    """The train splits of the corpora, one after another, `repeat` times."""
    paths: list[Path] = []
    for name in CORPORA:
        source = open_builtin(name).source("train")
        assert isinstance(source, Files)
        paths += source.paths
    return Corpus("+".join(CORPORA), {"train": Files(paths * repeat)})


def train_tokenizer(path: Path, size: int) -> None:
    """A BPE tokeniser from the first lines of each corpus."""

    def sample() -> Iterator[str]:
        for name in CORPORA:
            pieces = open_builtin(name).pieces("train")
            yield from (piece.text for piece in islice(pieces, SAMPLE_PIECES))

    BPEConfig(size=size).train(sample()).save(path)


def run_ours(tokenizer: Path, folder: Path, repeat: int) -> dict[str, float]:
    """Text files to a store on disk."""
    corpus = training_text(repeat)
    start, cpu_start = time.perf_counter(), cpu_seconds()
    store = prepare(corpus, load_tokenizer(tokenizer), folder / "store")
    counts = store.counts["train"]
    seconds = time.perf_counter() - start
    tokens = counts.tokens - counts.documents  # the bare side has no boundaries
    found = {"seconds": seconds, "bytes": counts.bytes, "tokens": tokens}
    return {**found, "cpu_start": cpu_start}


def run_bare(tokenizer: Path, folder: Path, repeat: int) -> dict[str, float]:
    """Lines in memory to the library's encodings in memory."""
    lines = [piece.text for piece in training_text(repeat).pieces("train")]
    size = sum(len(line.encode()) for line in lines)
    library = tokenizers.Tokenizer.from_file(str(tokenizer))
    start, cpu_start = time.perf_counter(), cpu_seconds()
    encodings = library.encode_batch(lines, add_special_tokens=False)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "bytes": size, "tokens": sum(map(len, encodings))}
    return {**found, "cpu_start": cpu_start}


SIDES = {"foretell": run_ours, "tokenizers": run_bare}


def child(side: str, tokenizer: Path, repeat: int) -> None:
    """Measure one side once and print it."""
    with tempfile.TemporaryDirectory() as folder:
        found = SIDES[side](tokenizer, Path(folder), repeat)
    rate = found["bytes"] / found["seconds"] / 1e6
    found["cpu_seconds"] = cpu_seconds() - found.pop("cpu_start")
    found |= {"megabytes_per_second": rate, "peak_memory": peak_memory()}
    print(json.dumps({"side": side, **found}))


def cpu_seconds() -> float:
    """Processor time of this process, all threads: steadier than the clock where others work too."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory() -> int:
    """The most memory held, in bytes.

    Not from getrusage where that can be helped: its figure survives exec, so the child would tell
    of the memory of its parent.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def main() -> None:
    """Take turns, then print medians and the ratio's quartiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--repeat", type=int, default=1, help="read the text so many times over")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.tokenizer, options.repeat)
        return
    folder = Path(tempfile.mkdtemp())
    try:
        train_tokenizer(folder / "tokenizer.json", options.size)
        compare(options, folder / "tokenizer.json")
    finally:
        shutil.rmtree(folder)


def compare(options: argparse.Namespace, tokenizer: Path) -> None:
    """Run the pairs and print what came out."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads)}
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu: dict[str, list[float]] = {side: [] for side in SIDES}
    peaks = dict.fromkeys(SIDES, 0)
    tokens = set()
    for _ in range(options.pairs):
        for side in SIDES:
            command = [sys.executable, __file__, "--child", side, "--tokenizer", str(tokenizer)]
            command += ["--repeat", str(options.repeat)]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            print(done.stdout, end="", flush=True)
            found = json.loads(done.stdout)
            rates[side].append(found["megabytes_per_second"])
            cpu[side].append(found["cpu_seconds"])
            peaks[side] = max(peaks[side], found["peak_memory"])
            tokens.add(found["tokens"])
    assert len(tokens) == 1, f"the sides do not agree on the tokens: {tokens}"
    ratios = [ours / bare for ours, bare in zip(*rates.values(), strict=True)]
    summary = {
        "ratio": statistics.median(ratios),
        "quartiles": statistics.quantiles(ratios, n=4)[::2] if len(ratios) > 1 else ratios * 2,
        "cpu_ratio": statistics.median(bare / ours for ours, bare in zip(*cpu.values(), strict=True)),
        "pairs": len(ratios),
        "threads": options.threads,
        "tokenizers": tokenizers.__version__,
        "peak_memory": peaks,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
