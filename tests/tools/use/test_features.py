"""Files of vectors: what is in them, in which order, in how little memory, and that none is half written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.tools.use.features import write_features

LINES = ["the cat sat", "a dog", "", "the cat sat on the mat and then a dog ran", "dog"]


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, model__layers=2, limit="2steps")
    return foretell.train(recipe, tmp_path_factory.mktemp("features") / "run", quiet=True)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(line + "\n" for line in LINES))
    return path


def invoke(*arguments: Any, **settings: Any) -> Any:
    return CliRunner().invoke(app, ["features", *map(str, arguments)], **settings)


def test_numpy_and_parquet_files_hold_what_python_gives(run: foretell.Trained, lines: Path, tmp_path: Path) -> None:
    expected = run.features(LINES, pooling="max", layers=[1, 2])
    for window in (2, 4096):
        extractor = run.extractor(pooling="max", layers=[1, 2], window=window)
        write_features(extractor, [lines], tmp_path / "out.npy")
        found = np.load(tmp_path / "out.npy")
        assert found.dtype == np.float32 and found.shape == (5, 16)
        assert np.allclose(found, expected, atol=1e-6)
        parquet = pytest.importorskip("pyarrow.parquet")
        record = write_features(extractor, [lines], tmp_path / "out.parquet")
        assert (record["texts"], record["width"]) == (5, 16)
        table = parquet.read_table(tmp_path / "out.parquet")
        assert table["text"].to_pylist() == LINES
        assert np.array_equal(np.array(table["vector"].to_pylist(), dtype=np.float32), found)


def test_the_command_line_says_the_same(run: foretell.Trained, lines: Path, tmp_path: Path) -> None:
    expected = run.features(LINES, pooling="last", layers="all")
    options = ("--pooling", "last", "--layers", "all", "--tokens", "16", "--device", "cpu")
    printed = invoke(run.run.path, *options, input=lines.read_text())
    rows = [[float(number) for number in row.split("\t")] for row in printed.stdout.splitlines()]
    assert np.allclose(np.array(rows), expected, atol=1e-5)
    as_json = json.loads(invoke(run.run.path, lines, *options, "--json").stdout)
    assert np.allclose(np.array(as_json["vectors"]), expected, atol=1e-5)
    record = json.loads(invoke(run.run.path, lines, "--out", tmp_path / "x.npy", "--json").stdout)
    assert record["texts"] == 5 and np.load(record["out"]).shape == (5, 8)


def test_a_mix_comes_from_the_folder_of_a_probe(run: foretell.Trained, lines: Path, tmp_path: Path) -> None:
    (tmp_path / "mix.json").write_text(json.dumps({"layers": [1, 2], "weights": [0.25, 0.5]}))
    for named in (tmp_path, tmp_path / "mix.json"):
        found = json.loads(invoke(run.run.path, lines, "--mix", named, "--json").stdout)
        expected = run.features(LINES, layers=[1, 2], mix=[0.25, 0.5])
        assert np.allclose(np.array(found["vectors"]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.csv"], "ends in .npy or .parquet"),
        (["--layers", "one"], "write all, or numbers"),
        (["--layers", "5"], "there is no layer 5"),
        (["--mix", "nowhere"], "has no layer weights"),
        (["nowhere.txt"], "no such file"),
    ],
)
def test_what_cannot_be(run: foretell.Trained, arguments: list[str], message: str) -> None:
    done = invoke(run.run.path, *arguments, input="a\n")
    assert isinstance(done.exception, ConfigError) and message in str(done.exception)


def test_no_texts_leave_no_file(run: foretell.Trained, tmp_path: Path) -> None:
    done = invoke(run.run.path, "--out", tmp_path / "x.npy", input="")
    assert "no texts to read" in str(done.exception) and not list(tmp_path.iterdir())
