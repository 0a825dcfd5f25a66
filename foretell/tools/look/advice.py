"""Advisers: each looks at a situation and may propose a recipe, with what it should reach.

Another adviser is a function `(Situation) -> Iterator[Advice]` and its name in `TEXT` or `LABELS`. What a recipe should
reach is measured here, or quoted from docs/results.md (`figures`), or said not to be measured.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foretell import units
from foretell.recipe.files import find_recipe, read_tree
from foretell.tools.look import figures
from foretell.tools.look.figures import Figure, transfer
from foretell.tools.look.trying_out import Counted
from foretell.tools.sizes import Size, sizes
from foretell.tools.speed import Speed

FEW_PASSES = 5.0
"""passes over a text below which a 5-gram may be ahead of an LSTM: in docs/results.md it was by far after 0.1 passes
(A race), by little after 4 (The demo), and it was not after 3.5 on a small vocabulary (The Penn Treebank)"""
MANY_PASSES = 20.0
"""passes over a text from which on a small model is likely to learn it by heart"""
LSTMS = ("awd-lstm-small", "awd-lstm-tiny")
GPTS = ("gpt2-124m", "gpt2-wiki-mini")
"""the larger ones first"""
FOR_CHARACTERS = "nanogpt-shakespeare"
MIXING_STARTS, MIXING_SPEED = 30.0, 40e3
"""seconds that context mixing takes to be compiled and saved, and bytes it reads a second, on a busy machine"""
MIXING_MEMORY = 3e9
"""bytes of memory that it may take"""
LITTLE = 5e6
"""bytes of text below which a GPT over characters is proposed"""
VERBS = {
    "classification": "classify",
    "similarity": "similar",
    "choice": "multiple-choice",
    "tagging": "tag",
    "answering": "answer",
}
"""the recipe that fine-tunes for a task"""
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Situation:
    """A text or labelled data, a time and a machine."""

    corpus: str
    seconds: float
    speed: Speed
    memory: int | None
    """bytes available"""
    runs: Path = Path("runs")
    """the folder of the user's runs"""
    settings: Sequence[str] = ()
    """settings and options of a training on labelled data"""
    train_bytes: float = 0.0
    """of text"""
    scripts: Sequence[str] = ()
    sample: Counted | None = None
    """a 5-gram of a sample of the text"""
    sample_bytes: int = 0
    task: str = ""
    """of labelled data: classification, similarity, tagging, answering"""
    language: str = ""
    """of labelled data; "" where none is clear"""
    baseline: tuple[str, float] | None = None
    """`bag_of_words` or `bag_of_characters`, and its accuracy, measured here"""
    models: Sequence[Mapping[str, Any]] = field(default=())
    """runs that may be fine-tuned, as `foretell runs` lists them, the best start first"""

    @property
    def train_tokens(self) -> float:
        """Tokens of the training text, from the subwords of the sample."""
        return self.train_bytes / (self.sample.bytes_per_token if self.sample else 4.0)

    @property
    def foreign(self) -> str:
        """The language or script of labelled data where it is not English; else ""."""
        script = self.scripts[0] if self.scripts else "Latin"
        named = self.language or ("" if script == "Latin" else f"{script} script")
        return "" if named == "English" else named

    @property
    def limit(self) -> str:
        """The budget as a limit."""
        return spelled(self.seconds)

    def passes(self, name: str) -> float | None:
        """Passes over the text that a recipe makes in the budget; None if unknown."""
        rate = self.speed.tokens(sizes()[name])
        return None if rate is None else rate * self.seconds / max(self.train_tokens, 1.0)

    def affordable(self, names: Sequence[str]) -> str | None:
        """The first recipe that fits into memory and sees as many tokens in the budget as it has parameters."""
        for name in names:
            size = sizes()[name]
            rate = self.speed.tokens(size)
            if rate and rate * self.seconds >= (size.parameters or 0) and self.has_room(size):
                return name
        return None

    def has_room(self, size: Size) -> bool:
        """Whether the state of training fits into memory."""
        return not (self.memory and size.state_bytes) or size.state_bytes < self.memory

    def run(self, name: str) -> str:
        """A free folder for a run."""
        stem = Path(self.corpus.partition("#")[0]).name.partition(".")[0] or "text"
        path, number = self.runs / f"{stem}-{name}", 1
        while path.exists():
            path, number = self.runs / f"{stem}-{name}-{number + 1}", number + 1
        return str(path)


@dataclass(frozen=True)
class Advice:
    """A recipe to try."""

    recipe: str
    why: str
    expect: str
    """what it should reach, with the source of each figure, or that it was not measured"""
    commands: tuple[str, ...]
    rank: int = 1
    """lower ones are shown first"""


Adviser = Callable[[Situation], Iterator[Advice]]


