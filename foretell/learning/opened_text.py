"""Open a split of a run's corpus, or any text file, as tokens of its vocabulary."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from foretell.data.files import SPLITS
from foretell.data.labelled.datasets import SETS
from foretell.data.opening import open_file
from foretell.data.preparing import prepared
from foretell.data.store.store import Split, Store, prepare
from foretell.data.text.builtin import BUILTIN
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.recipe.recipe import DataConfig
from foretell.run import Run, corpus_key
from foretell.training.monitor import Monitor
from foretell.trust import refuse

log = logging.getLogger("foretell")


class OpenedText:
    """A context manager for a text as tokens; closing it deletes its temporary files."""

    def __init__(self, split: Callable[[], Split]) -> None:
        self.split = split

    def __enter__(self) -> Split:
        return self.split()

    def __exit__(self, *_: object) -> None:
        pass

    def note(self) -> dict[str, str]:
        """Notes about the text for the result."""
        return {}


class OpenedFile(OpenedText):
    """A text file in place of a split, in a temporary store."""

    def __init__(self, name: str, tokenizer: Tokenizer, monitor: Monitor | None = None) -> None:
        self.name, self.tokenizer, self.monitor = name, tokenizer, monitor or Monitor(quiet=True)
        self.folder: Path | None = None

    def __enter__(self) -> Split:
        corpus = open_file(self.name)
        self.folder = Path(tempfile.mkdtemp(prefix="foretell-"))
        try:
            with self.monitor.activity("preparing") as activity:
                return prepare(corpus, self.tokenizer, self.folder / "store", activity.prepared).split("test")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class OpenedSplit(OpenedText):
    """A split of a run's corpus. `changed`, once it is open: the text has changed since the run began."""

    def __init__(
        self, run: Run, data: DataConfig, tokenizer: Tokenizer, name: str, monitor: Monitor | None = None
    ) -> None:
        self.run, self.data, self.tokenizer, self.name = run, data, tokenizer, name
        self.monitor = monitor or Monitor(quiet=True)
        self.changed = False

    def __enter__(self) -> Split:
        check_trust(self.run, self.data.corpus)
        store = self._prepared()
        known = self.run.corpus_fingerprint(self.data.corpus)
        self.changed = self.name in known and known[self.name] != store.texts.get(self.name)
        if self.changed:
            log.warning("%s: the %s text has changed since this run began", self.run.path, self.name)
        return store.split(self.name)

    def _prepared(self) -> Store:
        corpus = self.data.corpus
        try:
            with self.monitor.activity("preparing") as activity:
                return prepared(corpus, self.tokenizer, activity.prepared)
        except ConfigError as problem:
            places = [corpus] if isinstance(corpus, str) else list(corpus.values())
            if all(Path(place).expanduser().is_absolute() or Path(place).exists() for place in places):
                raise
            remedy = "relative paths are resolved from the folder where training started; cd to it, or name a file"
            raise ConfigError(problem.what, file=problem.file, line=problem.line, remedy=remedy) from None

    def note(self) -> dict[str, str]:
        """A warning where the text has changed."""
        return {"corpus": "changed since this run began"} if self.changed else {}


def open_text(
    run: Run, data: DataConfig, tokenizer: Tokenizer, split: str, monitor: Monitor | None = None
) -> OpenedText:
    """A split of a run's corpus, or a text file in place of one; `monitor` shows its preparation."""
    if split in SPLITS:
        return OpenedSplit(run, data, tokenizer, split, monitor)
    return OpenedFile(split, tokenizer, monitor)


def check_trust(run: Run, corpus: str | Mapping[str, str]) -> None:
    """Raise `ConfigError` if opening this corpus requires trust that the run lacks."""
    if not (run.is_trusted or (isinstance(corpus, str) and corpus in {*BUILTIN, *SETS})):
        raise refuse(run.path, f"open {corpus_key(corpus)!r}", "name a text of your own")
