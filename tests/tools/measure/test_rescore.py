"""n-best lists: the best hypothesis of each group, bad lists, and tuned weights."""

import io
import json
import sys
from pathlib import Path

import pytest
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.tools.measure.rescore import rescore, tuned
from foretell.tools.parsing import parse_weights


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, limit="60steps", optimizer={"kind": "adam", "learning_rate": 0.03})
    return foretell.train(recipe, tmp_path_factory.mktemp("run") / "run", quiet=True)


def called(run: foretell.Trained, *arguments: str, given: str | bytes = "") -> str:
    done = CliRunner().invoke(app, ["score", str(run.run.path), *arguments], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


NBEST = "a\t-1\tthe cat sat\na\t-2\tthe zzz zzz\nb\t-3\ta dog\nb\t-9\ta dog ran\nb\t-3.5\ta\n"


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_the_best_of_each_group(run: foretell.Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, NBEST)
    every = list(rescore(run, [], None, every=True))
    logp = {text: run.score([text + "\n"])[0].logp for text in ("the cat sat", "the zzz zzz", "a dog", "a")}
    found = {one.hypothesis.text: one for one in every}
    assert found["a dog"].features == pytest.approx((logp["a dog"], 2, -3))
    assert found["a dog"].total == pytest.approx(logp["a dog"] - 3)
    assert [one.hypothesis.group for one in every] == ["a", "a", "b", "b", "b"]
    totals = [one.total for one in every]
    assert totals[:2] == sorted(totals[:2], reverse=True) and totals[2:] == sorted(totals[2:], reverse=True)
    piped(monkeypatch, NBEST)
    assert [one.row() for one in rescore(run, [], None)] == [every[0].row(), every[2].row()]
    piped(monkeypatch, NBEST)
    longest = list(rescore(run, [], parse_weights("words=1")))
    assert [one.hypothesis.text for one in longest] == ["the cat sat", "a dog ran"]  # of equal ones the first


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a\tx\nb\ny\tz\n", "stdin:2: 1 columns, expected 2"),
        ("a\tx\n\n", "stdin:2: 1 columns, expected 2"),
        ("a\n", "stdin:1: 1 columns, expected 2"),
        ("a\tone\tx\n", "stdin:1: 'one' is not a number; write numbers"),
        ("a\tnan\tx\n", "stdin:1: 'nan' is not a number"),
        ("a\t1\tx\na\t-inf\tx\n", "stdin:2: '-inf' is not a number"),
        ("a\t1_0\tx\n", "stdin:1: '1_0' is not a number"),
        ("a\t1e31\tx\n", "stdin:1: '1e31' is not a number"),
        ("a\t\tx\n", "stdin:1: '' is not a number"),
        ("a\tx\nb\ty\na\tz\n", "stdin:3: group 'a' appears again"),
    ],
)
def test_lists_that_are_wrong(run: foretell.Trained, monkeypatch: pytest.MonkeyPatch, given: str, said: str) -> None:
    piped(monkeypatch, given)
    with pytest.raises(ConfigError, match=said):
        list(rescore(run, [], None))


def test_each_file_of_a_list_has_lines_of_its_own(run: foretell.Trained, tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_bytes(b"a\t-1\tthe cat sat\r\na\t-2\tthe dog\r\n")
    (tmp_path / "two.tsv").write_text("a\t-9\ta dog ran\nb\t-1\ta\n")
    paths = [tmp_path / "one.tsv", tmp_path / "two.tsv"]
    found = list(rescore(run, paths, None, every=True))
    assert [one.hypothesis.group for one in found] == ["a", "a", "a", "b"]
    assert sorted(one.hypothesis.text for one in found) == ["a", "a dog ran", "the cat sat", "the dog"]
    (tmp_path / "two.tsv").write_text("c\t-9\tx\nb\ty\n")
    with pytest.raises(ConfigError, match=r"two.tsv:2: 2 columns, expected 3"):
        list(rescore(run, paths, None))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "dev.tsv: no hypotheses"),
        ("a\tx\n", "dev.tsv:1: 2 columns, expected 3"),
        ("a\t1\tx\na\t-1\ty\n", "dev.tsv:2: '-1' is not a number of errors"),
        ("a\tnan\tx\n", "dev.tsv:1: 'nan' is not a number"),
    ],
)
def test_lists_to_tune_on_that_are_wrong(run: foretell.Trained, tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "dev.tsv").write_text(given)
    with pytest.raises(ConfigError, match=said):
        tuned(run, tmp_path / "dev.tsv")


def test_weights_that_are_wrong(run: foretell.Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("lm:1", "lm=nan", "lm=inf", "lm=1e999", "lm=1=2", "lm=", "", "lm=1,", "lm=1_0"):
        with pytest.raises(ConfigError, match="write lm=1"):
            parse_weights(given)
    with pytest.raises(ConfigError, match="'lm' is repeated"):
        parse_weights("lm=1, lm=2")
    assert parse_weights(" lm=1, words = -.5") == {"lm": 1, "words": -0.5}
    piped(monkeypatch, NBEST)
    with pytest.raises(ConfigError, match="did you mean 'score1'"):
        list(rescore(run, [], {"score": 1.0}))


def test_tuning(run: foretell.Trained, tmp_path: Path) -> None:
    """The recogniser's score says nothing, the model everything: tuning finds out."""
    good = [line for line in Path(run.recipe.data.corpus["test"]).read_text().splitlines() if len(line.split()) > 2]
    rows = []
    for number, line in enumerate(good):
        bad = " ".join(["zzz", *line.split()[1:]])
        first, second = (-1.0, -30.0) if number % 2 else (-30.0, -1.0)
        rows += [f"{number}\t3\t{first}\t{bad}", f"{number}\t0\t{second}\t{line}"]
    development = tmp_path / "dev.tsv"
    development.write_text("\n".join(rows) + "\n")
    found = tuned(run, development)
    assert found["groups"] == len(good) and found["hypotheses"] == 2 * len(good)
    assert found["errors_first"] == 3 * len(good) and found["errors_least"] == 0
    assert found["errors"] < found["errors_untuned"]
    printed = json.loads(called(run, "--tune", str(development), "--json"))
    assert printed == found
    nbest = tmp_path / "list.tsv"
    nbest.write_text("\n".join("\t".join(row.split("\t")[:1] + row.split("\t")[2:]) for row in rows) + "\n")
    picked = [row.split("\t")[-1] for row in called(run, str(nbest), "--tune", str(development)).splitlines()]
    assert 3 * sum(text.startswith("zzz") for text in picked) == found["errors"]
