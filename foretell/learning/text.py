"""Running text: what causal language models and n-grams learn from, and the windows they are measured in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from foretell.data.batches.batches import Batches
from foretell.data.batches.streams import OverlappingConfig, StreamsConfig, Windows
from foretell.data.opening import open_corpus
from foretell.data.preparing import prepared
from foretell.data.store.store import Split, Store, is_store
from foretell.data.tokenizers.specials import Specials
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import Adaptation, AdaptationConfig, adapt
from foretell.evaluate.audit import Recomputed, recomputed, sampled
from foretell.evaluate.evaluator import Evaluator
from foretell.evaluate.scoring import NeuralScorer, Scorer, check_loss, expected_seconds, metrics, score_tokens, total
from foretell.learning.data_module import AS_VALIDATION, DataModule, Options
from foretell.learning.opened_text import OpenedText, open_text
from foretell.models.backbone import Backbone
from foretell.nn.vocabulary import Counts
from foretell.objectives.objective import Objective
from foretell.recipe.recipe import Recipe
from foretell.types import OnProgress, no_progress

SIDE_BY_SIDE = 2**14
"""tokens of independent windows measured at once by default"""
MOST_COLUMNS = 64
"""columns that a validation under a time limit is cut into at most"""


class TextModule(DataModule):
    """The text of a recipe as a token store."""

    @property
    @override
    def tokenizer(self) -> Tokenizer:
        return self.given or self.store.tokenizer

    @property
    @override
    def fingerprints(self) -> Mapping[str, str]:
        return self.store.texts

    @property
    @override
    def bytes_per_token(self) -> float | None:
        counts = self.train.counts
        return counts.bytes / counts.tokens

    @property
    @override
    def source(self) -> str:
        corpus = self.recipe.data.corpus
        return corpus if is_store(corpus) else open_corpus(corpus).name

    @cached_property
    def store(self) -> Store:
        """The prepared text."""
        data = self.recipe.data
        with self.monitor.activity("preparing") as activity:
            return prepared(data.corpus, self.given or data.tokenizer, activity.prepared)

    @cached_property
    def train(self) -> Split:
        """The training split."""
        return self.store.split("train")

    @cached_property
    def valid(self) -> Split:
        """The validation split."""
        return self.store.split("valid")

    def open(self, split: str) -> OpenedText:
        """A split, or for a run a text file in place of one, as tokens."""
        if self.run is None:
            return OpenedText(lambda: self.valid if split == "valid" else self.store.split(split))
        return open_text(self.run, self.recipe.data, self.tokenizer, split, self.monitor)

    def tuned(
        self, settings: AdaptationConfig, neural: NeuralScorer, device: torch.device, say: Callable[[str], None]
    ) -> Adaptation:
        """An adaptation of a scorer, with settings left unset tuned on the start of the validation split."""
        untuned, specials = Adaptation(settings, None, {}), self.tokenizer.specials
        with ExitStack() as opened:
            return adapt(
                settings,
                neural,
                lambda: opened.enter_context(self.open("train")),
                lambda: adapting_windows(self.recipe, untuned, opened.enter_context(self.open("valid")), specials, 1),
                specials,
                device,
                say,
            )

    def check(self, split: str) -> None:
        """Raise `ConfigError` if the corpus has no such split."""
        self.store.split(split)

    def holds(self, split: str, text: Split) -> bool:
        """Whether a split is this text, whatever it is called; False where the corpus is missing."""
        try:
            with self.open(split) as mine:
                return np.array_equal(mine.tokens, text.tokens)
        except ConfigError:
            return False

    def check_options(self, options: Options) -> None:
        """Raise `ConfigError` for options that text has no use for."""
        if options.skip_bad:
            raise ConfigError("--skip-bad is for tasks, and this run is a language model; leave it out")

    @override
    def token_counts(self) -> Counts:
        return self.train.token_counts(self.tokenizer.size)

    @override
    def remarks(self) -> list[str]:
        if "valid" not in self.store.splits or not self.valid.loses_words:
            return []
        counts = self.valid.counts
        lost = (
            f"{counts.unknown / counts.tokens:.1%} of its tokens are unknown words"
            if counts.unknown
            else (f"{counts.altered_lines:,} of its lines do not come back")
        )
        return [
            f"these tokens lose part of the validation text ({lost}), so bits per byte will be too low to compare; "
            "data.tokenizer.kind=bpe loses nothing"
        ]

    @override
    def batches(self) -> Batches:
        recipe = self.recipe
        self.check("valid")
        built = recipe.text_batches.build(self.train, self.tokenizer.specials, recipe.seed)
        return self.grown(recipe.objective.batches(built, self.tokenizer, recipe.seed))

    @override
    def evaluator(
        self, objective: Objective | None, device: torch.device, options: Options = AS_VALIDATION
    ) -> Evaluator:
        self.check_options(options)
        backbone = None if objective is None else objective.backbone
        if options.scorer is not None:
            scorer = options.scorer()
        else:
            assert objective is not None
            opening = self.tokenizer.specials.opening
            scorer = NeuralScorer(objective.backbone, objective.head, ranks=False, opening=opening)
        columns = options.columns or self.recipe.evaluation.columns
        given = columns, options.batch, options.adaptation, options.scorer, options.audit
        return LikelihoodEvaluator(self, scorer, device, backbone, *given)

    @override
    def try_out(self) -> None:
        if not is_store(self.recipe.data.corpus):
            open_corpus(self.recipe.data.corpus).source("train")


@dataclass
class LikelihoodEvaluator(Evaluator):
    """The probability of a text under a scorer, with the contexts of training.

    The state is carried over the whole text, or reset at documents or lines if training did so. `columns` above
    1 cut the text into that many parts. `batch` is how much is computed side by side and changes nothing but speed.
    """

    data: TextModule
    scorer: Scorer
    device: torch.device
    backbone: Backbone | None = None
    """None for a model that was counted"""
    columns: int = 1
    batch: int | None = None
    adaptation: Adaptation | None = None
    again: Callable[[], Scorer] | None = None
    """makes a fresh scorer like `scorer`"""
    audit: bool = False
    """whether what is measured is audited"""
    _last: tuple[Split, int, Windows] | None = field(default=None, init=False)

    @override
    def evaluate(self, split: str, on_progress: OnProgress = no_progress) -> dict[str, Any]:
        opened = self.data.open(split)
        with opened as text:
            if not self.audit:
                found = total(self.scorer, self.windows(text).part(self.share), self.device, on_progress)
                measured = metrics(found, text, found.tokens / len(text.tokens))
            else:
                scores = score_tokens(self.scorer, self.windows(text), self.device, on_progress)
                audited = self.recomputed(text, sampled(len(text.tokens))).audit(text.tokens, scores.logp)
                measured = metrics(scores.totals, text) | {"audit": audited.record()}
            if self.adaptation is not None:
                measured |= {"adaptation": self.adaptation.record, "fitted_here": self.fitted_on(text)}
        return {**opened.note(), **measured}

    def recomputed(self, text: Split, places: NDArray[np.int64]) -> Recomputed:
        """Distributions at places of a text, each by a fresh scorer from what comes before; see `evaluate.audit`."""
        assert self.again is not None
        self.scorer = self.again()  # the one before may hold a copy of the model
        windows, adaptation = self.windows(text), self.adaptation
        if adaptation is None or not adaptation.in_order:
            return recomputed(self.scorer, windows, places, self.device)
        segment, reads_on = adaptation.segment, adaptation.reads_on
        return recomputed(self.scorer, windows, places, self.device, segment=segment, reads_on=reads_on)

    @override
    def expected_seconds(self, split: str) -> float:
        with self.data.open(split) as text:
            return expected_seconds(self.scorer, self.windows(text), self.device) * self.share

    @override
    def add_columns(self) -> bool:
        carried = not self.data.recipe.data.batches.resets and (self.backbone is None or self.backbone.context is None)
        if not carried or self.columns >= MOST_COLUMNS:
            return False
        self.columns = min(4 * self.columns, MOST_COLUMNS)
        return True

    @override
    def refuse_undefined(self, measured: Mapping[str, Any], name: str) -> None:
        check_loss(measured["loss"], name)

    def windows(self, text: Split) -> Windows:
        """One pass over a text."""
        if self._last is None or self._last[0] is not text or self._last[1] != self.columns:
            self._last = text, self.columns, self._windows(text)  # each validation reads the same
        return self._last[2]

    def _windows(self, text: Split) -> Windows:
        recipe, specials = self.data.recipe, self.data.tokenizer.specials
        if self.adaptation is None:
            return evaluation_windows(recipe, self.backbone, text, specials, self.columns, self.batch)
        return adapting_windows(recipe, self.adaptation, text, specials, self.columns, self.batch)

    def fitted_on(self, text: Split) -> list[str]:
        """The settings of the adaptation that were tuned on this very text."""
        found = {} if self.adaptation is None else self.adaptation.record
        tuned = [f"{part}.{name}" for part, facts in found.items() for name in facts["tuned"]]
        return tuned if tuned and self.data.holds("valid", text) else []

    @property
    @override
    def context(self) -> str:
        plain = self._plain_context()
        return plain if self.adaptation is None else f"{plain}, {self.adaptation}"

    def _plain_context(self) -> str:
        resets, model = self.data.recipe.data.batches.resets, self.backbone
        reset = f"state reset at {resets}" if resets else ""
        if model is not None and model.context is not None:
            windows = f"windows of {model.context} tokens that overlap by {model.overlap}"
            return f"{reset}, {windows}" if reset else windows
        if reset:
            return reset
        return "carried state" if self.columns == 1 else f"carried state in {self.columns} columns"


# --- windows --------------------------------------------------------------------------------------


def evaluation_windows(
    recipe: Recipe, model: Backbone | None, text: Split, specials: Specials, columns: int, batch: int | None = None
) -> Windows:
    """One pass over a text for measuring it, with the contexts of training.

    The result is the same for every `batch`. A model with a bounded context reads running text in overlapping windows
    side by side, which equals carrying its state from window to window.
    """
    kind, length = recipe.text_batches, recipe.evaluation.length
    if kind.resets:
        same = kind.model_copy(update={"length": length, "batch": batch or kind.batch})
        return cast(Windows, same.build(text, specials, seed=0))
    if model is not None and model.context is not None:
        rows = batch or max(1, SIDE_BY_SIDE // model.context)
        return OverlappingConfig(batch=rows, length=model.context, overlap=model.overlap).build(text, specials, seed=0)
    return StreamsConfig(batch=columns, length=length).build(text, specials, seed=0)


def adapting_windows(
    recipe: Recipe, adaptation: Adaptation, text: Split, specials: Specials, columns: int, batch: int | None = None
) -> Windows:
    """One pass over a text for a model that adapts to it: in order, one by one if rows would learn from each other."""
    kind, segment = recipe.text_batches, adaptation.segment
    length = max(recipe.evaluation.length // segment, 1) * segment
    if kind.resets:
        rows = 1 if adaptation.in_order else batch or kind.batch
        same = kind.model_copy(update={"length": length, "batch": rows})
        return cast(Windows, same.build(text, specials, seed=0))
    windows = StreamsConfig(batch=columns, length=length).build(text, specials, seed=0)
    # columns share weights, which must not have read a token that another column has yet to predict
    return windows.behind_boundaries(specials.boundary) if adaptation.in_order else windows
