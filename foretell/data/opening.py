"""Opens corpora: the one module that knows all kinds of sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foretell.data.files import (
    LeftOut,
    by_split,
    no_split,
    split_keys,
    tell,
)
from foretell.data.places import may_exist
from foretell.data.text.corpus import Corpus, Files, Source, split_column, text_files
from foretell.data.text.holdout import Whole
from foretell.errors import ConfigError
from foretell.hub import is_on_hub


def open_corpus(spec: str | Mapping[str, str]) -> Corpus:
    """The corpus that `spec` names.

    A built-in name (which goes before a file of that name: write `./ptb` for that), a path, a glob,
    or a folder of `.txt`, `.tokens`, `.jsonl` (plain or packed) and `.parquet` files; or such a path for each
    split; or `hf:NAME` for a data set of the Hugging Face hub (see `hub`). A column of tables other
    than `text` is named after the place: `reviews.parquet#body`. Files named for splits (see `files`)
    give those splits; everything else is split here.
    `reviews:` before any of these names makes a line of each document (see `preparation`).
    """
    from foretell.data.text import reviews
    from foretell.data.text.builtin import BUILTIN, open_builtin  # which import this module
    from foretell.data.text.hub import open_hub

    if isinstance(spec, Mapping):
        return open_splits(spec)
    if spec.startswith(reviews.PREFIX):
        return reviews.reviews_of(open_corpus(spec.removeprefix(reviews.PREFIX)))
    if spec in BUILTIN:
        return open_builtin(spec)
    place, column = split_column(spec)
    if is_on_hub(spec):
        corpus = open_hub(place, column)
        return checked(corpus, [corpus.source("train")])
    name = Path(place).name or place
    found = text_files(place, BUILTIN)
    named, left_out = by_split(found)
    whole = Files(found.files, column=column)
    sources: dict[str, Source] = {split: Files(files, column=column) for split, files in named.items()}
    return checked(Corpus(name, sources or Whole(whole).shares(), left_out), [whole])


def open_splits(spec: Mapping[str, str]) -> Corpus:
    """A corpus from one path, glob or folder for each split."""
    sources: dict[str, Source] = {}
    left_out: list[LeftOut] = []
    places = split_keys(spec)
    for split, path in places.items():
        place, column = split_column(path)
        found = text_files(place)
        sources[split] = Files(found.files, column=column)
        left_out += found.left_out
    name = Path(places.get("train", next(iter(places.values())))).name
    return checked(Corpus(name, sources, left_out), list(sources.values()))


def open_file(name: str) -> Corpus:
    """A text that is measured in place of a split: a path, glob or folder, as the split `test`."""
    if not may_exist(name):
        raise no_split(name)
    return open_splits({"test": name})


def checked(corpus: Corpus, sources: Sequence[Source]) -> Corpus:
    """The corpus, checked to have text in each source; files left out are reported."""
    for files in corpus.left_out:
        tell(str(files))
    for source in sources:
        if next(source.pieces(), None) is None:
            raise ConfigError(f"corpus {corpus.name!r}: there is no text in it")
    return corpus
