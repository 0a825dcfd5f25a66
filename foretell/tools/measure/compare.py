"""Comparison of runs on one text: a table, the significance of differences, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from foretell import units
from foretell.api.mixed import Mixed
from foretell.api.trained import Trained
from foretell.data.files import SPLITS
from foretell.data.opening import open_corpus, open_file
from foretell.data.store.store import Split, is_store
from foretell.errors import ConfigError
from foretell.evaluate.bootstrap import Floats, bootstrap_ratio, no_interval, too_few
from foretell.evaluate.comparison import (
    FEWEST_DOCUMENTS,
    Parts,
    RawText,
    by_frequency,
    by_position,
    worst_tokens,
)
from foretell.evaluate.ranking import Standing, ranked
from foretell.evaluate.scoring import TokenScores, check_loss, metrics
from foretell.learning.opened_text import check_trust
from foretell.run import Record
from foretell.tools.compressors import ADAPTIVE, add_compressors, baselines
from foretell.tools.measure import compare_tasks as tasks
from foretell.tools.printing import BEHIND, behind_the_best, columns_explained, without_common_folder
from foretell.tools.tables import Column, ResponsiveTable, spaced
from foretell.training.monitor import Monitor

Model = Trained | Mixed
SHOWN_TOKENS = 5
BY_RUN = ("by_frequency", "by_position", "worst_tokens")
"""parts of a result with an entry for each run"""


@dataclass(frozen=True)
class Measured:
    """A model's scores of a text."""

    name: str
    model: Model
    text: Split
    scores: TokenScores
    columns: int
    fitted: list[str]
    """settings fitted to this very text"""
    adaptive: float | None = None
    """bits per byte where it learns from the text as it reads it; None: it cannot"""

    @property
    def nats(self) -> Floats:
        """[N] loss of each token"""
        return -self.scores.logp

    @property
    def bits_per_byte(self) -> float:
        """bits per byte of the whole text"""
        return float(self.nats.sum()) / math.log(2) / self.text.counts.bytes

    @property
    def vocabulary(self) -> str:
        """fingerprint of the tokenizer: models that share it are comparable, lossy or not"""
        return self.model.tokenizer.fingerprint

    @property
    def standing(self) -> Standing:
        """The facts that decide whether it is ranked."""
        return Standing(self.vocabulary, self.text.lossy, bool(self.fitted or self.model.unnormalised))

    def record(self) -> Record:
        """Figures of the model, as in JSON."""
        return {
            "run": self.name,
            **metrics(self.scores.totals, self.text),
            "context": self.model.context(self.columns),
            **({} if self.adaptive is None else {"adaptive": {"bits_per_byte": self.adaptive}}),
            "fitted_here": self.fitted,
            "unnormalised": self.model.unnormalised,
            "parameters": self.model.parameters,
            "vocabulary": self.model.tokenizer.size,
        }


def compare(
    models: Sequence[Model], split: str = "test", *, columns: int = 1, resamples: int = 4000, seed: int = 0
) -> Record:
    """Measure models on a split of their corpora, or on a file, and test every difference.

    Runs of a task are measured by its metric on the same examples (`compare_tasks`). Raises `ConfigError` if texts
    differ.
    """
    if len(models) < 2:
        raise ConfigError("comparing takes two runs or more; name another run")
    if any(model.is_task for model in models):
        return tasks.compare_tasks(models, split, resamples=resamples, seed=seed)
    names = [model.name for model in models]
    raws = [raw_text(model, split) for model in models]
    with ExitStack() as opened:
        texts = [opened.enter_context(model.text(split)) for model in models]
        for name, text, raw in zip(names, texts, raws, strict=True):
            if not same_text((texts[0], raws[0]), (text, raw)):
                raise ConfigError(
                    f"{names[0]} and {name} have different texts as their {split} split ({texts[0].counts.bytes:,} and "
                    f"{text.counts.bytes:,} bytes), so their figures are not comparable; name one text for both with "
                    "--split FILE"
                )
        measured = [
            Measured(
                *(name, model, text, model.token_scores(text, columns=columns), columns, model.fitted_on(text)),
                adaptive_bits(model, text),
            )
            for name, model, text in zip(names, models, texts, strict=True)
        ]
        for model in measured:
            check_loss(model.scores.totals.loss, model.name)
        found = compared(measured, next((raw for raw in raws if raw), None), split, resamples, seed)
    return found | {"baselines": baselines(models[0].members[0].recipe.data.corpus, split, Monitor())}


