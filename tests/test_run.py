"""The run folder: what belongs to it, what is noticed of damage, and what may be in its way."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import losses, outcome, tables

import foretell
from foretell import trust
from foretell.checksums import digest, write_checksums
from foretell.errors import ConfigError
from foretell.run import FORMAT, Run
from foretell.tools.look.doctor_run import examine_run
from foretell.training import checkpoint
from foretell.training.trainer import Trainer

Corpus = dict[str, str]


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    foretell.train(tables(corpus, checkpoint__every="5steps"), out, quiet=True)
    return out


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def files(run: Path) -> list[Path]:
    """All that a run of a language model consists of, records apart, which are no part of what it computes."""
    return sorted(path for path in run.rglob("*") if path.is_file() and path.name != "metrics.jsonl")


# --- damage ---------------------------------------------------------------------------------------


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "flipped": flipped,
    "cut": lambda content: content[:-3],
    "empty": lambda _: b"",
    "zeros": lambda c: bytes(len(c)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_file_that_was_altered_is_named_and_no_figure_is_another(run: Path, damage: str) -> None:
    expected = foretell.load(run).evaluate("valid")["loss"]
    last = checkpoint.pointed(Run.open(run), "best")[0].path
    for file in files(run):
        content = file.read_bytes()
        file.write_bytes(DAMAGE[damage](content))
        try:
            assert foretell.load(run).evaluate("valid")["loss"] == expected
            assert file.parent.name.startswith("step-") and file.parent != last  # one that was not asked for
        except ConfigError as problem:
            place = file.parent if file.name == "checksums.json" else file  # which says what others have to hold
            assert str(place) in str(problem) and "\n" not in str(problem)
        file.write_bytes(content)


def test_every_file_that_is_missing_is_named(run: Path) -> None:
    best = checkpoint.pointed(Run.open(run), "best")[0].path
    for file in files(run):
        if file.parent in (run, best):
            kept = file.read_bytes()
            file.unlink()
            with pytest.raises(ConfigError, match="is missing"):
                foretell.load(run)
            file.write_bytes(kept)
    foretell.load(run)


def test_damage_is_told_by_doctor_file_by_file(run: Path) -> None:

    for name in ("tokenizer.json", "token-counts.npy", "environment.json"):
        (run / name).write_bytes(flipped((run / name).read_bytes()))
    errors = {finding["about"] for finding in examine_run(run)["findings"] if finding["level"] == "error"}
    assert {"tokenizer.json", "token-counts.npy", "environment.json"} <= errors


def test_records_that_are_none_hide_no_others(run: Path) -> None:
    before = list(Run(run).metrics())
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    odd = [
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
        b'{"step": ' + b"9" * 5000 + b"}\n",
        b"[]\n",
        b'{"kind": "valid"}\n',
        b"\n",
    ]
    (run / "metrics.jsonl").write_bytes(b"".join([odd[0], *lines[:3], *odd, *lines[3:], b'{"kind": "tr']))
    assert list(Run(run).metrics()) == before
    with (run / "metrics.jsonl").open("ab") as file:
        file.truncate(1 << 30)  # a hole of zeros
    assert list(Run(run).metrics()) == before


def test_weights_that_are_no_numbers_are_refused(run: Path) -> None:
    from safetensors.torch import load_file, save_file

    for saved in Run.open(run).checkpoints.glob("step-*"):
        tensors = load_file(saved / "model.safetensors")
        name = next(iter(tensors))
        tensors[name].view(-1)[0] = float("nan")
        save_file(tensors, saved / "model.safetensors")
        sums = {file.name: digest(file) for file in saved.iterdir() if file.name != "checksums.json"}
        write_checksums(saved, sums, format=FORMAT, run=Run(run).id)
    with pytest.raises(ConfigError, match=f"{name} holds numbers that are not finite"):
        foretell.load(run)
    with pytest.raises(ConfigError, match=r"not finite.*another --out"):
        foretell.train(run, run, resume=True, quiet=True)


def huge(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(3 << 30)  # a hole, which takes no room


@pytest.mark.parametrize("name", ["recipe.toml", "tokenizer.json", "environment.json", "checksums.json"])
def test_files_are_not_read_that_are_larger_than_such_files_can_be(run: Path, name: str) -> None:
    huge(run / name)
    begun = time.process_time()
    with pytest.raises(ConfigError, match=name):
        foretell.load(run)
    assert time.process_time() - begun < 5


def test_counts_that_promise_more_than_they_hold(run: Path) -> None:
    promised = np.lib.format.header_data_from_array_1_0(np.zeros(0, dtype=np.int64)) | {"shape": (10**12,)}
    with (run / "token-counts.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, promised)
    opened = Run(run).read()
    opened.seal(opened.counts_file)
    with pytest.raises(ConfigError, match=r"token-counts\.npy: does not contain token counts"):
        foretell.load(run)


def test_a_tokenizer_that_was_sent_is_tried_before_it_is_used(run: Path) -> None:
    tokenizer = json.loads((run / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[next(iter(vocabulary))] = 2**31
    (run / "tokenizer.json").write_text(json.dumps(tokenizer))
    opened = Run(run).read()
    opened.seal(opened.tokenizer_file)
    sent(run)
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        foretell.load(run)


def test_the_list_of_runs_follows_no_link(run: Path, tmp_path: Path) -> None:
    from foretell.tools.look.runs import list_runs

    secret = tmp_path / "secret.toml"
    secret.write_text('name = "secret"\n')
    (run / "recipe.toml").unlink()
    (run / "recipe.toml").symlink_to(secret)
    assert [record["recipe"] for record in list_runs(tmp_path)] == [None]


@pytest.mark.parametrize("change", [{"format": FORMAT - 1}, {"format": None}, {"format": "2"}])
def test_another_format_is_refused_in_one_line(run: Path, change: dict[str, Any]) -> None:
    file = run / "checksums.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ConfigError, match=rf"this version reads format {FORMAT}"):
        foretell.load(run)


# --- what is in the way ---------------------------------------------------------------------------


def test_a_start_that_fails_leaves_nothing_in_the_way(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        foretell.train(tables(corpus, model__embedding_dim=6, head__tied=True), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    foretell.train(tables(corpus, limit="1steps"), tmp_path / "run", quiet=True)


def test_a_failed_start_with_settings_in_seconds_leaves_no_folder(corpus: Corpus, tmp_path: Path) -> None:
    wrong = tables(corpus, model__embedding_dim=6, head__tied=True, limit="60s")
    with pytest.raises(ConfigError):
        foretell.train(wrong, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_start_that_died_is_taken_over(
    corpus: Corpus, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    Run.create(out, recipe=foretell.load_recipe(tables(corpus, seed=9)).text(), resume=False)
    (out / "tokenizer.json").write_text("half written")
    foretell.train(tables(corpus, checkpoint__every="5steps"), out, quiet=True)
    assert outcome(out) == outcome(whole) and losses(out) == losses(whole)
    with pytest.raises(ConfigError, match="add --resume"):
        foretell.train(tables(corpus), out, quiet=True)


def test_a_recipe_of_the_user_is_not_taken_for_a_dead_start(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "recipe.toml").write_text("# notes\nlimit = '1steps'\n")
    for resume in (False, True):
        with pytest.raises(ConfigError):
            foretell.train(tables(corpus, limit="1steps"), folder, resume=resume, quiet=True)
    assert (folder / "recipe.toml").read_text() == "# notes\nlimit = '1steps'\n"


def test_files_of_the_user_in_a_run_outlive_a_new_start(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    Run.create(out, recipe=foretell.load_recipe(tables(corpus, seed=9)).text(), resume=False)
    (out / "notes").mkdir()
    for name in ("notes/a.md", "text.txt"):
        (out / name).write_text("the cat sat\n" * 99)
    with pytest.raises(ConfigError, match="no such"):  # fails after the run folder was made
        foretell.train(tables(corpus | {"valid": "gone.txt"}), out, quiet=True)
    foretell.train(tables(dict.fromkeys(("train", "valid"), str(out / "text.txt")), limit="1steps"), out, quiet=True)
    assert (
        losses(out) and (out / "notes" / "a.md").read_text() == (out / "text.txt").read_text() == "the cat sat\n" * 99
    )


@pytest.mark.parametrize("left", [["environment.json"], ["environment.json", "recipe.toml"]], ids=str)
def test_a_start_that_died_before_its_checksums_is_taken_over(left: list[str], corpus: Corpus, tmp_path: Path) -> None:
    out, recipe = tmp_path / "run", tables(corpus, limit="1steps")
    Run.create(out, recipe=foretell.load_recipe(recipe | {"seed": 9}).text(), resume=False)
    for item in [item for item in out.iterdir() if item.name not in left]:
        item.rmdir() if item.is_dir() else item.unlink()
    foretell.train(recipe, out, quiet=True)
    assert losses(out)


def test_a_run_made_by_another_process_in_the_meantime_is_kept(corpus: Corpus, tmp_path: Path) -> None:
    recipe = foretell.load_recipe(tables(corpus)).text()
    with (
        pytest.raises(ConfigError, match="run: exists; choose another --out"),
        Run.whole(tmp_path / "run", recipe=recipe),
    ):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "theirs").write_text("first")
    assert [item.name for item in (tmp_path / "run").iterdir()] == ["theirs"]


def test_files_that_a_dead_start_had_not_finished_are_made_again(corpus: Corpus, whole: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "run", tables(corpus, checkpoint__every="5steps")
    Run.create(out, recipe=foretell.load_recipe(recipe).text(), resume=False)
    for name in ("tokenizer.json", "token-counts.npy"):
        (out / name).write_text("not sealed yet")
    foretell.train(recipe, out, resume=True, quiet=True)
    assert outcome(out) == outcome(whole)


def test_checkpoints_that_are_gone_are_not_silently_trained_again(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ConfigError, match="no checkpoint of this run can be used: they are gone"):
        foretell.train(run, run, resume=True, quiet=True)
    with pytest.raises(ConfigError, match="add --resume"):
        foretell.train(foretell.load_recipe(run), run, quiet=True)


def test_a_copy_of_a_checkpoint_beside_it_is_passed_over(run: Path, whole: Path) -> None:
    last = checkpoint.pointed(Run.open(run), "last")[0].path
    shutil.copytree(last, last.with_name(f"{last.name} (copy)"))
    foretell.train(run, run, resume=True, quiet=True)
    assert outcome(run) == outcome(whole)


# --- whose it is ----------------------------------------------------------------------------------


def sent(run: Path) -> None:
    """As if somebody else had made it: the signature is by another key."""
    Run(run).read().note(signature="0" * 64)


def rewritten(run: Path, old: str, new: str) -> None:
    """As somebody would who knows how runs are made."""
    recipe = run / "recipe.toml"
    assert old in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(old, new))
    opened = Run(run).read()
    opened.seal(opened.recipe_file)


def test_a_corpus_by_a_relative_path_is_told_where_it_is_looked_for_in_vain(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    for split, path in corpus.items():
        shutil.copy(path, tmp_path / "here" / f"{split}.txt")
    monkeypatch.chdir(tmp_path / "here")
    relative = {split: f"{split}.txt" for split in corpus}
    foretell.train(tables(relative, limit="1steps"), tmp_path / "run", quiet=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the folder where training started; cd to it, or name a file"):
        foretell.load(tmp_path / "run").evaluate("valid")
    assert foretell.load(tmp_path / "run").evaluate("here/valid.txt")["tokens"] > 0


def test_a_run_that_was_sent_measures_text_of_ones_own(run: Path, corpus: Corpus) -> None:
    own = foretell.load(run).evaluate("valid")["loss"]
    sent(run)
    opened = foretell.load(run)
    assert opened.evaluate(corpus["valid"])["loss"] == own
    with pytest.raises(ConfigError, match=r"not made here, and would open .*valid\.txt.*add --trust, or name a text"):
        opened.evaluate("valid")
    assert foretell.load(run, trust=True).evaluate("valid")["loss"] == own
    with trust.trusting():
        assert foretell.load(run).evaluate("valid")["loss"] == own


def test_without_a_key_a_run_is_own_as_long_as_the_process_lives(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("FORETELL_STATE", str(tmp_path / "no-folder"))
    monkeypatch.setenv(trust.PASSING_KEY, "")  # so that it is put back
    foretell.train(tables(corpus, limit="1steps"), tmp_path / "run")
    assert "cannot store a key in" in " ".join(capsys.readouterr().err.split())
    assert foretell.load(tmp_path / "run").evaluate("valid")["tokens"] > 0
    monkeypatch.setenv(trust.PASSING_KEY, "")
    with pytest.raises(ConfigError, match="add --trust"):
        foretell.load(tmp_path / "run").evaluate("valid")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_damaged_key_is_named(length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_STATE", str(tmp_path))
    monkeypatch.delenv(trust.PASSING_KEY, raising=False)
    (tmp_path / "signing-key").write_bytes(b"k" * length)
    with pytest.raises(ConfigError, match=rf"signing-key: is damaged: it holds {length} bytes.*delete it"):
        trust.sign(b"recipe")


def test_a_run_that_was_sent_is_trained_on_text_of_ones_own(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    sent(run)
    with pytest.raises(ConfigError, match=r"would open .*train\.txt.*data\.corpus="):
        foretell.train(run, tmp_path / "mine", quiet=True)
    (tmp_path / "own.txt").write_text(Path(corpus["train"]).read_text())
    foretell.train(run, tmp_path / "mine", data__corpus=str(tmp_path / "own.txt"), quiet=True)
    assert Run.open(tmp_path / "mine").is_trusted


def test_each_setting_that_opens_a_file_of_a_sent_run_is_named(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    rewritten(run, 'init = ""', f'init = "{tmp_path / "other"}"')
    sent(run)
    with pytest.raises(ConfigError, match=r"would open .*other.*set your own: data\.corpus=…, init=…"):
        foretell.load_recipe(run)
    own = {"data.corpus": str(shutil.copy(corpus["train"], tmp_path / "own.txt")), "limit": "1steps"}
    with pytest.raises(ConfigError, match=r"set your own: init=…$"):
        foretell.load_recipe(run, own)
    foretell.load_recipe(run, own | {"init": ""})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "recurrent"', 'kind = "planted:Model"'),
        ('chunk = 33554432\nkind = "full"', 'kind = "planted:Head"'),
        ("stages = []", '[[stages]]\nname = "one"\nlimit = "1steps"\n[stages.set]\nobjective = "planted:Aim"'),
    ],
)
@pytest.mark.parametrize("verb", ["load", "train", "init", "doctor", "show"])
def test_code_is_loaded_for_nobody_elses_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, old: str, new: str
) -> None:
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    rewritten(run, old, new)

    def use() -> None:
        from foretell.tools.look.show import describe

        if verb == "doctor":
            raise ConfigError(str(examine_run(run)["findings"]))
        uses = {
            "load": lambda: foretell.load(run),
            "train": lambda: foretell.train(run, tmp_path / "mine", quiet=True),
            "init": lambda: foretell.load_recipe({"init": str(run)}),
            "show": lambda: describe(str(run)),
        }
        uses[verb]()

    with pytest.raises(ConfigError, match=r"would import 'planted:.*--trust"):
        use()
    assert not (tmp_path / "ran").exists()


def test_links_and_paths_that_lead_out_of_a_run_are_refused(run: Path, tmp_path: Path) -> None:
    best = checkpoint.pointed(Run.open(run), "best")[0].path
    for place in (
        run / "tokenizer.json",
        best / "model.safetensors",
        best,
        run / "checkpoints",
        run / "checksums.json",
    ):
        outside = tmp_path / f"outside-{place.name}"
        shutil.move(place, outside)
        place.symlink_to(outside)
        with pytest.raises(ConfigError, match=r"is a link|is not a folder of its own"):
            foretell.load(run)
        place.unlink()
        shutil.move(outside, place)
    foretell.load(run)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "a/b.json", ".hidden.json", ""])
def test_names_in_records_are_names_of_files_beside_them(run: Path, name: str) -> None:
    opened = Run(run).read()
    opened.checksums["files"][name] = "0" * 64
    opened.seal()
    with pytest.raises(ConfigError, match=r"checksums\.json: is damaged"):
        foretell.load(run)


# --- interruptions --------------------------------------------------------------------------------


def test_checkpoints_are_written_by_time_too(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    original = Trainer.save

    def counting(self: Trainer, improved: bool) -> Any:
        saved.append(self.position.step)
        return original(self, improved)

    monkeypatch.setattr(Trainer, "save", counting)
    rare = {"checkpoint.every": "100epochs", "evaluation.every": "100epochs", "limit": "6steps"}
    foretell.train(tables(corpus, **rare), tmp_path / "rare", quiet=True)
    assert saved == [6]
    saved.clear()
    foretell.train(tables(corpus, **rare, **{"checkpoint.minutes": 1e-9}), tmp_path / "often", quiet=True)
    assert saved == [1, 2, 3, 4, 5, 6]
    assert outcome(tmp_path / "rare")["last"] == outcome(tmp_path / "often")["last"]


def test_a_recipe_that_was_sent_builds_nothing_larger_than_its_weights(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten(run, "hidden = 8", "hidden = 20000")
    sent(run)
    monkeypatch.setattr(torch.nn.Parameter, "__new__", refuse_large(torch.nn.Parameter.__new__))
    with pytest.raises(ConfigError, match=r"the checkpoint's .* is \(.*\), and the model's is \(.*0000\b.*\)"):
        foretell.load(run)


def refuse_large(original: Any) -> Any:
    def new(cls: type, data: torch.Tensor | None = None, *given: Any, **more: Any) -> Any:
        assert data is None or data.is_meta or data.numel() < 10**6, "memory was taken"
        return original(cls, data, *given, **more)

    return new


def test_a_fine_tuned_run_outlives_the_run_it_began_with(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    foretell.train({"init": str(run), "data": {"corpus": corpus}, "limit": "2steps"}, tmp_path / "second", quiet=True)
    shutil.rmtree(run)
    shutil.move(tmp_path / "second", tmp_path / "moved")
    recipe = {"init": str(tmp_path / "moved"), "data": {"corpus": corpus}, "limit": "2steps"}
    assert foretell.train(recipe, tmp_path / "third", quiet=True).evaluate("valid")["tokens"] > 0
    shutil.copy(corpus["train"], tmp_path / "text.txt")
    changes = {"data.corpus": str(tmp_path / "text.txt"), "limit": "2steps"}
    foretell.train(foretell.load_recipe(tmp_path / "moved", changes | {"init": ""}), tmp_path / "fourth", quiet=True)


def test_figures_of_a_validation_are_those_of_the_checkpoint_whatever_the_records_say(run: Path) -> None:
    before = foretell.load(run).validation()
    assert before == [record for record in Run(run).metrics() if record["kind"] == "valid"][-1]
    (run / "metrics.jsonl").write_text("")
    assert foretell.load(run).validation() == before == {**before, "step": foretell.load(run).facts["step"]}


def test_a_run_without_its_recipe_is_told_from_a_recipe_that_is_not_there(run: Path) -> None:
    (run / "recipe.toml").unlink()
    with pytest.raises(ConfigError, match=r"recipe\.toml: is missing; restore it"):
        foretell.train(str(run), run, resume=True)
