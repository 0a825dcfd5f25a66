"""What came from outside as a run: whole or not at all, and free of the place it was made in."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import foretell
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.tools.look.runs import list_runs
from foretell.tools.use.convert import export_run, import_path

ARPA = """\\data\\
ngram 1=4
ngram 2=1

\\1-grams:
-99\t<s>\t-0.5
-0.7\t</s>
-0.5\tdog\t-0.3
-1.5\t<unk>

\\2-grams:
-0.2\t<s> dog

\\end\\
"""
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "a"]
Make = Callable[[Path], Path]


def arpa_file(folder: Path) -> Path:
    (folder / "small.arpa").write_text(ARPA)
    return folder / "small.arpa"


def gpt2_folder(folder: Path) -> Path:
    """A GPT-2 of one layer with BERT's word pieces, as its tokenizer does not matter here."""
    random = torch.Generator().manual_seed(0)
    shapes = {
        "wte.weight": (8, 4),
        "wpe.weight": (16, 4),
        "h.0.attn.c_attn.weight": (4, 12),
        "h.0.attn.c_attn.bias": (12,),
    }
    shapes |= {"h.0.attn.c_proj.weight": (4, 4), "h.0.attn.c_proj.bias": (4,)}
    shapes |= {"h.0.mlp.c_fc.weight": (4, 16), "h.0.mlp.c_fc.bias": (16,)}
    shapes |= {"h.0.mlp.c_proj.weight": (16, 4), "h.0.mlp.c_proj.bias": (4,)}
    shapes |= {f"{norm}.{part}": (4,) for norm in ("h.0.ln_1", "h.0.ln_2", "ln_f") for part in ("weight", "bias")}
    theirs = folder / "theirs"
    theirs.mkdir()
    save_file({n: torch.randn(s, generator=random) for n, s in shapes.items()}, theirs / "model.safetensors")
    config = {"model_type": "gpt2", "vocab_size": 8, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 16}
    (theirs / "config.json").write_text(json.dumps(config))
    (theirs / "vocab.txt").write_text("\n".join(PIECES))
    return theirs


FORMS = [arpa_file, gpt2_folder]


@pytest.mark.parametrize("make", FORMS)
def test_an_import_that_is_interrupted_anywhere_leaves_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that changes a folder is the last one in turn."""
    source, runs = make(tmp_path), tmp_path / "runs"
    calls, last = 0, 0
    for name in ("mkdir", "replace", "rename", "open"):
        own = getattr(Path, name)

        def counted(self: Path, *given: Any, _own: Any = own, **named: Any) -> Any:
            nonlocal calls
            if runs in self.parents:
                calls += 1
                if calls == last:
                    raise KeyboardInterrupt
            return _own(self, *given, **named)

        monkeypatch.setattr(Path, name, counted)
    while not (runs / "run").exists():
        calls, last = 0, last + 1
        with contextlib.suppress(KeyboardInterrupt):
            import_path(source, runs / "run", "python-docs", None)
        assert not runs.exists() or [path.name for path in runs.iterdir()] == ["run"] * (calls < last)
    assert last > 20
    monkeypatch.undo()
    assert foretell.load(runs / "run").tokenizer.size in (3, 8)


@pytest.mark.parametrize("make", FORMS)
def test_an_imported_run_knows_no_place_but_its_own(
    make: Make, corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, first = make(tmp_path), tmp_path / "first"
    import_path(source, first, "python-docs", None)
    assert str(tmp_path) not in (first / "recipe.toml").read_text()
    assert next(Run(first).metrics())["kind"] == "import"
    before = foretell.load(first).score(["the dog"])
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(first, moved)
    shutil.rmtree(first)
    assert foretell.load(moved).score(["the dog"]) == before
    recipe = load_recipe(str(moved))
    assert recipe.data.tokenizer.path == str(moved / "tokenizer.json")
    monkeypatch.chdir(moved.parent)
    for spelled in ("moved", str(moved)):
        assert load_recipe(spelled).text(Path(spelled)) == (moved / "recipe.toml").read_text()
        Run.create(moved, recipe=load_recipe(spelled).text(moved), resume=True)  # no other settings than it has


def test_training_goes_on_from_an_imported_run_that_was_moved(corpus: dict[str, str], tmp_path: Path) -> None:
    import_path(gpt2_folder(tmp_path), tmp_path / "first", "python-docs", None)
    (tmp_path / "first").rename(tmp_path / "moved")
    settings = {"data.corpus": corpus, "limit": "1steps", "data.batches.length": 8, "init": str(tmp_path / "moved")}
    recipe = load_recipe(str(tmp_path / "moved"), settings)
    further = foretell.train(recipe, tmp_path / "further", quiet=True)
    imported = foretell.load(tmp_path / "moved")
    assert further.tokenizer.fingerprint == imported.tokenizer.fingerprint
    assert further.weights.keys() == imported.weights.keys()


@pytest.mark.parametrize("make", FORMS)
def test_what_is_there_already_is_left_alone(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    for out in ("full", "full/file"):
        with pytest.raises(ConfigError, match="exists; choose another --out"):
            import_path(source, tmp_path / out, "python-docs", None)
    assert (tmp_path / "full" / "file").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    import_path(source, tmp_path / "empty", "python-docs", None)
    assert (tmp_path / "empty" / "recipe.toml").is_file()


@pytest.mark.parametrize("make", FORMS)
def test_a_corpus_that_does_not_exist_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        import_path(make(tmp_path), tmp_path / "run", str(tmp_path / "mail.txt"), None)
    assert not (tmp_path / "run").exists()


def test_drafts_of_runs_are_none(tmp_path: Path) -> None:
    import_path(arpa_file(tmp_path), tmp_path / "runs" / "run", "python-docs", None)
    shutil.copytree(tmp_path / "runs" / "run", tmp_path / "runs" / ".other.0123abcd.draft")
    assert [run["name"] for run in list_runs(tmp_path / "runs")] == ["run"]


def test_nothing_is_left_of_an_export_that_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_path(gpt2_folder(tmp_path), tmp_path / "run", "python-docs", None)
    run, out = foretell.load(tmp_path / "run"), tmp_path / "exports" / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "foretell.tools.use.hugging_face.model_card", lambda **_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        export_run(run, out, "hf")
    assert list(out.parent.iterdir()) == []
    export_run(run, out, "hf")
    assert {"config.json", "model.safetensors", "README.md"} <= {file.name for file in out.iterdir()}
