"""Commands that write, to be killed and to run out of disk, and what they leave when nothing happens."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fuzz.cases import Answer, Case, Content, lasting
from fuzz.running import Runner, lay_out
from fuzz.seeds import train_recipe

Record = dict[str, Any]
HF = ("import", "hf", "--out", "new", "--corpus", "short.txt")
ARPA = ("import", "tri.arpa", "--out", "new", "--corpus", "short.txt")
SENTENCES = ["text\tlabel", *(f"the {w} sat {n}\t{w}" for n in range(8) for w in ("cat", "dog"))]
ON = "{train='set.tsv', valid='set.tsv', test='set.tsv'}"
QUESTIONS = [f"{'LOC:city' if n % 2 else 'NUM:date'} what the cat {'sat' if n % 2 else 'ran'} {n}" for n in range(16)]
SETS: dict[str, Content] = {
    "data/trec/TREC.train": "\n".join(QUESTIONS).encode() + b"\n",
    "data/trec/TREC.test": "\n".join(QUESTIONS[:6]).encode() + b"\n",
}


@dataclass(frozen=True)
class Work:
    """A command that writes."""

    command: tuple[str, ...]
    base: str = ""
    files: dict[str, Content] = field(default_factory=dict)
    needs: str = ""
    """the package that it cannot do without"""
    slow: bool = False
    """whether it starts processes of its own"""

    @property
    def case(self) -> Case:
        """It as a case."""
        return Case(" ".join(self.command), (self.command,), self.base, self.files)


WORKS: dict[str, Work] = {
    "import a Hugging Face folder": Work(HF, "hf", slow=True),
    "import an ARPA file": Work(ARPA, "arpa"),
    "export an ARPA file": Work(("export", "run", "--out", "out.arpa"), "runs/ngram"),
    "export a packed ARPA file": Work(("export", "run", "--out", "out.arpa.gz"), "runs/ngram"),
    "export a Hugging Face folder": Work(("export", "new", "--out", "out"), "imported"),
    "features as .npy": Work(("features", "run", "short.txt", "--out", "out.npy"), "runs/lm"),
    "features as .parquet": Work(("features", "run", "short.txt", "--out", "out.parquet"), "runs/lm"),
    "prepare words": Work(("prepare", "text", "--out", "store", "--tokenizer", "word"), "texts"),
    "prepare pieces": Work(("prepare", "text", "--out", "store", "--tokenizer", "{kind='bpe', size=300}"), "texts"),
    "train": Work((*train_recipe("gpt"), "checkpoint.every=1steps"), "recipes"),
    "plot": Work(("plot", "run", "--out", "out.png"), "runs/lm", needs="matplotlib"),
    "probe": Work(
        ("probe", "run", "--on", ON, "--reader", "{kind='table'}", "--out", "out", "--C", "0.1,1", "--top", "1"),
        "runs/lm",
        {"set.tsv": "\n".join(SENTENCES).encode() + b"\n"},
        needs="matplotlib",
    ),
    "race": Work(("race", "ngram.toml", "lstm.toml", "--budget", "200tokens", "--out", "out"), "recipes", slow=True),
    "transfer": Work(
        ("transfer", "run", "trec", "limit=2steps", "data.batches.batch=8", "--seeds", "1", "--out", "out"),
        "runs/lm",
        SETS,
        slow=True,
    ),
}


def works_there(slow: bool) -> list[str]:
    """The names of those that can be done here."""
    return [
        name for name, work in WORKS.items() if (slow or not work.slow) and (not work.needs or find_spec(work.needs))
    ]


def add_seeds(runner: Runner) -> None:
    """What works need beside the usual seeds."""
    if (runner.seeds / "imported").exists():
        return
    with runner.laid_out(Case("", (HF,), "hf")) as folder:
        [answer] = runner.run_in(folder, Case("", (HF,)), seconds=60)
        assert answer.accepted, answer.stderr
        shutil.rmtree(folder / "cache", ignore_errors=True)
        with contextlib.suppress(OSError):  # another process was first
            folder.rename(runner.seeds / "imported")
    (runner.seeds / "texts").mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        shutil.copytree(runner.seeds / "text", runner.seeds / "texts" / "text")


class Undisturbed:
    """What a work leaves when nothing happens, as far as that is the same twice."""

    def __init__(self, runner: Runner, work: Work, place: Path):
        self.operations, self.seconds = 0, 0.0
        found = []
        for _ in range(2):
            with fresh(work, runner.seeds, place) as folder:
                count = place / "count"
                more = variables(folder) | {"FUZZ_COUNT": str(count)}
                [answer] = runner.run_in(folder, work.case, seconds=120, more=more)
                assert answer.accepted, answer.stderr
                self.operations, self.seconds = int(count.read_text()), answer.seconds
                found.append(contents(folder))
                self.largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self.names = set(found[0]) | set(found[1])
        self.same = {name: one for name, one in found[0].items() if found[1].get(name) == one}

    def difference(self, folder: Path) -> str | None:
        """What is not as it is when nothing happens; None for nothing."""
        found = contents(folder)
        if odd := sorted(set(found) ^ self.names):
            return f"{odd[0]} is {'left over' if odd[0] in found else 'missing'}"
        changed = [name for name, one in self.same.items() if found[name] != one]
        if changed:
            return f"{changed[0]} is another"
        drafts = [path for path in (folder / "cache").rglob(".*") if path.is_file() or path.name.endswith(".draft")]
        return f"{drafts[0]} is left over" if drafts else None


@contextmanager
def fresh(work: Work, seeds: Path, place: Path) -> Iterator[Path]:
    """A folder with what a work needs, always at the same place."""
    folder = place / "here"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(work.case, seeds, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def variables(folder: Path) -> dict[str, str]:
    """What a work is told beside the usual."""
    return {"FORETELL_DATA": str(folder / "data")}


def contents(folder: Path) -> dict[str, Any]:
    """What files hold, by path; of JSON what does not differ from one call to the next. The cache is left out."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith("cache"):
            continue
        if path.is_dir():
            found[name] = "a folder"
        elif path.name == "checksums.json":  # of files that tell when they were written, too
            found[name] = sorted(json.loads(path.read_text())["files"])
        elif path.suffix in (".json", ".jsonl"):
            found[name] = [lasting(json.loads(line)) for line in lines_of(path)]
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def lines_of(path: Path) -> list[str]:
    """The JSON texts in a file."""
    text = path.read_text()
    return text.splitlines() if path.suffix == ".jsonl" else [text]


def again(runner: Runner, work: Work, folder: Path) -> Answer:
    """The same command once more; where it says so, with --resume. What is finished and stays is a success."""
    [answer] = runner.run_in(folder, work.case, seconds=120, more=variables(folder))
    if answer.code == 2 and "add --resume" in answer.stderr:
        resumed = Case("", ((*work.command, "--resume"),))
        [answer] = runner.run_in(folder, resumed, seconds=120, more=variables(folder))
    return answer


def is_finished(answer: Answer) -> bool:
    """Whether a command was refused because what it makes is there, whole: the accident came behind its end."""
    return answer.code == 2 and "exists" in answer.stderr


def temporary(prefix: str) -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(prefix=prefix))
