"""The command line from outside: one line and one object for each error, its exit code, and a remedy that exists."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.testing import CliRunner

import foretell
from foretell import cli, trust
from foretell.errors import ConfigError

ESCAPE = "\x1b[31mred"


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (["trian", "char-lstm"], "no such command 'trian'. Did you mean 'train'"),
        (["train", "char-lstm", "--resum"], "no such option: --resum (Possible options: "),
        (["evaluate"], "missing argument 'RUN'"),
        (["evaluate", "run", "--columns", "0"], "invalid value for '--columns'"),
        (["evaluate", "run", "--columns", "x"], "invalid value for '--columns'"),
        (["evaluate", "run", "--columns", "99999999999"], "is out of range"),
        (["generate", "run", "--seed", str(2**63)], "is out of range"),
        (["generate", "run", "--temperature", "nan"], "invalid value for '--temperature'"),
        (["generate", "run", "--temperature", "inf"], "invalid value for '--temperature'"),
        (["generate", "run", "--temperature", "-1"], "invalid value for '--temperature'"),
        (["find-lr", "char-lstm", "--low", "nan"], "invalid value for '--low'"),
        (["train", "char-lstm", "--device", "lstm"], "'lstm': no such device"),
        (["train", "char-lstm", "--device", "cuda:99"], "no device 'cuda:99' here"),
        (["train", "char-lstm", "--device", "meta"], "'meta': no such device"),
        (["train", "char-lstm", "data=3"], "data: should be a table, not 3"),
        (["train", "char-lstm", "data.batches=3"], 'data.batches: should be a kind such as "streams"'),
        (["train", "char-lstm", "init=3"], "init: should be a valid string, not 3"),
        (["train", "char-lstm", "stages=3"], "stages: should be a valid tuple"),
        (["train", "char-lstm", "name=../x"], "name: '../x' is not a folder name"),
        (["train", "char-lstm", "x=" + "[" * 9999], "tables and lists within each other, more than 32 deep"),
        (["train", "char-lstm", "x=" + "[" * 40 + "]" * 40], "tables and lists within each other, more than 32 deep"),
        (["train", "char-lstm", ".".join("a" * 500) + "=1"], "names have at most 32 parts"),
        (["train", "char-lstm", 'name="\\u001b[31m"'], r"name: holds the control character '\x1b'"),
        (["train", "char-lstm", 'head.kind=".x:y"'], "'.x:y' is not a class; write it as \"package.module:Class\""),
        (["train", "char-lstm", "head.kind=:"], "':' is not a class"),
        (["train", "char-lstm", "head.kind=venv.__main__:X"], "'venv.__main__:X' would run a program"),
        (["train", "char-lstm", "head.kind=__main__:X"], "'__main__:X' would run a program"),
        (["train", "char-lstm", "head.kind=foretell.nn.recurrent.lstm:LSTMConfig"], "is of another family"),
        (["train", "char-lstm", "head.kind=outside:TwofoldConfig"], "is of another family"),
        (["train", "char-lstm", "model.cell.kind=outside:PairsConfig"], "is of another family"),
        (["train", "char-lstm", "objective.kind=foretell.optim.optimizers:SGDConfig"], "is of another family"),
        (
            ["train", "char-lstm", "objective.kind=outside:CosineHeadConfig"],
            "is not a foretell.objectives.objective.ObjectiveConfig",
        ),
        (["train", "awd-lstm-pbt"], "no recipe 'awd-lstm-pbt'; did you mean 'awd-lstm-ptb'"),
        (["show", "dropot"], "no recipe, run, section or kind 'dropot'; did you mean 'dropout'"),
        (["generate", "run", "--mix", "run", "--mix-weights", "nan,1"], "write numbers from 0 to 1"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_one_object(line: list[str], what: str, run: Path, said: Any) -> None:
    line = [str(run) if word == "run" else word for word in line]
    code, out, err = said(*line, "--json")
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 500
    found = json.loads(out)
    assert out.count("\n") == 1
    assert set(found) == {"error", "exit_code"}
    assert set(found["error"]) == {"file", "line", "what", "remedy"}
    assert found["exit_code"] == 2
    assert what in found["error"]["what"]
    assert said(*line)[:2] == (2, "")


def test_the_file_and_the_line_are_apart(tmp_path: Path, said: Any) -> None:
    (tmp_path / "a.toml").write_text("seed = 1\nlimit = \n")
    _, out, err = said("train", tmp_path / "a.toml", "--json")
    error = json.loads(out)["error"]
    assert (error["file"], error["line"]) == (str(tmp_path / "a.toml"), 2)
    assert error["what"].startswith("not valid TOML: Invalid value")
    assert err == f"error: {tmp_path}/a.toml:2: {error['what']}\n"


def test_unknown_names_have_at_most_five_suggestions(said: Any) -> None:
    for line in (["train", "awd-lstm"], ["train", "bert"], ["train", "?"], ["show", "lstn"], ["show", "awd-lstm"]):
        _, _, err = said(*line)
        assert err.count("'") <= 2 + 2 * 5
        assert "`foretell show` lists" in err


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path, said: Any) -> None:
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfbase = "char-lstm"\nseed = 7\n')
    code, out, _ = said("show", tmp_path / "a.toml", "--vocabulary", "10", "--json")
    assert code == 0
    assert "seed = 7" in json.loads(out)["toml"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"x = " + b"[" * 5000, "more than 32 deep"),
        (b"[" + b".".join([b"a"] * 200) + b"]\nb = 1", "more than 32 deep"),
        (b"seed = " + b"9" * 5000, "not valid TOML"),
        (b"seed = 1\n" * (1 << 18), "bytes, and a recipe has a few thousand"),
        (b"a = '\xff'", "not UTF-8 text"),
        (b'name = "a\\u001b"', r"name: holds the control character '\x1b'"),
        (b'"a\\u202e" = 1', r"'a\u202e' holds the control character"),
        (b'name = "a\\u202e"', r"name: holds the control character '\u202e'"),
        (b"base = 3", "base should be the name of a recipe, not 3"),
        (b'base = "hostile.toml"', "its base refers back to it"),
        (b"model = 3", "model: should be a kind such as"),
        (b"data = 3", "data: should be a table, not 3"),
        (b"stages = [3]", "stages.0: should be a table, not 3"),
        (b"init = 1979-05-27", "init: should be a valid string"),
        (b"[[stages]]\nname='a'\nlimit='1epochs'\n" * 101, "stages: "),
    ],
    ids=lambda value: str(value[:12]) if isinstance(value, bytes) else "",
)
def test_hostile_recipes_are_refused_in_one_line(content: bytes, what: str, tmp_path: Path, said: Any) -> None:
    file = tmp_path / "hostile.toml"
    file.write_bytes(content)
    code, out, err = said("show", file, "--json")
    error = json.loads(out)["error"]
    assert code == 2
    assert what in error["what"]
    assert error["file"] == str(file)
    assert "\x1b" not in err and "\u202e" not in err and err.count("\n") == 1


def test_help_comes_without_arguments(said: Any) -> None:
    code, _, err = said()
    assert (code, "error" in err) == (2, False)


def test_debug_shows_where(tmp_path: Path, said: Any) -> None:
    assert "Traceback" in said("evaluate", tmp_path, "--debug")[2]
    assert "Traceback" not in said("evaluate", tmp_path)[2]


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch, said: Any) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("foretell.tools.look.show.describe", stop)
    code, out, err = said("show", "lstm", "--json")
    assert (code, err) == (130, "interrupted\n")
    assert json.loads(out) == {
        "error": {"file": None, "line": None, "what": "interrupted", "remedy": None},
        "exit_code": 130,
    }


# --- arguments ------------------------------------------------------------------------------------


def parameters() -> Iterator[tuple[str, inspect.Parameter]]:
    for name, verb in cli.BY_NAME.items():
        for parameter in inspect.signature(verb, eval_str=True).parameters.values():
            yield name, parameter


def test_every_numeric_option_has_a_least_value() -> None:
    without = []
    for verb, parameter in parameters():
        kinds = {float, int} & {*getattr(parameter.annotation, "__args__", ()), parameter.annotation.__origin__}
        union = {*getattr(parameter.annotation.__origin__, "__args__", ())} & {float, int}
        (info,) = [item for item in parameter.annotation.__metadata__ if hasattr(item, "min")]
        if kinds | union and info.min is None:
            without.append(f"{verb} {parameter.name}")
    assert without == []


OPENING = {
    "train", "transfer", "find-lr", "evaluate", "score", "probe", "compare", "race", "generate", "next", "features",
    "predict", "export", "push", "show", "plot", "trace", "doctor", "compress", "decompress", "mix",
}  # fmt: skip


def test_every_verb_that_opens_runs_can_be_told_to_trust_them() -> None:
    assert {verb for verb, parameter in parameters() if parameter.name == "trust"} == OPENING


def test_trust_holds_for_what_the_process_opens(
    monkeypatch: pytest.MonkeyPatch, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr("foretell.tools.look.show.describe", lambda *_: seen.append(trust.trusts_everything()) or {})
    monkeypatch.setattr("foretell.tools.look.show.render", lambda *_: Text(""))
    with trust.trusting(False):  # undoes what the verb does to this process
        said("show", "lstm")
        said("show", "lstm", "--trust")
    assert seen == [False, True]
    assert not trust.trusts_everything()


@pytest.mark.parametrize("body", ["raise OSError('no')", "import sys; sys.exit(3)", "1 +", "x = 1"])
def test_a_module_that_fails_is_named(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_module.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    sys.modules.pop("failing_module", None)
    with pytest.raises(ConfigError, match=r"head: cannot load 'failing_module:Head'"):
        foretell.load_recipe({"head": {"kind": "failing_module:Head"}})


# --- only what a command line needs ---------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["runs", "--help"], ["train", "-h"], ["runz"], []], ids=" ".join)
def test_an_application_of_parts_answers_as_the_whole_one_does(words: list[str]) -> None:
    answers = [CliRunner().invoke(made, words, terminal_width=80) for made in (cli.app, cli.app_for(words))]
    assert answers[0].output == answers[1].output != ""
    assert answers[0].exit_code == answers[1].exit_code


@pytest.mark.parametrize("line", ["foretell ", "foretell tr", "foretell train awd-", "foretell runs --"])
def test_completion_by_parts_offers_what_the_whole_one_does(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*line.split(), *[""] * line.endswith(" ")]
    monkeypatch.setenv("_FORETELL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    parts = cli.app_for([])
    assert parts is not cli.app
    answers = [CliRunner().invoke(made, [], prog_name="foretell").output for made in (cli.app, parts)]
    assert answers[0] == answers[1] != ""
