"""A plan: what a text or labelled data are like, what this machine can do in a time, and the recipes to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from foretell import units
from foretell.data.compressed import compression, opened
from foretell.data.labelled.datasets import SETS
from foretell.data.labelled.sniffing import task_of_file
from foretell.data.opening import open_corpus
from foretell.data.text.corpus import Corpus
from foretell.data.text.holdout import Share, files_of
from foretell.data.text_files import BLOCK
from foretell.errors import ConfigError
from foretell.run import Run
from foretell.tools.compressors import figures, given
from foretell.tools.look.advice import Advice, Situation, advise, notes, spelled, then, vocabulary
from foretell.tools.look.diagnosis import ENOUGH, points
from foretell.tools.look.doctor_corpus import corpus_findings, examine_corpus
from foretell.tools.look.runs import list_runs
from foretell.tools.look.trying_out import Sample, counted
from foretell.tools.machine import hardware
from foretell.tools.printing import INDENT, Command
from foretell.tools.speed import speed_here
from foretell.tools.tables import facts as table_of
from foretell.training.monitor import Monitor
from foretell.trees import Tree

SAMPLE = 2 << 20
"""bytes of each split that are examined"""
MOST_UNPACKED = 1 << 28
"""bytes up to which compressed files are unpacked to learn the size of their text"""
LOOKED_AT = 20
"""files of a folder that are looked at for labels"""
WARNINGS = 4
"""findings that are shown"""
LEAST_PRETRAINED = 1_000_000
"""parameters of an imported model that is worth starting from"""


def plan(what: str, seconds: float, runs: Path = Path("runs"), settings: Sequence[str] = ()) -> Tree:
    """Plan a training of `seconds` on a text or labelled data; `runs` are those that may be fine-tuned.

    `settings` say what labelled data are, as in data.reader.label=stars. Raises `ConfigError` if there is no such text,
    or if it cannot be trained on.
    """
    facts = labelled_facts(what, settings)
    about = "text" if facts is None else "labelled"
    if facts is None:
        facts = text_facts(what)
    host, speed = hardware(), speed_here()
    situation = Situation(what, seconds, speed, host["memory_available_bytes"], runs, tuple(settings))
    situation = for_text(situation, facts) if about == "text" else for_labels(situation, facts)
    return {
        "what": "plan",
        "corpus": what,
        "budget_seconds": seconds,
        about: facts,
        "machine": {**host, "device": speed.device, "training_flops_per_second": dict(speed.flops)},
        "advice": [record(advice) for advice in advise(situation)],
        "then": record(following) if (following := then(situation)) else None,
        "notes": notes(situation),
        "findings": facts.pop("findings"),
    }


def record(advice: Advice) -> Tree:
    """Advice as plain values."""
    return {key: value for key, value in asdict(advice).items() if key != "rank"}


# --- text -----------------------------------------------------------------------------------------


def text_facts(what: str) -> Tree:
    """Sizes, language and findings of a text, and what a compressor makes of its beginning."""
    found = examine_corpus(what, SAMPLE)
    for split in found["splits"].values():
        split.pop("unknown", None)  # which only concerns words, and subwords are proposed
    findings = corpus_findings(found)
    if errors := [item["text"] for item in findings if item["level"] == "error" and item["about"] == "files"]:
        raise ConfigError(f"{errors[0]} (`foretell doctor {what}` lists all)", file=what)
    train = found["splits"]["train"]
    size = train["bytes"] if train["complete"] else max(train["bytes"], stored_bytes(open_corpus(what)))
    return {
        "train_bytes": size,
        "splits": list(found["splits"]),
        "language": found["language"],
        "scripts": found["scripts"],
        "looks_like": found["looks_like"],
        "words": round(train["words"] * size / max(train["bytes"], 1)),
        "repeated": train["repeated"],
        "findings": findings,
    }


def stored_bytes(corpus: Corpus) -> int:
    """Bytes of the training files, unpacked as far as that is quick; text that is held out is left out."""
    source = corpus.source("train")
    total = sum(unpacked(path) if compression(path) else path.stat().st_size for path in files_of(source))
    return total * (100 - 5 * len(source.whole.held_out)) // 100 if isinstance(source, Share) else total


def unpacked(path: Path) -> int:
    """Bytes of a compressed file; the rest of a large one is taken to be packed as its beginning is."""
    size = 0
    with opened(path) as stream:
        while size < MOST_UNPACKED and (block := stream.read(BLOCK)):
            size += len(block)
    return size


def for_text(situation: Situation, facts: Tree) -> Situation:
    """The situation of a text, with a 5-gram of its beginning; adds what was measured to the facts."""
    situation = replace(situation, train_bytes=facts["train_bytes"], scripts=list(facts["scripts"]))
    sample = Sample.of(open_corpus(situation.corpus))
    facts["measured"] = None
    if sample.measured:
        found = counted(sample, "ngram-5", vocabulary(situation))
        situation = replace(situation, sample=found, sample_bytes=len(sample.counted))
        facts["measured"] = {
            "held_out_bytes": len(sample.measured),
            "baselines": given(sample.counted, sample.measured, Monitor(quiet=True)),
            "ngram_bits_per_byte": found.bits_per_byte,
            "ngram_bytes": len(sample.counted),
        }
    facts["train_tokens"] = round(situation.train_tokens)
    return situation


# --- labelled data --------------------------------------------------------------------------------


def labelled_facts(what: str, settings: Sequence[str] = ()) -> Tree | None:
    """Facts and findings of labelled data; None for plain text."""
    if not (settings or what in SETS or what.startswith("{") or may_be_labelled(Path(what))):
        return None
    from foretell.tools.look.doctor_labelled import examine_labels
    from foretell.tools.look.labelled import NAME_LABELS, labelled_data

    data = labelled_data(what, settings)
    if data is None:
        if settings:
            raise ConfigError("is plain text, and settings are for labelled data", file=what, remedy=NAME_LABELS)
        return None
    facts = examine_labels(data)
    if facts["refused"]:
        raise ConfigError(facts["refused"], file=what, remedy="`foretell doctor` examines all of it")
    return {"task": data.task.kind_name(), **facts}


def may_be_labelled(path: Path) -> bool:
    """Whether a file, or one in a folder, may hold labelled data."""
    return any(task_of_file(file) for file in files_at(path)[:LOOKED_AT])


def files_at(path: Path) -> list[Path]:
    """A file, or those in a folder; empty if there is none."""
    return sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []


def for_labels(situation: Situation, facts: Tree) -> Situation:
    """The situation of labelled data, with the runs that may be fine-tuned."""
    more = ("--skip-bad",) if facts["unusable"] else ()
    return replace(
        situation,
        task=facts["task"],
        language=facts["language"] or "",
        scripts=list(facts["scripts"]),
        baseline=next((pair for pair in facts["baseline"].items() if pair[0].startswith("bag_of_")), None),
        settings=(*situation.settings, *more),
        models=starts(situation.runs),
    )


def starts(folder: Path) -> list[Tree]:
    """Runs that a task may start from, imported ones first, then by parameters; an import of a few parameters was made
    to test with, not pre-trained."""
    if not folder.is_dir():
        return []
    found = [
        {**run, "imported": is_imported(folder / run["name"])}
        for run in list_runs(folder)
        if run["model"].startswith(("transformer", "recurrent")) and run["metric"] is None and run["parameters"]
    ]
    kept = [run for run in found if not run["imported"] or run["parameters"] >= LEAST_PRETRAINED]
    return sorted(kept, key=lambda run: (not run["imported"], -run["parameters"]))


def is_imported(path: Path) -> bool:
    """Whether a run is an import."""
    return any(record["kind"] == "import" for record in islice(Run(path).metrics(), 3))


# --- for a terminal -------------------------------------------------------------------------------


def render(result: Mapping[str, Any]) -> RenderableType:
    """A plan for a terminal of any width."""
    rows = text_rows(result["text"]) if "text" in result else labelled_rows(result["labelled"])
    rows.append(("machine", machine_words(result["machine"])))
    parts: list[RenderableType] = [Text(result["corpus"], "bold"), table_of(rows), Text()]
    order = ", the most promising first" if len(result["advice"]) > 1 else ""
    parts.append(Text(f"To try in {spelled(result['budget_seconds'])}{order}:"))
    for number, advice in enumerate(result["advice"], 1):
        parts += advice_lines(f"{number}. {advice['recipe']}", advice)
    if result["then"]:
        parts += advice_lines(f"Then: {result['then']['recipe']}", result["then"])
    parts += [line for note in result["notes"] for line in (Text(), Text(note))]
    return Group(*parts, *warnings(result["findings"]), Text(), Text(SOURCES, "dim"))


SOURCES = "Times are estimates from a short measurement of this machine. results.md is in docs/."


def advice_lines(title: str, advice: Mapping[str, Any]) -> list[RenderableType]:
    """A recipe to try: why, what to expect, and its commands."""
    words = [Text(f"{advice['why']}."), Text.assemble(("Expect: ", "dim"), f"{advice['expect']}.")]
    below = [Padding(line, (0, 0, 0, INDENT)) for line in words]
    return [Text(), Text(title, "bold"), *below, *map(Command, advice["commands"])]


def text_rows(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts about a text, in words."""
    measured, tokens = known["measured"], f"about {units.count(known['train_tokens'])} tokens"
    compressed = "not measured: no text is held out"
    if measured:
        found = ", ".join(f"{title} {bits:.3f}" for title, bits in figures(measured["baselines"]))
        train = units.size(measured["baselines"]["train_bytes"])
        compressed = (
            f"{found} bits/byte of {units.size(measured['held_out_bytes'])} held out, after {train} of training"
        )
    return [
        ("training", f"{units.size(known['train_bytes'])}, {tokens}; {known['looks_like']}"),
        ("language", language_words(known)),
        ("repeated", f"{known['repeated']['lines']:.1%} of lines, {known['repeated']['paragraphs']:.1%} of paragraphs"),
        ("compressors", compressed),
    ]


