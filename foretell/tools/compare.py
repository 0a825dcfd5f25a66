"""Several runs on one text: a table, which differences are real, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from foretell.data.corpus import open_corpus, open_file
from foretell.data.files import SPLITS
from foretell.data.store import Split, is_store
from foretell.errors import ConfigError
from foretell.evaluate.bootstrap import Floats, Interval, bootstrap_ratio
from foretell.evaluate.comparison import (
    FEWEST_DOCUMENTS,
    Parts,
    RawText,
    by_frequency,
    by_position,
    worst_tokens,
)
from foretell.evaluate.scoring import TokenScores, metrics
from foretell.mixing import Mixed
from foretell.run import Record
from foretell.texts import check_trust
from foretell.tools import compare_tasks as tasks
from foretell.tools.printing import behind_the_best
from foretell.trained import Trained

Model = Trained | Mixed
SHOWN_TOKENS = 5


@dataclass(frozen=True)
class Measured:
    """A model's scores of a text."""

    name: str
    model: Model
    text: Split
    scores: TokenScores
    columns: int

    @property
    def nats(self) -> Floats:
        """[N] the loss of each token"""
        return -self.scores.logp

    @property
    def bits_per_byte(self) -> float:
        """over the whole text"""
        return float(self.nats.sum()) / math.log(2) / self.text.counts.bytes

    def record(self) -> Record:
        """The row of the table."""
        return {
            "run": self.name,
            **metrics(self.scores.totals, self.text),
            "context": self.model.context(self.columns),
            "parameters": self.model.parameters,
            "vocabulary": self.model.tokenizer.size,
        }


def compare(
    models: Sequence[Model], split: str = "test", *, columns: int = 1, resamples: int = 4000, seed: int = 0
) -> Record:
    """Measure models on one split of their corpora, or on a file, and test every difference.

    Runs of a task are measured by its metric, on the same examples; see `compare_tasks`. Raises `ConfigError` where the
    text is not the same.
    """
    if len(models) < 2:
        raise ConfigError("one run alone has nothing to be compared with; name two runs or more")
    if any(map(tasks.learns_a_task, models)):
        return tasks.compare_tasks(models, split, resamples=resamples, seed=seed)
    names = [name_of(model) for model in models]
    raws = [raw_text(model, split) for model in models]
    with ExitStack() as opened:
        texts = [opened.enter_context(model.text(split)) for model in models]
        for name, text, raw in zip(names, texts, raws, strict=True):
            if not same_text((texts[0], raws[0]), (text, raw)):
                raise ConfigError(
                    f"{names[0]} and {name} have different texts as their {split} split ({texts[0].counts.bytes:,} and "
                    f"{text.counts.bytes:,} bytes), so their figures say nothing about each other; name one text for "
                    "both with --split FILE"
                )
        measured = [
            Measured(name, model, text, model.token_scores(text, columns=columns), columns)
            for name, model, text in zip(names, models, texts, strict=True)
        ]
        measured.sort(key=lambda one: one.bits_per_byte)
        return compared(measured, next((raw for raw in raws if raw), None), split, resamples, seed)


def name_of(model: Model) -> str:
    """The run's folder; those of a mixture joined."""
    return str(model.run.path) if isinstance(model, Trained) else " + ".join(str(m.run.path) for m in model.members)


def raw_text(model: Model, split: str) -> RawText | None:
    """The text behind a split; None where only its tokens are kept."""
    if split not in SPLITS:
        return RawText.read(open_file(split).pieces("test"))
    first = model if isinstance(model, Trained) else model.members[0]
    corpus = first.recipe.data.corpus
    check_trust(first.run, corpus)
    if is_store(corpus):
        return None
    return RawText.read(open_corpus(corpus).pieces(split))


def same_text(one: tuple[Split, RawText | None], other: tuple[Split, RawText | None]) -> bool:
    """Whether two splits hold the same text, as far as that is known: of a prepared store only the sizes are."""
    (first, first_raw), (second, second_raw) = one, other
    return (
        first.counts.bytes == second.counts.bytes
        and len(first.lines) == len(second.lines)
        and np.array_equal(first.document_bytes, second.document_bytes)
        and (first_raw is None or second_raw is None or first_raw.digest == second_raw.digest)
    )


def compared(measured: Sequence[Measured], raw: RawText | None, split: str, resamples: int, seed: int) -> Record:
    """All figures; the best model first."""
    best, size = measured[0], measured[0].text.counts.bytes
    parts = Parts.of(best.text, raw)
    losses = [parts.losses(one.nats, one.text) / math.log(2) for one in measured]  # each [P], in bits

    def difference(a: int, b: int) -> Interval:
        return bootstrap_ratio(losses[a] - losses[b], parts.bytes, resamples=resamples, seed=seed)

    intervals = {(a, b): difference(b, a) for a, b in combinations(range(len(measured)), 2)}
    rows = [best.record() | {"to_best": None}]
    rows += [one.record() | {"to_best": intervals[0, n].record()} for n, one in enumerate(measured[1:], 1)]
    return {
        "split": split,
        "bytes": size,
        "documents": best.text.counts.documents,
        "parts": {"kind": parts.kind, "count": len(parts.bytes), "mean_bytes": float(parts.bytes.mean())},
        "resamples": resamples,
        "runs": rows,
        "pairs": [
            {"better": measured[a].name, "worse": measured[b].name, **interval.record()}
            for (a, b), interval in intervals.items()
        ],
        "same_tokens": len({one.model.tokenizer.fingerprint for one in measured}) == 1,
        "by_frequency": {one.name: frequencies(one) for one in measured},
        "position_in": positions_in(best),
        "by_position": {
            one.name: by_position(np.asarray(getattr(one.text, positions_in(one))), one.nats, size) for one in measured
        },
        "worst_tokens": {
            one.name: worst_tokens(np.asarray(best.text.tokens, np.int64), one.nats, best.nats, best.model.tokenizer)
            for one in measured[1:]
            if one.model.tokenizer.fingerprint == best.model.tokenizer.fingerprint
        },
    }


