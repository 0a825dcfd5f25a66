"""`foretell score` as a program: rows in order, one JSON object, stated behaviour for odd lines."""

import gzip
import json
import lzma
import math
from pathlib import Path
from typing import Any

import pytest
import zstandard
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.data import text_files
from foretell.errors import ConfigError
from foretell.tools.measure import score as tool


@pytest.fixture(scope="module")
def run(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, limit="60steps", optimizer={"kind": "adam", "learning_rate": 0.03})
    return foretell.train(recipe, tmp_path_factory.mktemp("run") / "run", quiet=True)


@pytest.fixture(scope="module")
def letters(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, data__tokenizer={"kind": "byte"})
    return foretell.train(recipe, tmp_path_factory.mktemp("letters") / "run", quiet=True)


def called(run: foretell.Trained, *arguments: str, given: str | bytes = "") -> str:
    done = CliRunner().invoke(app, ["score", str(run.run.path), *arguments], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


LINES = ["the cat sat", "", "a dog ran on", "the zzz"]


def test_a_row_for_each_line_in_order(run: foretell.Trained) -> None:
    rows = [row.split("\t") for row in called(run, given="\n".join(LINES) + "\n").splitlines()]
    expected = run.score([line + "\n" for line in LINES])
    assert [float(row[0]) for row in rows] == pytest.approx([scored.logp for scored in expected], abs=1e-5)
    assert [row[1] for row in rows] == ["4", "1", "5", "3"]
    assert [row[2] for row in rows] == ["0", "0", "0", "1"]
    assert float(rows[0][3]) == pytest.approx(-expected[0].logp / math.log(2) / 12, abs=1e-5)
    assert called(run, given="\n".join(LINES)) == called(run, given="\n".join(LINES) + "\n")  # the last newline
    headed = called(run, "--header", given="the\n").splitlines()
    assert headed[0].split("\t") == list(tool.COLUMNS) and len(headed) == 2
    assert called(run, given="") == ""


def test_without_the_end(run: foretell.Trained) -> None:
    rows = [row.split("\t") for row in called(run, "--no-end", given="the cat\n\n").splitlines()]
    assert float(rows[0][0]) == pytest.approx(run.score(["the cat"])[0].logp, abs=1e-5)
    assert rows[1] == ["0.000000", "0", "0", "", "", "", "0"]
    with pytest.raises(ConfigError, match="--no-end"):
        called(run, "--no-end", "--context", "carried", given="the\n")


def test_surprisal_of_tokens(run: foretell.Trained) -> None:
    rows = [row.split("\t") for row in called(run, "--tokens", given="the cat\n\na\n").splitlines()]
    assert [(row[0], row[1]) for row in rows] == [
        ("1", "the"),
        ("1", "cat"),
        ("1", "<eos>"),
        ("2", "<eos>"),
        ("3", "a"),
        ("3", "<eos>"),
    ]
    total = sum(float(row[2]) for row in rows[:3])
    assert total == pytest.approx(run.score(["the cat\n"])[0].bits, abs=1e-5)


def test_one_json_object(run: foretell.Trained) -> None:
    result = json.loads(called(run, "--json", "--tokens", given="\n".join(LINES)))
    assert [line["text"] for line in result["lines"]] == LINES
    assert result["logp"] == pytest.approx(sum(line["logp"] for line in result["lines"]))
    assert (result["tokens"], result["unknown"]) == (13, 1)
    for line in result["lines"]:
        assert sum(bits for _, bits in line["surprisal_bits"]) == pytest.approx(-line["logp"] / math.log(2))


def test_carried_is_evaluate(run: foretell.Trained, corpus: dict[str, str]) -> None:
    result = json.loads(called(run, corpus["test"], "--context", "carried", "--json"))
    measured = run.evaluate("test")
    assert -result["logp"] == pytest.approx(measured["loss"] * measured["tokens"], rel=1e-6)


DOCUMENTS = {
    "one": "the cat sat\non a mat\n",
    "closed": "the cat sat\n<|endofdoc|>\n<|endofdoc|>\n",
    "several": "<|endofdoc|>\nthe cat sat\non a mat\n<|endofdoc|>\r\n<|endofdoc|>\na dog ran\n<|endofdoc|>\nthe cat\n",
    "closed at last": "the cat sat\n<|endofdoc|>\na dog ran\n<|endofdoc|>\n",
    "no newline": "the cat sat\n<|endofdoc|>\na dog",
    "one without newline": "the cat sat\na dog",
    "a word in it": "the cat <|endofdoc|>\n <|endofdoc|>\na dog\n",
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("kind", ["word", "byte"])
def test_carried_documents_are_those_of_evaluate(
    run: foretell.Trained, letters: foretell.Trained, kind: str, name: str, tmp_path: Path
) -> None:
    model = run if kind == "word" else letters
    (tmp_path / "a.txt").write_text(DOCUMENTS[name])
    result = json.loads(called(model, f"{tmp_path}/a.txt", "--context", "carried", "--json"))
    measured = model.evaluate(f"{tmp_path}/a.txt")
    assert (result["tokens"], result["unknown"]) == (
        measured["tokens"],
        round(measured["unknown_rate"] * measured["tokens"]),
    )
    assert -result["logp"] == pytest.approx(measured["loss"] * measured["tokens"], rel=1e-5)
    assert len(result["lines"]) == len(DOCUMENTS[name].splitlines())  # a row for each line, whatever it is


def test_carried_files_are_documents(letters: foretell.Trained, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{name} cat\nsat\n")
    result = json.loads(called(letters, f"{tmp_path}/a.txt", f"{tmp_path}/b.txt", "--context", "carried", "--json"))
    measured = letters.evaluate(str(tmp_path))
    assert result["tokens"] == measured["tokens"] == 2 * (len("a cat\nsat\n") + 1)
    assert -result["logp"] == pytest.approx(measured["loss"] * measured["tokens"], rel=1e-5)


def test_packed_lines_and_damage(run: foretell.Trained, tmp_path: Path) -> None:
    for ending, pack in {".gz": gzip.compress, ".xz": lzma.compress, ".ZST": zstandard.compress}.items():
        path = tmp_path / f"a.txt{ending}"
        path.write_bytes(pack("\n".join(LINES).encode()))
        assert called(run, str(path)) == called(run, given="\n".join(LINES))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ConfigError, match=rf"{path}: damaged or truncated"):
            called(run, str(path))


def test_a_line_longer_than_memory_bears_is_refused(run: foretell.Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 1 << 20)
    with pytest.raises(ConfigError, match=r"stdin:2: longer than 1 MiB; break it"):
        called(run, given="the cat\n" + "x" * ((1 << 20) + 1))


def test_odd_bytes(run: foretell.Trained, capsys: pytest.CaptureFixture[str]) -> None:
    rows = called(run, given=b"\xef\xbb\xbfthe cat\nthe \xff cat\r\nthe cat\n").splitlines()
    assert rows[0] == rows[2] and len(rows) == 3
    found = json.loads(called(run, "--json", given=b"a \xff\xfe b\n"))
    assert (found["replaced"], found["lossy"]) == (2, True)
    assert found["lines"][0]["bits_per_byte"] == pytest.approx(-found["logp"] / math.log(2) / 7)
    with pytest.raises(ConfigError, match="no such file"):
        called(run, "nowhere.txt")


@pytest.mark.parametrize("context", ["lines", "carried"])
def test_lossy_lines(run: foretell.Trained, letters: foretell.Trained, context: str, tmp_path: Path) -> None:
    given = "the cat\n the cat\nthe  cat\nthe zzz\nthe <eos>\n\nthe caf\xe9\nthe cat".encode("latin-1")
    (tmp_path / "a.txt").write_bytes(given)
    for model, expected in ((run, [0, 1, 1, 1, 1, 0, 1, context == "carried"]), (letters, [0, 0, 0, 0, 0, 0, 1, 0])):
        rows = called(model, f"{tmp_path}/a.txt", "--context", context).splitlines()
        assert [row.split("\t")[-1] for row in rows] == [str(int(lossy)) for lossy in expected]
        found = json.loads(called(model, f"{tmp_path}/a.txt", "--context", context, "--json"))
        assert [line["lossy"] for line in found["lines"]] == [bool(lossy) for lossy in expected]
    assert found["lines"][6]["text"] == "the caf\ufffd"
    assert found["lines"][6]["bits_per_byte"] == pytest.approx(-found["lines"][6]["logp"] / math.log(2) / 9)


def test_chunks_keep_order_and_memory(run: foretell.Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"the cat {'sat ' * (i % 7)}" for i in range(50)]
    whole = [scored.logp for scored in tool.score_lines(run, lines)]
    monkeypatch.setattr(tool, "LINES", 3)
    asked = []

    def given() -> Any:
        for number, line in enumerate(lines):
            asked.append(number)
            yield line

    parts = []
    for scored in tool.score_lines(run, given()):
        parts.append(scored.logp)
        assert len(asked) - len(parts) < 3  # no more is read than what is scored together
    assert parts == pytest.approx(whole, abs=1e-6, rel=1e-6)
