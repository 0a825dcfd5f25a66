"""Trainings in processes of their own: where they look for modules, and what comes back of their errors."""

from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.tools import subprocesses


def test_children_look_for_no_modules_where_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("typer", "foretell", "json", "rich", "pydantic"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('ran').touch(); raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        subprocesses.Failed, match=r"^foretell bench tariner: no workload 'tariner'; did you mean 'trainer'"
    ):
        subprocesses.child("bench", "tariner", quiet=True)
    assert not (tmp_path / "ran").exists()


def test_what_goes_wrong_in_a_child_is_told_with_file_and_remedy() -> None:
    error = ConfigError("is bad", file="a.toml", line=3, remedy="fix it")
    failed = subprocesses.Failed("train", "x", {"error": error.record(), "exit_code": 2}, 2)
    assert str(failed) == "foretell train x: a.toml:3: is bad; fix it"
    assert failed.wrong_input
    assert str(subprocesses.Failed("train", "x", {"error": "ended with 3"}, 3)) == "foretell train x: ended with 3"
    assert str(subprocesses.Failed("train", "x", {}, 1)) == "foretell train x: failed"
    named = ConfigError("is not a run", file="seeds/seed-1")
    failed = subprocesses.Failed("evaluate", "seeds/seed-1", {"error": named.record()}, 2)
    assert str(failed) == "foretell evaluate: seeds/seed-1: is not a run"
    assert "out of memory" in subprocesses.exit_reason(-9)


def test_a_plan_that_is_damaged_is_named(tmp_path: Path) -> None:
    for content in (b"", b"[1]", b"{\xff", b'{"results": 3}', b"[" * 99999):
        (tmp_path / "race.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"race\.json"):
            subprocesses.begin(tmp_path / "race.json", {}, resume=True)


def test_a_start_that_died_before_its_plan_was_written_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / ".race.json.0123abcd.draft").write_text('{"half')
    assert subprocesses.begin(tmp_path / "race.json", {"seeds": 1}, resume=False) == {}
    assert [item.name for item in tmp_path.iterdir()] == ["race.json"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.md").write_text("")
    with pytest.raises(ConfigError, match=r"exists and has no race\.json"):
        subprocesses.begin(tmp_path / "own" / "race.json", {"seeds": 1}, resume=False)
