"""Mixtures as run folders: what is opened is what was saved, wherever it is, and damage is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from predictors import trained
from safetensors.torch import load_file
from typer.testing import CliRunner

import foretell
from foretell.api.mixture_run import of_tensors, save
from foretell.api.online_mixing import OnlineMixed
from foretell.api.trained import load_run
from foretell.checksums import FILE
from foretell.cli import app
from foretell.models.mixture import MixtureConfig
from foretell.recipe.loading import recipe_of
from foretell.run import Run
from foretell.tools.look.doctor_run import examine_run
from foretell.tools.look.runs import list_runs
from foretell.trust import sign

Runs = dict[str, foretell.Trained]
HOW: list[Any] = [False, True, "gated", "logistic"]


@pytest.fixture(scope="module")
def runs(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("members")
    return {name: trained(name, corpus, folder) for name in ("context-mixing", "ngram", "lstm")}


@pytest.mark.parametrize("how", HOW)
def test_what_is_opened_is_what_was_saved(runs: Runs, tmp_path: Path, how: Any) -> None:
    mixed = foretell.mix([*runs.values()], online=how)
    save(mixed, tmp_path / "mixture")
    (tmp_path / "mixture").rename(tmp_path / "moved")
    opened = foretell.load(tmp_path / "moved")
    assert isinstance(opened, foretell.Mixed) and opened.name == str(tmp_path / "moved")
    wanted, found = mixed.evaluate("test"), opened.evaluate("test")
    assert found["loss"] == wanted["loss"] and found.get("adaptive", {}).get("loss") == wanted.get("adaptive", {}).get(
        "loss"
    )
    if how:
        cache = {"window": 50, "sharpness": 0.3, "weight": 0.2}
        assert opened.evaluate("test", cache=cache)["loss"] == wanted["loss"]
    assert opened.weights == mixed.weights and opened.digest == mixed.digest
    assert opened.generate("the cat", tokens=5, seed=1) == mixed.generate("the cat", tokens=5, seed=1)


def test_a_mixture_is_listed_measured_and_refused_where_one_model_is_needed(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "mixture"
    paths = [str(run.run.path) for run in runs.values()]
    made = CliRunner().invoke(app, ["mix", *paths, "--out", str(out), "--log", "--quiet"])
    assert made.exit_code == 0, made.output
    (row,) = list_runs(tmp_path)
    assert row["name"] == "mixture" and row["state"] == "finished" and row["problem"] == ""
    assert row["bits_per_byte"] == pytest.approx(foretell.load(out).evaluate("valid")["bits_per_byte"])
    assert row["parameters"] > sum(run.parameters for run in (runs["ngram"], runs["lstm"]))
    with pytest.raises(foretell.ConfigError, match=r"is a mixture; name one of its runs, in .*members"):
        load_run(out)
    again = CliRunner().invoke(app, ["mix", str(out), paths[0], "--out", str(tmp_path / "other")])
    assert again.exit_code != 0 and "is a mixture" in str(again.exception)
    taken = CliRunner().invoke(app, ["mix", *paths, "--out", str(out)])
    assert "exists" in str(taken.exception)
    single = CliRunner().invoke(app, ["mix", paths[0], "--out", str(tmp_path / "other")])
    assert "two runs or more" in str(single.exception)
    both = CliRunner().invoke(app, ["mix", *paths, "--gated", "--online", "--out", str(tmp_path / "other")])
    assert "leave one out" in str(both.exception)


def test_another_run_in_the_place_of_a_member_is_refused(runs: Runs, tmp_path: Path) -> None:
    foretell.mix([runs["ngram"], runs["lstm"]], out=tmp_path / "mixture")
    first, second = sorted((tmp_path / "mixture" / "members").iterdir())
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.raises(foretell.ConfigError, match="1-ngram: is another run than the mixture was made of"):
        foretell.load(tmp_path / "mixture")
    shutil.rmtree(first)
    with pytest.raises(foretell.ConfigError, match="1-ngram"):
        foretell.load(tmp_path / "mixture")


def test_a_run_that_is_trained_on_leaves_the_mixture_as_it_was(runs: Runs, tmp_path: Path) -> None:
    foretell.mix([runs["ngram"], runs["lstm"]], out=tmp_path / "mixture")
    records = (tmp_path / "mixture" / "members" / "2-lstm" / "metrics.jsonl").read_bytes()
    runs["lstm"].run.append({"kind": "note", "step": 0})
    assert (tmp_path / "mixture" / "members" / "2-lstm" / "metrics.jsonl").read_bytes() == records


@pytest.mark.parametrize("how", HOW[2:])
@pytest.mark.parametrize("change", ["shape", "missing", "outside"])
def test_weights_that_do_not_fit_are_refused(runs: Runs, tmp_path: Path, how: Any, change: str) -> None:
    """Compiled code reads them: a wrong shape or place would be a read outside the memory of a table."""
    mixed = foretell.mix([*runs.values()], online=how)
    save(mixed, tmp_path / "mixture")
    tensors = load_file(next((tmp_path / "mixture" / "checkpoints").glob("step-*")) / "model.safetensors")
    config, name = recipe_of(Run.open(tmp_path / "mixture")).model, "gate" if how == "gated" else "tokens"
    assert isinstance(config, MixtureConfig)
    if change == "shape":
        tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
    elif change == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name].clone()
        tensors[name][-1] = 30_000
    with pytest.raises((KeyError, ValueError)):
        of_tensors(mixed.members, tensors, config)


def test_what_a_gate_remembers_of_a_text_is_not_taken_from_a_file(runs: Runs, tmp_path: Path) -> None:
    """The class of the last token is an index into a table."""
    mixed = foretell.mix([*runs.values()], online="gated", out=tmp_path / "mixture")
    config = recipe_of(Run.open(tmp_path / "mixture")).model
    assert isinstance(config, MixtureConfig) and isinstance(mixed, OnlineMixed)
    tensors = mixed.tensors()
    tensors["gate"] = tensors["gate"].clone()
    tensors["gate"][-1] = 5000
    opened = of_tensors(mixed.members, tensors, config)
    assert isinstance(opened, OnlineMixed) and opened.rule.first[-1] == 0


def test_members_share_a_vocabulary(runs: Runs, corpus: dict[str, str], tmp_path: Path) -> None:
    """Compiled code would count tokens of another vocabulary outside its tables."""
    word = trained("ngram", corpus, tmp_path / "word", "word")
    foretell.mix([runs["ngram"], runs["lstm"]], out=tmp_path / "mixture")
    place = tmp_path / "mixture" / "members" / "1-ngram"
    shutil.rmtree(place)
    shutil.copytree(word.run.path, place)
    run = Run.open(tmp_path / "mixture")
    text = run.recipe_file.read_text()
    old = load_run(runs["ngram"].run.path).plain_digest.hex()
    run.recipe_file.write_text(text.replace(old, word.plain_digest.hex()))
    run.note(signature=sign(run.recipe_file.read_bytes()))
    run.seal(run.recipe_file)
    with pytest.raises(foretell.ConfigError, match="have different tokenizers"):
        foretell.load(tmp_path / "mixture")


def test_a_member_is_no_link(runs: Runs, tmp_path: Path) -> None:
    foretell.mix([runs["ngram"], runs["lstm"]], out=tmp_path / "mixture")
    place = tmp_path / "mixture" / "members" / "1-ngram"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(foretell.ConfigError, match="is missing or a link"):
        foretell.load(tmp_path / "mixture")
    assert any(found["level"] == "error" for found in examine_run(tmp_path / "mixture")["findings"])


def test_members_that_count_are_not_saved_with_fixed_weights(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(foretell.ConfigError, match="how members adapt is not saved"):
        foretell.mix([runs["context-mixing"].adapted(), runs["ngram"]], [0.5, 0.5], out=tmp_path / "mixture")
    assert not (tmp_path / "mixture").exists()


def test_a_text_is_measured_where_the_corpus_is_gone(corpus: dict[str, str], tmp_path: Path) -> None:
    there = {name: str(shutil.copy(file, tmp_path / f"{name}.txt")) for name, file in corpus.items()}
    runs = [trained(name, there, tmp_path) for name in ("ngram", "lstm")]
    foretell.mix(runs, out=tmp_path / "mixture")
    for file in there.values():
        Path(file).unlink()
    assert foretell.load(tmp_path / "mixture").evaluate(corpus["test"])["fitted_here"] == []


def test_many_texts_side_by_side_have_fixed_weights(runs: Runs) -> None:
    for how in HOW[1:]:
        mixed = foretell.mix([*runs.values()], online=how)
        fixed = foretell.mix([*runs.values()])
        assert [s.logp for s in mixed.score(["the cat", "a dog"])] == [
            s.logp for s in fixed.score(["the cat", "a dog"])
        ]
        assert mixed.search("the", tokens=3, width=2)[0].text == fixed.search("the", tokens=3, width=2)[0].text


def test_every_file_of_the_folder_is_verified(runs: Runs, tmp_path: Path) -> None:
    foretell.mix([runs["ngram"], runs["lstm"]], out=tmp_path / "mixture")
    weights = next((tmp_path / "mixture" / "checkpoints").glob("step-*")) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(foretell.ConfigError, match="does not match its checksum"):
        foretell.load(tmp_path / "mixture")
    assert (tmp_path / "mixture" / FILE).exists()