def language_words(known: Mapping[str, Any]) -> str:
    """The language, if one is clear, and the scripts."""
    scripts = ", ".join(f"{name} {share:.0%}" if share < 0.99 else name for name, share in known["scripts"].items())
    return f"{known['language']}, {scripts}" if known["language"] else scripts or "no letters"


def labelled_rows(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts about labelled data, in words."""
    counts = ", ".join(f"{name} {split['examples']:,}" for name, split in known["splits"].items())
    labels = ", ".join(f"{name} {split['train']:,}" for name, split in islice(known["labels"].items(), 6))
    more = ", ..." if known["label_count"] > 6 else ""
    found = [("task", known["task"]), ("examples", counts)]
    found += [("labels", f"{known['label_count']} in training: {labels}{more}")] if labels else []
    for unit in ("words", "characters"):
        if sizes := known["splits"]["train"].get(unit):
            found.append((unit, f"{sizes['mean']:.0f} in a text on average, {sizes['largest']:,} at most"))
    found.append(("language", language_words(known)))
    if simple := known["baseline"]:
        figures = ", ".join(f"{units.label(key)} {simple[key]:.3f}" for key in simple if key != "measured_on")
        number = known["splits"][simple["measured_on"]]["examples"]
        few = "" if number >= ENOUGH else f", uncertain by {points(number)}"
        on = f"{units.counted(number, 'example')} of {simple['measured_on']}{few}"
        found.append(("accuracy", f"{figures}, measured here on {on}"))
    return found


def machine_words(host: Mapping[str, Any]) -> str:
    """The machine in words."""
    free = host["memory_available_bytes"]
    memory = f", {units.size(free)} of memory free" if free else ""
    rates = ", ".join(f"{kind} {rate / 1e9:,.0f}" for kind, rate in host["training_flops_per_second"].items())
    cores = units.counted(host["cores"], "core")
    return f"{cores}{memory}; GFLOP/s in training on {host['device']}: {rates}"


def warnings(findings: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The first findings that are not all right."""
    wrong = [finding for finding in findings if finding["level"] != "ok"]
    lines: list[RenderableType] = []
    for item in wrong[:WARNINGS]:
        lines.append(Text.assemble(("!! ", "yellow"), f"{item['about']}: {item['text']}"))
        lines.append(Padding(Text(f"-> {item['do']}"), (0, 0, 0, INDENT)))
    return [Text(), *lines] if lines else []
