"""The text that a run is measured on, and the windows it is read in."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from foretell.data.batches.batches import Batches
from foretell.data.batches.framing import ExamplesConfig
from foretell.data.batches.packing import DocConfig, FullConfig, RowsConfig
from foretell.data.batches.streams import DocumentsConfig, Lanes, LinesConfig, OverlappingConfig, StreamsConfig, Windows
from foretell.data.files import SPLITS
from foretell.data.labelled.datasets import SETS
from foretell.data.opening import open_file
from foretell.data.preparing import prepared
from foretell.data.store.store import Split, Store, prepare
from foretell.data.text.builtin import BUILTIN
from foretell.data.tokenizers.tokenizer import Specials, Tokenizer
from foretell.errors import ConfigError
from foretell.evaluate.adaptation import AdaptationConfig, segment_of
from foretell.models.backbone import Backbone
from foretell.recipe.recipe import DataConfig, Recipe
from foretell.run import Run, corpus_key
from foretell.trust import refuse

log = logging.getLogger("foretell")

SIDE_BY_SIDE = 2**14
"""tokens of windows that know nothing of each other, measured at once where nothing is said"""


def evaluation_windows(
    recipe: Recipe, model: Backbone | None, text: Split, specials: Specials, columns: int, batch: int | None = None
) -> Windows:
    """One pass over a text for measuring it, with the same contexts as in training.

    The result is the same for every `batch`: it only says how many units are computed side by side. A model with a
    bounded context reads running text in overlapping windows, which is what its state would do, but side by side.
    """
    kind, length = recipe.data.batches, recipe.evaluation.length
    if isinstance(kind, DocumentsConfig | LinesConfig):
        same = kind.model_copy(update={"length": length, "batch": batch or kind.batch})
        return same.build(text, specials, seed=0)
    if model is not None and model.context is not None:
        rows = batch or max(1, SIDE_BY_SIDE // model.context)
        return OverlappingConfig(batch=rows, length=model.context, overlap=model.overlap).build(text, specials, seed=0)
    return StreamsConfig(batch=columns, length=length).build(text, specials, seed=0)


def evaluation_rows(recipe: Recipe, tokenizer: Tokenizer, text: Split, batch: int | None = None) -> Batches:
    """One pass over a text for a model that is measured by the terms of its objective: the same rows, masks and pairs
    each time, as in training."""
    kind = recipe.data.batches
    assert not isinstance(kind, ExamplesConfig)  # which a task learns from
    rows = kind.model_copy(update={"batch": batch or kind.batch, "copies": 1})
    return recipe.objective.batches(rows.build(text, tokenizer.specials, seed=0), tokenizer, seed=0)


def rows_of_one_text(kind: RowsConfig) -> FullConfig | DocConfig:
    """How a text is packed where each row is to have one: as it is, pairs within documents."""
    return kind if isinstance(kind, FullConfig | DocConfig) else DocConfig(batch=kind.batch, length=kind.length)


def adapting_windows(
    recipe: Recipe, settings: AdaptationConfig, text: Split, specials: Specials, columns: int, batch: int | None = None
) -> Windows:
    """The same for a model that adapts to the text: in order, one by one where rows would learn from each other."""
    kind, segment = recipe.data.batches, segment_of(settings)
    length = max(recipe.evaluation.length // segment, 1) * segment
    if isinstance(kind, DocumentsConfig | LinesConfig):
        rows = 1 if settings.dynamic is not None else batch or kind.batch
        return kind.model_copy(update={"length": length, "batch": rows}).build(text, specials, seed=0)
    streams = StreamsConfig(batch=columns, length=length)
    windows = streams.build(text, specials, seed=0)
    if settings.dynamic is None:
        return windows
    # columns share weights, which must not have read a token that another column has yet to predict
    assert isinstance(windows.lanes, Lanes)
    alone = replace(windows.lanes, before=np.full_like(windows.lanes.before, specials.boundary))
    return Windows(text, alone, streams)


class OpenedText:
    """A split of a run's corpus, or a file as a split of its own in a temporary store.

    `changed` says, once it is open, whether that text is another than when the run began.
    """

    def __init__(self, run: Run, data: DataConfig, tokenizer: Tokenizer, split: str):
        self.run, self.data, self.tokenizer, self.name = run, data, tokenizer, split
        self.folder: Path | None = None
        self.changed = False

    def __enter__(self) -> Split:
        if self.name in SPLITS:
            check_trust(self.run, self.data.corpus)
            store = self.prepared()
            known = self.run.corpus_fingerprint(self.data.corpus)
            self.changed = self.name in known and known[self.name] != store.texts.get(self.name)
            if self.changed:
                log.warning("%s: the %s text has changed since this run began", self.run.path, self.name)
            return store.split(self.name)
        self.folder = Path(tempfile.mkdtemp(prefix="foretell-"))
        corpus = open_file(self.name)
        return prepare(corpus, self.tokenizer, self.folder / "store").split("test")

    def prepared(self) -> Store:
        """The corpus of the run, in its tokens."""
        corpus = self.data.corpus
        try:
            return prepared(corpus, self.tokenizer)
        except ConfigError as problem:
            places = [corpus] if isinstance(corpus, str) else list(corpus.values())
            if all(Path(place).expanduser().is_absolute() or Path(place).exists() for place in places):
                raise
            remedy = "paths of a run are those of the folder in which it was begun: go there, or name the text itself"
            raise ConfigError(problem.what, file=problem.file, line=problem.line, remedy=remedy) from None

    def note(self) -> dict[str, str]:
        """What a result says of a text that changed; nothing of one that did not."""
        return {"corpus": "changed since this run began"} if self.changed else {}

    def __exit__(self, *_: object) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def check_trust(run: Run, corpus: str | Mapping[str, str]) -> None:
    """A `ConfigError` where a run that somebody sent would have its own choice of files or data sets opened."""
    if not (run.is_trusted or (isinstance(corpus, str) and corpus in {*BUILTIN, *SETS})):
        raise refuse(run.path, f"open {corpus_key(corpus)!r}", "name a text of your own")
