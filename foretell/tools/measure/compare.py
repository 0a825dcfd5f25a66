"""Comparison of runs on one text: a table, the significance of differences, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from rich.box import HORIZONTALS
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from foretell.api.mixing import Mixed
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
    not_ranked,
    worst_tokens,
)
from foretell.evaluate.scoring import TokenScores, check_loss, metrics
from foretell.learning.opened_text import check_trust
from foretell.run import Record
from foretell.tools.measure import compare_tasks as tasks
from foretell.tools.printing import behind_the_best, columns_explained, short, without_common_folder

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

    def record(self) -> Record:
        """Figures of the model, as in JSON."""
        return {
            "run": self.name,
            **metrics(self.scores.totals, self.text),
            "context": self.model.context(self.columns),
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
            Measured(name, model, text, model.token_scores(text, columns=columns), columns, model.fitted_on(text))
            for name, model, text in zip(names, models, texts, strict=True)
        ]
        for model in measured:
            check_loss(model.scores.totals.loss, model.name)
        return compared(measured, next((raw for raw in raws if raw), None), split, resamples, seed)


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
    lossy = not_ranked([model.vocabulary for model in measured], [model.text.lossy for model in measured])
    unranked = {
        model.name
        for model, excluded in zip(measured, lossy, strict=True)
        if excluded or model.fitted or model.model.unnormalised
    }
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
    parts: list[RenderableType] = [summary(result), Text()]
    kind = result["position_in"].removesuffix("s")
    parts += [bucket_table(result, "by_frequency", "By the token's frequency in the run's training text"), Text()]
    parts += [bucket_table(result, "by_position", f"By the token's position in its {kind}")]
    for run, tokens in result["worst_tokens"].items():
        if tokens:
            parts += [Text(), worst_table(run, result["runs"][0]["run"], tokens[:SHOWN_TOKENS])]
    return Group(*parts)


def shortened(result: Mapping[str, Any]) -> Record:
    """The result with the names of runs without the folder that all are in, which is named in the title."""
    names, folder = without_common_folder([row["run"] for row in result["runs"]])
    short = dict(zip((row["run"] for row in result["runs"]), names, strict=True))
    by_run = {key: {short[run]: value for run, value in result[key].items()} for key in BY_RUN}
    runs = [row | {"run": short[row["run"]]} for row in result["runs"]]
    return {**result, **by_run, "runs": runs, "folder": folder}


def summary(result: Mapping[str, Any]) -> Group:
    """One row per run, best first, unranked runs below a rule; then facts about each."""
    runs = sorted(result["runs"], key=lambda row: not row["ranked"])
    ranked = sum(row["ranked"] for row in runs)
    title = f"{result['split']}: {result['bytes']:,} bytes" + (f", runs in {result['folder']}" * bool(result["folder"]))
    compares = ["from best, 95 %", "p better", "p value"] if ranked > 1 else []  # a single run is not the best of any
    if not any(pair["interval"] for pair in result["pairs"]):
        compares = compares[:1]
    scores = ruled("bits/byte", "unknown", *compares, title=title)
    for column in scores.columns[3:4]:
        column.no_wrap = False  # in narrow terminals the interval wraps below the difference
    for number, row in enumerate(runs):
        if number == ranked > 0:
            scores.add_section()
        bits = f"{row['bits_per_byte']:.4f}{'*' if row['lossy'] else ''}"
        standing = behind_the_best(row["to_best"]) if row["ranked"] else ("not ranked", "", "")
        scores.add_row(row["run"], bits, f"{row['unknown_rate']:.2%}", *standing[: len(compares)])
    facts = ruled("perplexity", "top-1", "parameters", "tokens/s", "context")
    facts.columns[5].justify, facts.columns[5].no_wrap = "left", False
    for row in runs:
        facts.add_row(
            row["run"],
            f"{row['perplexity']:,.2f}",
            "" if row["top1"] is None else f"{row['top1']:.1%}",
            short(row["parameters"]),
            f"{row['tokens_per_second']:,.0f}",
            row["context"],
        )
    return Group(scores, Text(notes(result), "dim"), *warnings(result), Text(), facts)


def ruled(*headings: str, title: str | None = None) -> Table:
    """A table with rules between sections only; in narrow terminals run names wrap."""
    table = Table(title=title, title_justify="left", box=HORIZONTALS, show_edge=False, header_style="dim")
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    table.add_column("run", overflow="fold", min_width=8)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def notes(result: Mapping[str, Any]) -> str:
    """Explanations of the columns."""
    parts, lines = result["parts"], []
    if any(pair["interval"] is not None for pair in result["pairs"]):
        over = f"{parts['count']} {parts['kind']} of {parts['mean_bytes']:,.0f} bytes on average"
        lines.append(columns_explained(result["resamples"], over) + " No correction for multiple comparisons.")
    if any(row["lossy"] for row in result["runs"]):
        lines.append("*: tokens do not restore the text, so bits per byte are too low.")
    if any(row["lossy"] and not row["ranked"] for row in result["runs"]):
        lines.append("Such runs are ranked only among runs with the same tokenizer: train all with one tokenizer.")
    return "\n".join(lines)


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


def titled(title: str, table: Table) -> Group:
    """A table with a title that may be wider than it."""
    return Group(Text(title, "italic"), table)


def bucket_table(result: Mapping[str, Any], key: str, title: str) -> Group:
    """Losses by bucket, one column per run: nats per token, or shares of bits per byte if tokens differ."""
    same = result["same_tokens"]
    table = Table()
    runs = [row["run"] for row in result["runs"]]
    buckets_of = {run: {bucket["from"]: bucket for bucket in result[key][run]} for run in runs}
    table.add_column("", justify="right")
    if same:
        table.add_column("tokens", justify="right")
    for run in runs:
        table.add_column(run, justify="right", overflow="fold")
    for begin in sorted({begin for buckets in buckets_of.values() for begin in buckets}):
        bucket = next(buckets[begin] for buckets in buckets_of.values() if begin in buckets)
        end = bucket["to"]
        values = [buckets_of[run].get(begin) for run in runs]
        shown = ["" if v is None else f"{v['loss' if same else 'bits_per_byte']:.4f}" for v in values]
        label = f"{begin:,}" if begin == end else f"{begin:,} to {end:,}"
        table.add_row(label, *([f"{bucket['tokens']:,}"] if same else []), *shown)
    return titled(f"{title}, {'nats per token' if same else 'share of bits per byte'}", table)


def worst_table(run: str, best: str, tokens: Sequence[dict[str, Any]]) -> Group:
    """The tokens on which a run loses most compared with the best."""
    table = Table()
    table.add_column("token")
    for heading in ("times", "bits lost"):
        table.add_column(heading, justify="right")
    table.add_column("worst occurrence", overflow="fold")
    for token in tokens:
        context = Text(f"{token['context']} ({token['context_excess_bits']:+.1f})")
        table.add_row(
            Text(repr(token["token"])[1:-1]), f"{token['occurrences']:,}", f"{token['excess_bits']:,.0f}", context
        )
    return titled(f"Tokens on which {run} loses most against {best}", table)
