"""Runs to and from the files of others: ARPA files, folders of the Hugging Face world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foretell.api.counting import save_finished
from foretell.api.trained import Trained
from foretell.artifacts import is_free
from foretell.config import did_you_mean
from foretell.data.tokenizers.file_kinds import END_OF_LINE, UNKNOWN
from foretell.data.tokenizers.foreign import named_file
from foretell.data.tokenizers.kinds import word_level
from foretell.data.tokenizers.tokenizer import Tokenizer, load_tokenizer
from foretell.errors import ConfigError
from foretell.interop import arpa
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import as_name
from foretell.run import Run
from foretell.tools.use.hugging_face import export_folder, import_folder, imported_from
from foretell.trust import foreign

ENDINGS = (".arpa", ".arpa.gz")
FORMS = ("arpa", "hf")


def export_run(trained: Trained, out: Path, to: str | None) -> dict[str, Any]:
    """A run as an ARPA file or a Hugging Face folder; without `to` the ending of `out` says which."""
    if to is not None and to not in FORMS:
        raise ConfigError(f"--to {to}: no such form{did_you_mean(to, FORMS)} (known: arpa, hf)")
    if to == "hf" or (to is None and not out.name.lower().endswith(ENDINGS) and trained.ngram is None):
        return export_folder(trained, out)
    return export_arpa(trained, out)


def import_path(path: Path, out: Path, corpus: str, tokenizer_file: Path | None) -> dict[str, Any]:
    """An ARPA file or a Hugging Face folder as a run."""
    if path.is_dir():
        return import_folder(path, out, corpus, tokenizer_file)
    return import_arpa(path, out, corpus, tokenizer_file)


def export_arpa(trained: Trained, out: Path) -> dict[str, Any]:
    """An n-gram run as an ARPA file."""
    check_ending(out)
    if trained.ngram is None:
        raise ConfigError(f"{trained.run.path} is no n-gram model, and ARPA files hold nothing else; write --to hf")
    arpa.write_arpa(trained.ngram, arpa.spelled(trained.tokenizer), out)
    return {"run": str(trained.run.path), "file": str(out), "ngrams": [len(order) for order in trained.ngram.orders]}


def import_arpa(path: Path, out: Path, corpus: str, tokenizer_file: Path | None) -> dict[str, Any]:
    """An ARPA file as a run. Without a tokenizer its words become a word vocabulary, a line ending in `<eos>`."""
    check_ending(path)
    if not path.is_file():
        raise ConfigError("no such file", file=path)
    if not is_free(out):
        raise ConfigError("exists", file=out, remedy="choose another --out")
    with foreign():
        tokenizer = load_tokenizer(named_file(tokenizer_file)) if tokenizer_file else words_in(path)
    model, unnormalised = arpa.read_arpa(path, arpa.spelled(tokenizer), tokenizer.boundary)
    kept = {"kind": "file", "path": str(out / "tokenizer.json")}
    data = {"corpus": corpus, "tokenizer": kept}
    recipe = load_recipe({"name": as_name(path.stem), "data": data, "model": {"kind": "ngram", "order": model.order}})
    with Run.whole(out, recipe=recipe.text(out)) as run:
        tokenizer.save(run.tokenizer_file)
        run.seal(run.tokenizer_file)
        run.append(imported_from(path, "arpa"))
        if unnormalised:
            run.note(unnormalised=unnormalised)
        save_finished(run, model.tensors())
    return {"run": str(out), "order": model.order, "vocabulary": tokenizer.size, "parameters": model.parameters}


def words_in(path: Path) -> Tokenizer:
    """The words of an ARPA file as a vocabulary."""
    words = [word for word in arpa.vocabulary_of(path) if word not in (END_OF_LINE, UNKNOWN)]
    return word_level([UNKNOWN, END_OF_LINE, *words])


def check_ending(path: Path) -> None:
    """ARPA files are known by their names."""
    if not path.name.lower().endswith(ENDINGS):
        remedy = f"ARPA files end in {' or '.join(ENDINGS)}, and Hugging Face's are folders"
        raise ConfigError("is no ARPA file by its name, and no folder", file=path, remedy=remedy)
