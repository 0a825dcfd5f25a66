"""Labelled sets: examples by split, from a name or from files and a reader.

Where files come without splits, or for training without any for validation, examples are held out by `divide`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import final

from typing_extensions import override

from foretell.data.files import (
    NAME_EACH,
    SPLITS,
    UNNAMED,
    LeftOut,
    Named,
    by_split,
    decide,
    entries,
    expanded,
    find_files,
    split_keys,
    tell,
)
from foretell.data.labelled.datasets import SETS, WHOLE
from foretell.data.labelled.examples import BadRow, Example
from foretell.data.labelled.readers import Reader
from foretell.data.labelled.readers.folders import FoldersConfig, split_folders
from foretell.data.labelled.readers.lines import LinesReader
from foretell.data.labelled.readers.rows import FORMATS, RowsReader
from foretell.data.labelled.sniffing import TASKS_OF
from foretell.data.text import hub
from foretell.data.text.corpus import Corpus, Source, Texts
from foretell.data.text_files import Piece, Report, content_ending
from foretell.errors import ConfigError, did_you_mean, printable
from foretell.hub import is_on_hub
from foretell.units import counted

SHOWN = 20
Place = Path | hub.Table


def open_examples(
    corpus: str | Mapping[str, str], split: str, reader: Reader | None = None, skip_bad: bool = False
) -> list[Example]:
    """The examples of a split, in the order of their files.

    `corpus` is the name of a set (`SETS`), which brings its reader, or else a file, folder or glob, or one for each
    split, or a data set of the Hugging Face hub, `hf:OWNER/NAME`. Rows that are not valid examples are an error,
    which lists all of a file, or with `skip_bad` skipped and counted in a warning.
    """
    files, reader = find_set(corpus, reader)
    held_out = held_out_of(files)
    if split in files and split not in ("train", *held_out):
        return read_all(files[split], reader, skip_bad)
    whole = files.get(WHOLE) or files.get("train")
    if whole is None or split not in ("train", *held_out):
        raise no_such_split(corpus, split, files)
    return divided(corpus, read_all(whole, reader, skip_bad), held_out)[split]


def open_all(
    corpus: str | Mapping[str, str], reader: Reader | None = None
) -> tuple[dict[str, list[Example]], list[ConfigError]]:
    """The valid examples of every split, and the errors of `open_examples` for files with bad rows.

    Each file is read once. Raises `ConfigError` where there are no examples to train on.
    """
    files, reader = find_set(corpus, reader)
    found: dict[str, list[Example]] = {}
    refused: list[ConfigError] = []
    for split, paths in files.items():
        for path in paths:
            examples, bad = rows_of(path, reader)
            found.setdefault(split, []).extend(examples)
            refused += [refusal(path, bad, len(examples))] if bad else []
    held_out, whole = held_out_of(files), WHOLE if WHOLE in files else "train"
    if whole not in files:
        raise no_such_split(corpus, "train", files)
    if not found.get(whole):
        raise refused[0] if refused else ConfigError(f"{corpus}: no examples in it")
    found |= divided(corpus, found.pop(whole), held_out)
    return {split: found[split] for split in SPLITS if found.get(split)}, refused


def no_such_split(corpus: object, split: str, files: Collection[str]) -> ConfigError:
    """The error for a split that a data set lacks."""
    whole = WHOLE in files or "train" in files
    have = ", ".join(name for name in SPLITS if name in files or (whole and name in ("train", *held_out_of(files))))
    return ConfigError(f"corpus {corpus!r} has no {split!r} split (it has {have})")


def held_out_of(files: Collection[str]) -> tuple[str, ...]:
    """The splits that have to be held out of the training files."""
    if WHOLE in files:
        return "valid", "test"
    return ("valid",) if "valid" not in files else ()


def divided(corpus: object, examples: list[Example], held_out: Sequence[str]) -> dict[str, list[Example]]:
    """The training examples and those held out of them, if any."""
    if not held_out:
        return {"train": examples}
    try:
        return divide(examples, held_out)
    except ConfigError as problem:
        raise ConfigError(f"corpus {corpus!r}: {problem.what}", remedy=problem.remedy) from None


def divide(examples: Sequence[Example], held_out: Sequence[str]) -> dict[str, list[Example]]:
    """Hold out a tenth of the texts for each split; a pure function of the examples.

    Examples of one text stay together, such as a passage with its questions or a premise with its hypotheses. Texts are
    taken in the order of a hash of them, so that few of them change sides when others are added.
    """
    order = sorted({example.main_text for example in examples}, key=hash_of)
    each = max(1, round(len(order) / 10))
    if len(order) <= each * len(held_out):
        raise ConfigError(
            f"{counted(len(order), 'text')} cannot be divided into train, {', '.join(held_out)}",
            remedy=f"add some, or {NAME_EACH}",
        )
    split_of = {text: name for i, name in enumerate(held_out) for text in order[i * each : (i + 1) * each]}
    parts: dict[str, list[Example]] = {name: [] for name in ("train", *held_out)}
    for example in examples:
        parts[split_of.get(example.main_text, "train")].append(example)
    return parts


def hash_of(text: str) -> bytes:
    """A fixed pseudo-random order of texts."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()