def frequencies(one: Measured) -> list[Record]:
    """Losses by how often the run's own training text has the token."""
    with one.model.text("train") as train:
        counts = train.token_counts(one.model.tokenizer.size)
    return by_frequency(np.asarray(one.text.tokens, np.int64), one.nats, counts, one.text.counts.bytes)


def positions_in(one: Measured) -> str:
    """What positions are counted in: documents, or lines where documents are few."""
    return "documents" if one.text.counts.documents >= FEWEST_DOCUMENTS else "lines"


# --- for people -----------------------------------------------------------------------------------


def render(result: Mapping[str, Any]) -> RenderableType:
    """The tables."""
    if "task" in result:
        return tasks.render(result)
    parts: list[RenderableType] = [summary(result), Text()]
    kind = result["position_in"].removesuffix("s")
    parts += [bucket_table(result, "by_frequency", "By the token's frequency in the run's training text"), Text()]
    parts += [bucket_table(result, "by_position", f"By the token's place in its {kind}")]
    for run, tokens in result["worst_tokens"].items():
        if tokens:
            parts += [Text(), worst_table(run, result["runs"][0]["run"], tokens[:SHOWN_TOKENS])]
    return Group(*parts)


def summary(result: Mapping[str, Any]) -> Table:
    """A row for each run, best first."""
    table = Table(title=f"{result['split']}: {result['bytes']:,} bytes", title_justify="left")
    table.add_column("run", overflow="fold")
    for heading in ("bits/byte", "to the best, 95 %", "p", "perplexity", "top-1", "parameters", "tokens/s", "context"):
        table.add_column(heading, justify="right" if heading != "context" else "left")
    for row in result["runs"]:
        table.add_row(
            row["run"],
            f"{row['bits_per_byte']:.4f}" + ("*" if row["lossy"] else ""),
            *behind_the_best(row["to_best"]),
            f"{row['perplexity']:,.2f}",
            "" if row["top1"] is None else f"{row['top1']:.1%}",
            f"{row['parameters']:,}",
            f"{row['tokens_per_second']:,.0f}",
            row["context"],
        )
    parts = result["parts"]
    table.caption = (
        f"Interval (BCa) and p, the share of {result['resamples']:,} draws in which the best stays better: paired "
        f"bootstrap over {parts['count']} {parts['kind']} of {parts['mean_bytes']:,.0f} bytes on average. "
        "Bold: the interval excludes 0; each stands for itself, uncorrected for the number of runs."
        + (" *: tokens hold less than the text." if any(row["lossy"] for row in result["runs"]) else "")
    )
    table.caption_justify = "left"
    return table


def bucket_table(result: Mapping[str, Any], key: str, title: str) -> Table:
    """Losses by bucket, a column for each run: nats per token, or for different tokens shares of bits per byte."""
    same = result["same_tokens"]
    table = Table(title=f"{title}, {'nats per token' if same else 'share of bits per byte'}", title_justify="left")
    runs = [row["run"] for row in result["runs"]]
    found = {run: {bucket["from"]: bucket for bucket in result[key][run]} for run in runs}
    table.add_column("", justify="right")
    if same:
        table.add_column("tokens", justify="right")
    for run in runs:
        table.add_column(run, justify="right", overflow="fold")
    for begin in sorted({begin for buckets in found.values() for begin in buckets}):
        bucket = next(buckets[begin] for buckets in found.values() if begin in buckets)
        end = bucket["to"]
        values = [found[run].get(begin) for run in runs]
        shown = ["" if v is None else f"{v['loss' if same else 'bits_per_byte']:.4f}" for v in values]
        label = f"{begin:,}" if begin == end else f"{begin:,} to {end:,}"
        table.add_row(label, *([f"{bucket['tokens']:,}"] if same else []), *shown)
    return table


def worst_table(run: str, best: str, tokens: Sequence[dict[str, Any]]) -> Table:
    """The tokens on which a run loses most against the best."""
    table = Table(title=f"Where {run} loses most against {best}", title_justify="left")
    table.add_column("token")
    for heading in ("times", "bits lost"):
        table.add_column(heading, justify="right")
    table.add_column("worst of them", overflow="fold")
    for token in tokens:
        context = Text(f"{token['context']} ({token['context_excess_bits']:+.1f})")
        table.add_row(
            Text(repr(token["token"])[1:-1]), f"{token['occurrences']:,}", f"{token['excess_bits']:,.0f}", context
        )
    return table
