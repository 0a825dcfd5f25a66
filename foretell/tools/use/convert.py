"""Import and export of runs: ARPA files and Hugging Face folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foretell.api.counting import save_finished
from foretell.api.trained import Trained
from foretell.artifacts import is_free
from foretell.data.opening import open_corpus
from foretell.data.tokenizers.file_kinds import END_OF_LINE, UNKNOWN
from foretell.data.tokenizers.foreign import named_file
from foretell.data.tokenizers.kinds import word_level
from foretell.data.tokenizers.tokenizer import Tokenizer, load_tokenizer
from foretell.errors import ConfigError, did_you_mean
from foretell.hub import local
from foretell.interop import arpa
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import as_name
from foretell.run import Run
from foretell.tools.use.hugging_face import export_folder, import_folder, imported_from
from foretell.trust import foreign

ENDINGS = (".arpa", ".arpa.gz")
FORMS = ("arpa", "hf")


def export_run(trained: Trained, out: Path, to: str | None) -> dict[str, Any]:
    """Export a run as an ARPA file or a Hugging Face folder; by default the ending of `out` decides."""
    if to is not None and to not in FORMS:
        raise ConfigError(f"--to {to}: unknown format{did_you_mean(to, FORMS)} (known: arpa, hf)")
    if to == "hf" or (to is None and not out.name.lower().endswith(ENDINGS) and trained.ngram is None):
        return export_folder(trained, out)
    return export_arpa(trained, out)


def import_path(path: Path, out: Path, corpus: str, tokenizer_file: Path | None) -> dict[str, Any]:
    """Import an ARPA file or a Hugging Face folder, also one on the hub, as a run."""
    open_corpus(corpus)
    path = local(path)
    if path.is_dir():
        return import_folder(path, out, corpus, tokenizer_file)
    return import_arpa(path, out, corpus, tokenizer_file)


def export_arpa(trained: Trained, out: Path) -> dict[str, Any]:
    """Export an n-gram run as an ARPA file."""
    check_ending(out)
    if trained.ngram is None:
        raise ConfigError(f"{trained.run.path} is not an n-gram model, and ARPA files hold only those; write --to hf")
    arpa.write_arpa(trained.ngram, arpa.spelled(trained.tokenizer), out)
    return {"run": str(trained.run.path), "file": str(out), "ngrams": [len(order) for order in trained.ngram.orders]}


def import_arpa(path: Path, out: Path, corpus: str, tokenizer_file: Path | None) -> dict[str, Any]:
    """Import an ARPA file as a run. By default its words become the vocabulary, with `<eos>` as the end of a line."""
    check_ending(path)
    if not path.is_file():
        raise ConfigError("no such file", file=path)
    if not is_free(out):
        raise ConfigError("exists", file=out, remedy="choose another --out")
    with foreign():
        tokenizer = load_tokenizer(named_file(tokenizer_file)) if tokenizer_file else words_in(path)
    model, unnormalised = arpa.read_arpa(path, arpa.spelled(tokenizer), tokenizer.boundary)
    file = {"kind": "file", "path": str(out / "tokenizer.json")}
    data = {"corpus": corpus, "tokenizer": file}
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
    """A tokenizer of the words in an ARPA file."""
    words = [word for word in arpa.vocabulary_of(path) if word not in (END_OF_LINE, UNKNOWN)]
    return word_level([UNKNOWN, END_OF_LINE, *words])


def check_ending(path: Path) -> None:
    """Raise `ConfigError` unless a file is named as an ARPA file."""
    if not path.name.lower().endswith(ENDINGS):
        remedy = f"ARPA files end in {' or '.join(ENDINGS)}, Hugging Face models are folders"
        raise ConfigError("is neither named as an ARPA file nor a folder", file=path, remedy=remedy)