# --- finding --------------------------------------------------------------------------------------


def find_set(corpus: str | Mapping[str, str], reader: Reader | None) -> tuple[Mapping[str, Sequence[Place]], Reader]:
    """The files of a data set by split, and their reader."""
    if isinstance(corpus, str) and corpus in SETS:
        return SETS[corpus].paths(corpus), reader or SETS[corpus].reader
    if reader is None:
        raise no_reader(corpus)
    if isinstance(corpus, str) and is_on_hub(corpus):
        if not isinstance(reader, RowsReader):
            raise ConfigError(f'{corpus}: is made of columns, which data.reader.kind = "table" or "options" reads')
        return hub.open_tables(corpus), reader
    if isinstance(corpus, str):
        return whole_or_split(corpus, reader), reader
    return {split: files_at(place, reader) for split, place in split_keys(corpus).items()}, reader


READERS = {
    "classification": '{kind = "table", texts = ["text"], label = "label"}',
    "similarity": '{kind = "table", texts = ["first", "second"], label = "score", labels = "score"}',
    "choice": '{kind = "options", context = ["text"], options = ["first", "second"], label = "label"}',
    "tagging": '{kind = "columns"}',
    "answering": '{kind = "squad"}',
}
"""readers that are suggested for a task"""


def no_reader(corpus: str | Mapping[str, str], task: str = "") -> ConfigError:
    """The error for files without a reader, with one that would fit the task."""
    hint = did_you_mean(corpus, SETS) if isinstance(corpus, str) else ""
    place = corpus if isinstance(corpus, str) else str(corpus.get("train", ""))
    if content_ending(Path(place)).lower() in FORMATS and task == "tagging":
        return ConfigError(
            "tags are not read from tables",
            file=place,
            remedy="write a word, a tab and its tag on each line of a .conll file, with a blank line between sentences",
        )
    if content_ending(Path(place)).lower() in FORMATS and task == "answering":
        return ConfigError(
            "holds no known labelled set",
            file=place,
            remedy="if each row is a question, name its columns, as in "
            "data.reader.kind=questions data.reader.question=… data.reader.context=… data.reader.answer=…",
        )
    return ConfigError(
        f"data.corpus {corpus!r} is not a known labelled set{hint} (foretell doctor lists them); for files of "
        f"your own say what is in them, as in data.reader = {READERS.get(task, READERS['classification'])}"
    )


def check_reader(corpus: str | Mapping[str, str], reader: Reader | None, task: str) -> None:
    """Raise `ConfigError` for files without a reader."""
    if reader is None and not (isinstance(corpus, str) and corpus in SETS):
        raise no_reader(corpus, task)


def whole_or_split(place: str, reader: Reader) -> dict[str, list[Path]]:
    """The files of a path, by split if they are named for splits."""
    path = expanded(place)
    if isinstance(reader, FoldersConfig) and path.is_dir():
        return class_folders(path, place)
    found = find_files(place, tuple(SETS))
    splits, left_out = by_split(found)
    for files in left_out:
        tell(str(files))
    return splits or {WHOLE: list(found.files)}


def class_folders(path: Path, place: str) -> dict[str, list[Path]]:
    """The folder that holds the folders of classes, or one for each split."""
    inside = entries(path)
    named = Named(split_folders(inside), {})
    splits = decide(inside, named, place)
    if splits and (others := tuple(entry for entry in inside if entry not in named.splits)):
        tell(str(LeftOut(place, others, UNNAMED)))
    return splits or {WHOLE: [path]}


