"""Runs to and from the files of others: ARPA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foretell.api import save_counted
from foretell.config import ConfigError
from foretell.data.encoding import END_OF_LINE, UNKNOWN, Tokenizer, load_tokenizer
from foretell.data.tokenizer import word_level
from foretell.interop import arpa
from foretell.models.ngram import NGram
from foretell.recipe import load_recipe
from foretell.run import Run
from foretell.trained import Trained

ENDINGS = (".arpa", ".arpa.gz")


def export_run(trained: Trained, out: Path) -> dict[str, Any]:
    """An n-gram run as an ARPA file."""
    check_ending(out)
    if not isinstance(trained.model, NGram):
        raise ConfigError(f"{trained.run.path} is no n-gram model, and ARPA files hold nothing else")
    arpa.write_arpa(trained.model, arpa.spelled(trained.tokenizer), out)
    return {"run": str(trained.run.path), "file": str(out), "ngrams": [len(order) for order in trained.model.orders]}


def import_file(path: Path, out: Path, corpus: str, tokenizer_file: Path | None) -> dict[str, Any]:
    """An ARPA file as a run. Without a tokenizer its words become a word vocabulary, a line ending in `<eos>`."""
    check_ending(path)
    if not path.is_file():
        raise ConfigError(f"{path} is not there")
    tokenizer = load_tokenizer(tokenizer_file) if tokenizer_file else words_in(path)
    model = arpa.read_arpa(path, arpa.spelled(tokenizer), tokenizer.boundary)
    kept = {"kind": "file", "path": str(out / "tokenizer.json")}
    data = {"corpus": corpus, "tokenizer": kept}
    recipe = load_recipe({"name": path.stem, "data": data, "model": {"kind": "ngram", "order": model.order}})
    run = Run.create(out, recipe=recipe.text(), resume=False)
    tokenizer.save(run.tokenizer_file)
    save_counted(run, model)
    return {"run": str(run.path), "order": model.order, "vocabulary": tokenizer.size, "parameters": model.parameters}


def words_in(path: Path) -> Tokenizer:
    """The words of an ARPA file as a vocabulary."""
    words = [word for word in arpa.vocabulary_of(path) if word not in (END_OF_LINE, UNKNOWN)]
    return word_level([UNKNOWN, END_OF_LINE, *words])


def check_ending(path: Path) -> None:
    """Only ARPA files so far."""
    if not path.name.endswith(ENDINGS):
        raise ConfigError(f"{path}: what kind of file is it? ARPA files end in {' or '.join(ENDINGS)}")