def adaptive_bits(model: Model, text: Split) -> float | None:
    """Bits per byte by the model that learns from each token after it was scored, where it can."""
    if not model.learns_as_it_reads:
        return None
    return model.learning().token_scores(text, ranks=False).totals.nats / math.log(2) / text.counts.bytes


def raw_text(model: Model, split: str) -> RawText | None:
    """The text of a split; None if only its tokens are stored."""
    if split not in SPLITS:
        return RawText.read(open_file(split).pieces("test"))
    first = model.members[0]
    corpus = first.recipe.data.corpus
    check_trust(first.run, corpus)
    if is_store(corpus):
        return None
    return RawText.read(open_corpus(corpus).pieces(split))


def same_text(one: tuple[Split, RawText | None], other: tuple[Split, RawText | None]) -> bool:
    """Whether two splits hold the same text; for a prepared store only sizes are compared."""
    (first, first_raw), (second, second_raw) = one, other
    return (
        first.counts.bytes == second.counts.bytes
        and len(first.lines) == len(second.lines)
        and np.array_equal(first.document_bytes, second.document_bytes)
        and (first_raw is None or second_raw is None or first_raw.digest == second_raw.digest)
    )


def compared(measured: Sequence[Measured], raw: RawText | None, split: str, resamples: int, seed: int) -> Record:
    """All figures, best model first, unranked models last."""
    standing = ranked([model.standing for model in measured])
    unranked = {model.name for model, kept in zip(measured, standing, strict=True) if not kept}
    measured = sorted(measured, key=lambda model: (model.name in unranked, model.bits_per_byte))
    best, size = measured[0], measured[0].text.counts.bytes
    parts = Parts.of(best.text, raw)
    losses = [parts.losses(model.nats, model.text) / math.log(2) for model in measured]  # each [P], in bits

    def difference(a: int, b: int) -> Record:
        if reason := incomparable(measured[a], measured[b]):
            return no_interval(reason)
        return bootstrap_ratio(losses[b] - losses[a], parts.bytes, resamples=resamples, seed=seed).record()

    intervals = {(a, b): difference(a, b) for a, b in combinations(range(len(measured)), 2)}
    return {
        "split": split,
        "bytes": size,
        "documents": best.text.counts.documents,
        "parts": {"kind": parts.kind, "count": len(parts.bytes), "mean_bytes": float(parts.bytes.mean())},
        "warning": too_few(len(parts.bytes)),
        "resamples": resamples,
        "runs": [
            model.record() | {"ranked": model.name not in unranked, "to_best": intervals.get((0, n))}
            for n, model in enumerate(measured)
        ],
        "pairs": [
            pair_of(measured[a].name, measured[b].name, interval["difference"] is not None) | interval
            for (a, b), interval in intervals.items()
        ],
        "same_tokens": len({model.vocabulary for model in measured}) == 1,
        "by_frequency": {model.name: frequencies(model) for model in measured},
        "position_in": positions_in(best),
        "by_position": {
            model.name: by_position(np.asarray(getattr(model.text, positions_in(model))), model.nats, size)
            for model in measured
        },
        "worst_tokens": {
            model.name: worst_tokens(
                np.asarray(best.text.tokens, np.int64), model.nats, best.nats, best.model.tokenizer
            )
            for model in measured[1:]
            if model.vocabulary == best.vocabulary
        },
    }


