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
from foretell.api.trained import load_run
from foretell.checksums import FILE
from foretell.cli import app
from foretell.models.mixture import MixtureConfig
from foretell.recipe.loading import recipe_of
from foretell.run import Run
from foretell.tools.look.runs import list_runs

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
    config, name = recipe_of(Run.open(tmp_path / "mixture")).model, "rule" if how == "gated" else "mixers_rows"
    assert isinstance(config, MixtureConfig)
    if change == "shape":
        tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
    elif change == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name].clone()
        tensors[name][-1] = 10**9
    if how == "gated" and change == "outside":  # the class of the last token: an index into a table
        rule = of_tensors(mixed.members, tensors, config).rule  # type: ignore[attr-defined]
        assert rule.first[-1] == 0
        return
    with pytest.raises((KeyError, ValueError)):
        of_tensors(mixed.members, tensors, config)


def test_every_file_of_the_folder_is_verified(runs: Runs, tmp_path: Path) -> None:
    foretell.mix([runs["ngram"], runs["lstm"]], out=tmp_path / "mixture")
    weights = next((tmp_path / "mixture" / "checkpoints").glob("step-*")) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(foretell.ConfigError, match="does not match its checksum"):
        foretell.load(tmp_path / "mixture")
    assert (tmp_path / "mixture" / FILE).exists()
