"""A probe as a user runs it: figures, files and pictures, and what cannot be probed."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, model__layers=2, model__embedding_dim=16, model__hidden=16, limit="20steps")
    return foretell.train(recipe, tmp_path_factory.mktemp("probe") / "run", quiet=True)


def write_set(folder: Path, *, pairs: bool = False) -> str:
    """Sentences about cats and about dogs, or pairs with the same animal or not, as `--on` takes them."""
    draw, paths = random.Random(3), {}
    for split, size in {"train": 80, "valid": 30, "test": 30}.items():
        rows = ["one\tother\tlabel" if pairs else "text\tlabel"]
        for _ in range(size):
            animals = [draw.choice(["cat", "dog"]) for _ in range(2)]
            said = [f"the {animal} {draw.choice(['sat', 'ran', 'slept'])} on the mat" for animal in animals]
            label = ("same" if animals[0] == animals[1] else "other") if pairs else animals[0]
            rows.append("\t".join([*said, label] if pairs else [said[0], label]))
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
        paths[split] = str(folder / f"{split}.tsv")
    return "{" + ", ".join(f"{split} = {json.dumps(path)}" for split, path in paths.items()) + "}"


def probed(run: foretell.Trained, on: str, out: Path, *options: str) -> dict[str, Any]:
    arguments = ["probe", str(run.run.path), "--on", on, "--out", str(out), "--device", "cpu", "--json", *options]
    done = CliRunner().invoke(app, arguments)
    if done.exception is not None:
        raise done.exception
    return dict(json.loads(done.stdout))


def test_what_a_probe_leaves(run: foretell.Trained, tmp_path: Path) -> None:
    on, out = write_set(tmp_path), tmp_path / "probe"
    found = probed(
        run, on, out, "--reader", '{kind="table"}', "--C", "0.1,1,100", "--top", "1,3", "--text", "a <cat> & dog"
    )
    assert found["classes"] == ["cat", "dog"] and found["examples"] == {"train": 80, "valid": 30, "test": 30}
    assert found["bag_of_words"]["accuracy"] == 1.0  # the word itself is there
    assert found["accuracy"] > 0.6 and found["width"] == 16
    assert [len(one["units"]) for one in found["top"]] == [1, min(3, found["units"])]
    assert found["top"][0]["units"] == [found["best_unit"]]
    labels = [line.split("\t")[1] for line in (tmp_path / "test.tsv").read_text().splitlines()[1:]]
    train = [line.split("\t")[1] for line in (tmp_path / "train.tsv").read_text().splitlines()[1:]]
    most = max(set(train), key=train.count)
    assert found["majority"] == labels.count(most) / 30
    assert json.loads((out / "probe.json").read_text())["accuracy"] == found["accuracy"]
    for name in ("histogram.png", "heatmap.png"):
        assert (out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (out / "probe.html").read_text()
    assert "&lt;" in page and "<cat>" not in page and "<svg" in page


def test_without_the_library_that_draws_the_figures_are_there(
    run: foretell.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    on, out = write_set(tmp_path), tmp_path / "probe"
    done = CliRunner().invoke(
        app, ["probe", str(run.run.path), "--on", on, "--out", str(out), "--reader", "table", "--C", "1,100"]
    )
    assert done.exit_code == 0 and "no plots: drawing needs matplotlib" in done.stderr
    assert [path.name for path in out.iterdir()] == ["probe.json"]


def test_the_mix_is_learnt_kept_and_used_again(run: foretell.Trained, tmp_path: Path) -> None:
    on, out = write_set(tmp_path), tmp_path / "probe"
    found = probed(run, on, out, "--reader", '{kind="table"}', "--layers", "all", "--mix")
    assert found["mix"]["layers"] == [1, 2] and found["width"] == 16
    assert sum(found["mix"]["weights"]) == pytest.approx(1)
    (tmp_path / "lines.txt").write_text("the cat sat\n")
    done = CliRunner().invoke(
        app, ["features", str(run.run.path), str(tmp_path / "lines.txt"), "--mix", str(out), "--json"]
    )
    lower, upper = (run.features(["the cat sat"], layers=[layer]) for layer in (1, 2))
    one, other = found["mix"]["weights"]
    assert np.allclose(json.loads(done.stdout)["vectors"], one * lower + other * upper, atol=1e-5)


def test_pairs_by_their_difference_and_product(run: foretell.Trained, tmp_path: Path) -> None:
    reader = '{kind="table", texts=["one", "other"]}'
    found = probed(run, write_set(tmp_path, pairs=True), tmp_path / "probe", "--reader", reader, "--C", "1,100")
    assert found["width"] == 32 and found["classes"] == ["other", "same"]
    assert found["bag_of_words"]["accuracy"] == 1.0  # |u - v| of the animals' words says it all
    assert not (tmp_path / "probe" / "heatmap.png").exists()


@pytest.mark.parametrize(
    ("rows", "reader", "message"),
    [
        ("text\tlabel\na\t1\nb\t1\n", '{kind="table"}', "one class only"),
        ("text\tlabel\na\t1\nb\t2\n", '{kind="table", labels="score"}', "tells classes apart"),
        ("text\tlabel\na\n", '{kind="table"}', "has 1 column"),
    ],
)
def test_what_cannot_be_probed(run: foretell.Trained, tmp_path: Path, rows: str, reader: str, message: str) -> None:
    (tmp_path / "all.tsv").write_text(rows)
    on = "{" + ", ".join(f'{split} = "{tmp_path / "all.tsv"}"' for split in ("train", "valid", "test")) + "}"
    with pytest.raises(ConfigError, match=message):
        probed(run, on, tmp_path / "probe", "--reader", reader)
    assert not (tmp_path / "probe").exists()


def test_options_that_are_no_numbers(run: foretell.Trained, tmp_path: Path) -> None:
    for options in (["--C", "0,1"], ["--top", "one"]):
        with pytest.raises(ConfigError, match="write numbers above 0"):
            probed(run, "sst2", tmp_path / "probe", *options)