def incomparable(model: Measured, other: Measured) -> str | None:
    """Reason why two models cannot be compared, or None."""
    for fitted in (model, other):
        if fitted.fitted:
            return f"{', '.join(fitted.fitted)} of {fitted.name} fitted to this very text"
    if wrong := [each.name for each in (model, other) if each.model.unnormalised]:
        return f"the probabilities of {' and '.join(wrong)} do not sum to 1"
    if model.vocabulary == other.vocabulary:
        return None
    lossy = [each.name for each in (model, other) if each.text.lossy]
    return f"the tokens of {' and '.join(lossy)} do not restore the text, and vocabularies differ" if lossy else None


def pair_of(better: str, worse: str, comparable: bool) -> Record:
    """Names of two models, and which is better if they are comparable."""
    names = {"better": better, "worse": worse} if comparable else {"better": None, "worse": None}
    return {"runs": [better, worse], **names}


def frequencies(model: Measured) -> list[Record]:
    """Losses by the token's frequency in the run's training text."""
    with model.model.text("train") as train:
        counts = train.token_counts(model.model.tokenizer.size)
    return by_frequency(np.asarray(model.text.tokens, np.int64), model.nats, counts, model.text.counts.bytes)


def positions_in(model: Measured) -> str:
    """Unit that positions are counted in: documents, or lines if documents are few."""
    return "documents" if model.text.counts.documents >= FEWEST_DOCUMENTS else "lines"


# --- tables ---------------------------------------------------------------------------------------


def render(result: Mapping[str, Any]) -> RenderableType:
    """The tables."""
    if "task" in result:
        return tasks.render(result)
    result = shortened(result)
    kind = result["position_in"].removesuffix("s")
    tables = [
        facts_table(result),
        bucket_table(result, "by_frequency", "By the token's frequency in the run's training text"),
        bucket_table(result, "by_position", f"By the token's position in its {kind}"),
    ]
    best = result["runs"][0]["run"]
    worst = result["worst_tokens"].items()
    tables += [worst_table(run, best, tokens[:SHOWN_TOKENS]) for run, tokens in worst if tokens]
    return spaced(Group(scores_table(result), *warnings(result)), *tables)


def shortened(result: Mapping[str, Any]) -> Record:
    """The result with the names of runs without the folder that all are in, which is named in the title."""
    names, folder = without_common_folder([row["run"] for row in result["runs"]])
    short = dict(zip((row["run"] for row in result["runs"]), names, strict=True))
    by_run = {key: {short[run]: value for run, value in result[key].items()} for key in BY_RUN}
    runs = [row | {"run": short[row["run"]]} for row in result["runs"]]
    return {**result, **by_run, "runs": runs, "folder": folder}


def scores_table(result: Mapping[str, Any]) -> ResponsiveTable:
    """One row per run, best first, unranked runs below a line."""
    runs = sorted(result["runs"], key=lambda row: not row["ranked"])
    in_order = sum(row["ranked"] for row in runs)
    title = f"{result['split']}: {result['bytes']:,} bytes" + (f", runs in {result['folder']}" * bool(result["folder"]))
    table = ResponsiveTable(
        Column.names("run"),
        Column("bits/byte"),
        ADAPTIVE,
        *BEHIND,
        Column("unknown", 2),
        title=title,
        notes=notes(result),
    )
    loses = any(row["unknown_rate"] for row in runs)
    for number, row in enumerate(runs):
        if number == in_order:
            table.section("not ranked")
        bits = f"{row['bits_per_byte']:.4f}{'*' if row['lossy'] else ''}"
        alone = in_order == 1  # not the best of any
        standing = behind_the_best(row["to_best"]) if row["ranked"] and not alone else ("", "", "")
        adaptive = f"{row['adaptive']['bits_per_byte']:.4f}" if "adaptive" in row else ""
        table.add(row["run"], bits, adaptive, *standing, f"{row['unknown_rate']:.2%}" if loses else "")
    add_compressors(table, result.get("baselines"), 4)
    return table