def spelled(seconds: float) -> str:
    """A time as a limit: `600` is `10m`."""
    for size, letter in ((3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.10g}{letter}"
    return f"{seconds:.10g}s"


def command(*words: str) -> str:
    """A command line, quoted for a shell."""
    return shlex.join(["foretell", *words])


def vocabulary(situation: Situation) -> int:
    """The size of the subwords that the 5-gram and the LSTM share, so that they can be mixed."""
    name = situation.affordable(LSTMS) or LSTMS[-1]
    return int(read_tree(find_recipe(name))["data"]["tokenizer"]["size"])


# --- text -----------------------------------------------------------------------------------------


def by_counting(situation: Situation) -> Iterator[Advice]:
    """The baseline: it reads all of the text once."""
    found = situation.sample
    expect = NOT_MEASURED
    why = "the baseline for every other model: counts all of the text once"
    if found is not None:
        part = f"the first {units.size(situation.sample_bytes)} of the training text; more text usually lowers it"
        whole = situation.sample_bytes >= situation.train_bytes
        expect = (
            f"{found.bits_per_byte:.3f} bits/byte, measured here from {'all of the training text' if whole else part}"
        )
        seconds = situation.train_tokens / found.tokens_per_second
        why += f", in about {units.duration(max(seconds, 1.0))}"
    size = vocabulary(situation)
    tokens = f'data.tokenizer={{kind="bpe", size={size}}}'
    run = situation.run("ngram-5")
    yield Advice(
        "ngram-5",
        why,
        expect,
        (command("train", "ngram-5", f"data.corpus={situation.corpus}", tokens, "--out", run),),
        rank=1,
    )


def mixing(situation: Situation) -> Iterator[Advice]:
    """Context mixing, which reads all of the text once, if there is time and memory."""
    seconds = MIXING_STARTS + situation.train_bytes / MIXING_SPEED
    if seconds > situation.seconds or (situation.memory and situation.memory < MIXING_MEMORY):
        return
    run = situation.run("context-mixing")
    yield Advice(
        "context-mixing",
        f"predicts from many contexts at once: reads all of the text once, in about {units.duration(seconds)}; "
        "with --adaptive it also learns from the text it is measured on",
        f"{NOT_MEASURED} on this text; {figures.DEMO_MIXING}",
        (
            command("train", "context-mixing", f"data.corpus={situation.corpus}", "--out", run),
            command("evaluate", run, "--adaptive"),
        ),
        rank=-1,
    )


def recurrent(situation: Situation) -> Iterator[Advice]:
    """The largest small AWD-LSTM that sees enough text in the time."""
    name = situation.affordable(LSTMS)
    if name is None:
        return
    passes = situation.passes(name)
    figure = figures.DEMO_LSTM if name == "awd-lstm-tiny" else figures.RACE_LSTM
    ahead = passes is not None and passes >= FEW_PASSES
    words = ("train", name, f"data.corpus={situation.corpus}", f"limit={situation.limit}")
    yield Advice(
        name,
        f"a small LSTM: {reading(situation, name)}",
        f"{NOT_MEASURED} on this text; {figure}",
        (command(*words, "--out", situation.run(name)),),
        rank=0 if ahead else 2,
    )


def causal_transformer(situation: Situation) -> Iterator[Advice]:
    """The largest GPT that sees enough text in the time, given ten minutes or more."""
    name = situation.affordable((*GPTS, *[FOR_CHARACTERS] * (situation.train_bytes < LITTLE)))
    if name is None or situation.seconds < 600:
        return
    quoted: Figure | None = figures.NANOGPT if name == FOR_CHARACTERS else None
    words = ["train", name, f"data.corpus={situation.corpus}", f"limit={situation.limit}"]
    yield Advice(
        name,
        f"a Transformer: {reading(situation, name)}",
        f"{NOT_MEASURED} on this text" + (f"; {quoted}" if quoted else ""),
        (command(*words, "--out", situation.run(name)),),
        rank=3,
    )


def reading(situation: Situation, name: str) -> str:
    """Parameters of a recipe, and about how often it reads the text in the budget."""
    passes, size = situation.passes(name), sizes()[name]
    parameters = f"{units.count(size.parameters or 0)} parameters"
    if passes is None:
        return parameters
    times = f"{passes:,.0f}" if passes >= 10 else f"{passes:.2g}"
    words = f"{parameters}, reads the text about {times} times in {situation.limit}"
    if passes < FEW_PASSES:
        words += "; in so few passes a 5-gram may stay ahead"
    elif passes > MANY_PASSES:
        words += "; the best of its validations is kept, as it may learn so little text by heart"
    return words


# --- labelled data --------------------------------------------------------------------------------


def expected(situation: Situation, start: str, after: str = "") -> str:
    """Accuracy of fine-tuning from such a start on other data, and of the baseline on these."""
    beat = ""
    if situation.baseline is not None:
        name, accuracy = situation.baseline
        beat = f"; a {units.label(name)} had {accuracy:.3f}, measured here"
    if situation.foreign:
        return f"{NOT_MEASURED} on {situation.foreign}, as docs/results.md has only English{beat}"
    figure = transfer(start, situation.task)
    return f"{NOT_MEASURED} on these examples" + (f"; {after}{figure}, all in English" if figure else "")


def fine_tuning(situation: Situation, init: str, limit: str) -> tuple[str, ...]:
    """The words of the command that fine-tunes a run on the labelled data, without its folder."""
    given = [word for word in situation.settings if not word.startswith(("objective=", "objective.kind="))]
    return (VERBS[situation.task], f"init={init}", f"data.corpus={situation.corpus}", *given, f"limit={limit}")


def from_a_run(situation: Situation) -> Iterator[Advice]:
    """Fine-tune the runs that are there."""
    for rank, run in enumerate(situation.models[:2]):
        verb = VERBS[situation.task]
        path = str(situation.runs / run["name"])
        start = "imported" if run["imported"] else str(run["model"]).partition(" ")[0]
        where = "imported" if run["imported"] else "trained here"
        words = fine_tuning(situation, path, situation.limit)
        if run["imported"] and situation.foreign:
            where += f": a good start if it was pre-trained on {situation.foreign}"
        out = situation.run(f"{verb}-{Path(path).name}")
        yield Advice(
            verb,
            f"fine-tunes {path} ({run['model']}, {units.count(run['parameters'] or 0)} parameters, {where})",
            expected(situation, start),
            (command("train", *words, "--out", out),),
            rank=rank + bool(situation.foreign),
        )


def from_an_import(situation: Situation) -> Iterator[Advice]:
    """Import a pre-trained encoder, the best start where one is at hand."""
    if any(run["imported"] for run in situation.models) and not situation.foreign:
        return
    verb, model = VERBS[situation.task], str(situation.runs / "encoder")
    kind = (
        f"encoder, pre-trained on {situation.foreign} or many languages" if situation.foreign else "pre-trained encoder"
    )
    yield Advice(
        verb,
        f"fine-tunes {'an' if situation.foreign else 'a'} {kind}; FOLDER has the format of Hugging Face, or is "
        "hf:OWNER/NAME on the hub",
        expected(situation, "imported"),
        (
            command("import", "FOLDER", "--out", model),
            command("train", *fine_tuning(situation, model, situation.limit), "--out", situation.run(verb)),
        ),
        rank=0,
    )


def from_own_text(situation: Situation) -> Iterator[Advice]:
    """Pre-train on text of one's own, then fine-tune."""
    if situation.models and not situation.foreign:
        return
    verb, run = VERBS[situation.task], situation.run("bert-wiki-mini")
    half = spelled(max(1, round(situation.seconds / 2)))
    yield Advice(
        "bert-wiki-mini",
        "pre-trains a small BERT on plain text of the same kind, TEXT.txt, and fine-tunes it",
        expected(situation, "transformer", after="after an hour and more "),
        (
            command(
                *("train", "bert-wiki-mini", "data.corpus=TEXT.txt", "data.batches.kind=full", f"limit={half}"),
                *("--out", run),
            ),
            command("train", *fine_tuning(situation, run, half), "--out", situation.run(verb)),
        ),
        rank=2,
    )


TEXT: tuple[Adviser, ...] = (mixing, by_counting, recurrent, causal_transformer)
LABELS: tuple[Adviser, ...] = (from_a_run, from_an_import, from_own_text)
MOST = 4
"""recipes that are proposed"""


def then(situation: Situation) -> Advice | None:
    """What to do with the models of a text once they are trained."""
    name = situation.affordable(LSTMS)
    if situation.task or name is None:
        return None
    run, counted = situation.run(name), situation.run("ngram-5")
    return Advice(
        "both, mixed",
        "compares them on text that neither has seen, and mixes their probabilities",
        f"{NOT_MEASURED} on this text; {figures.DEMO_MIXED}",
        (command("compare", run, counted), command("evaluate", run, "--mix", counted)),
    )


def notes(situation: Situation) -> list[str]:
    """Reasons for missing recipes."""
    smallest = LSTMS[-1]
    rate = situation.speed.tokens(sizes()[smallest])
    if situation.task or rate is None or situation.affordable(LSTMS) is not None:
        return []
    least = units.duration((sizes()[smallest].parameters or 0) / rate)
    return [f"A neural model takes longer: {smallest} sees as many tokens as it has parameters after about {least}."]


def advise(situation: Situation) -> list[Advice]:
    """The recipes to try, the most promising first."""
    advisers = LABELS if situation.task else TEXT
    found = [advice for adviser in advisers for advice in adviser(situation)]
    return sorted(found, key=lambda advice: advice.rank)[:MOST]