def files_at(place: str, reader: Reader) -> list[Path]:
    """The files of a path, folder or glob."""
    path = expanded(place)
    if isinstance(reader, FoldersConfig) and path.is_dir():
        return [path]
    found = find_files(place, tuple(SETS))
    for files in found.left_out:
        tell(str(files))
    return list(found.files)


def reads_like(path: Path, reader: Reader) -> bool:
    """Whether a file seems to be in the format of a reader, by its ending and the names of its columns."""
    ending = content_ending(path).lower()
    if not isinstance(reader, RowsReader):
        return TASKS_OF.get(ending) == reader.task and ending not in FORMATS
    try:
        return ending in FORMATS and next(iter(reader.rows(path, reader.needed(False))), None) is not None
    except ConfigError:
        return False


# --- as text ----------------------------------------------------------------------------------------


def open_text(name: str) -> Corpus:
    """The texts of a known data set for language models: one document per example, each passage once."""
    entry = SETS[name]
    files = entry.paths(name)
    splits = [split for split in SPLITS if split in files or split == "train" or split in held_out_of(files)]
    return Corpus(name, {split: ExampleTexts(name, split, entry.more()) for split in splits})


@final
class ExampleTexts(Source):
    """The texts of a split, read lazily; the training split ends with the unlabelled texts."""

    def __init__(self, name: str, split: str, unlabelled: Sequence[Path]) -> None:
        self.name, self.split, self.unlabelled = name, split, unlabelled

    @cached_property
    def texts(self) -> Texts:
        """The texts of the examples."""
        documents = list(dict.fromkeys(example.prose for example in open_examples(self.name, self.split)))
        if self.split == "train":
            rows = (row for path in self.unlabelled for row in LinesReader().lines(path))
            documents += [row[1] for row in rows if not isinstance(row, BadRow) and row[1].strip()]
        return Texts(documents)

    @override
    def pieces(self) -> Iterator[Piece]:
        return self.texts.pieces()

    @override
    def digest(self) -> str:
        return self.texts.digest()

    @override
    def reports(self) -> dict[str, Report]:
        return self.texts.reports()


# --- reading --------------------------------------------------------------------------------------


def read_all(paths: Iterable[Place], reader: Reader, skip_bad: bool) -> list[Example]:
    """The examples of several files."""
    return [example for path in paths for example in read_examples(path, reader, skip_bad)]


def read_examples(path: Place, reader: Reader, skip_bad: bool = False, labelled: bool = True) -> list[Example]:
    """The examples of a file or of a split of the hub, without labels if they are to be predicted."""
    examples, bad = rows_of(path, reader, labelled)
    if bad and not skip_bad:
        raise refusal(path, bad, len(examples))
    if bad:
        tell(f"{path}: left out {share_lost(bad, len(examples))}; the first: {printable(str(bad[0]))}")
    if not examples:
        raise ConfigError(f"{path}: no examples in it")
    return examples


def rows_of(path: Place, reader: Reader, labelled: bool = True) -> tuple[list[Example], list[BadRow]]:
    """The examples of a file or of a split of the hub, and its bad rows."""
    if isinstance(path, hub.Table):
        assert isinstance(reader, RowsReader)  # `find_set` has checked it
        rows = list(reader.examples(path.records(reader.needed(labelled)), str(path), labelled))
    else:
        rows = list(reader.read(path, labelled))
    examples = [row for row in rows if not isinstance(row, BadRow)]
    return examples, [row for row in rows if isinstance(row, BadRow)]


def refusal(place: Place | str, bad: Sequence[BadRow], good: int) -> ConfigError:
    """The error for the bad rows of a file, one line each; `good` is the number of usable examples."""
    settings = " or ".join(dict.fromkeys(f"set {row.remedy}" for row in bad if row.remedy))
    more = [f"… and {len(bad) - SHOWN:,} more"] if len(bad) > SHOWN else []
    share = share_lost(bad, good)
    them = "it" if share.startswith("1 ") else "them"
    remedy = f"{settings or f'fix {them}'}, or leave {them} out with --skip-bad"
    details = [*map(str, bad[:SHOWN]), *more]
    return ConfigError(f"{share} cannot be used", file=str(place), remedy=remedy, details=details)


def share_lost(bad: Sequence[BadRow], good: int) -> str:
    """The number of examples lost to bad rows, of all; `good` is the number of usable examples."""
    lost = len({row.example or f"{row.where} {row.reason}" for row in bad})
    return f"{lost:,} of {counted(lost + good, 'sentence' if any(row.example for row in bad) else 'row')}"