def facts_table(result: Mapping[str, Any]) -> ResponsiveTable:
    """Other figures of each run."""
    table = ResponsiveTable(
        Column.names("run"),
        Column("perplexity"),
        Column("top-1"),
        Column("parameters", 2),
        Column("tokens/s", 3),
        Column.texts("context", 4, least=20),
    )
    for row in result["runs"]:
        table.add(
            row["run"],
            f"{row['perplexity']:,.2f}",
            "" if row["top1"] is None else f"{row['top1']:.1%}",
            units.count(row["parameters"]),
            units.count(row["tokens_per_second"]),
            row["context"],
        )
    return table


def notes(result: Mapping[str, Any]) -> list[str]:
    """Explanations of the columns."""
    parts, lines = result["parts"], []
    if any(pair["interval"] is not None for pair in result["pairs"]):
        over = f"{parts['count']} {parts['kind']} of {parts['mean_bytes']:,.0f} bytes on average"
        lines.append(columns_explained(result["resamples"], over) + " No correction for multiple comparisons.")
    if any(row["lossy"] for row in result["runs"]):
        lines.append("*: tokens do not restore the text, so bits per byte are too low.")
    if any(row["lossy"] and not row["ranked"] for row in result["runs"]):
        lines.append("Such runs are ranked only among runs with the same tokenizer: train all with one tokenizer.")
    return lines


def warnings(result: Mapping[str, Any]) -> list[Text]:
    """Reasons to doubt figures."""
    lines = [result["warning"]] if result["warning"] else []
    for row in result["runs"]:
        if row["fitted_here"]:
            fitted = ", ".join(row["fitted_here"])
            lines.append(f"{row['run']}: {fitted} fitted to this very text, so its bits per byte are too low")
        if row["unnormalised"]:
            lines.append(f"{row['run']}: {row['unnormalised']}, so it is not ranked")
    return [Text(line, "bold red") for line in lines]


def bucket_table(result: Mapping[str, Any], key: str, title: str) -> ResponsiveTable:
    """Losses by bucket, one column per run: nats per token, or shares of bits per byte if tokens differ."""
    same = result["same_tokens"]
    runs = [row["run"] for row in result["runs"]]
    columns = [Column(run, 1 if number < 2 else number + 1) for number, run in enumerate(runs)]
    title = f"{title}, {'nats per token' if same else 'share of bits per byte'}"
    table = ResponsiveTable(Column(), *([Column("tokens", 2)] if same else []), *columns, title=title)
    buckets_of = {run: {bucket["from"]: bucket for bucket in result[key][run]} for run in runs}
    for begin in sorted({begin for buckets in buckets_of.values() for begin in buckets}):
        bucket = next(buckets[begin] for buckets in buckets_of.values() if begin in buckets)
        end = bucket["to"]
        values = [buckets_of[run].get(begin) for run in runs]
        shown = ["" if v is None else f"{v['loss' if same else 'bits_per_byte']:.4f}" for v in values]
        label = f"{begin:,}" if begin == end else f"{begin:,} to {end:,}"
        table.add(label, *([f"{bucket['tokens']:,}"] if same else []), *shown)
    return table


def worst_table(run: str, best: str, tokens: Sequence[dict[str, Any]]) -> ResponsiveTable:
    """The tokens on which a run loses most compared with the best."""
    table = ResponsiveTable(
        Column.words("token"),
        Column("times", 2),
        Column("bits lost"),
        Column.texts("worst occurrence"),
        title=f"Tokens on which {run} loses most against {best}",
    )
    for token in tokens:
        context = f"{token['context']} ({token['context_excess_bits']:+.1f})"
        table.add(repr(token["token"])[1:-1], f"{token['occurrences']:,}", f"{token['excess_bits']:,.0f}", context)
    return table
