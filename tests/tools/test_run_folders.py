"""Runs are found by their files, and not inside other runs or links."""

from pathlib import Path

from foretell.tools.run_folders import find_runs, is_run


def test_runs_are_found(tmp_path: Path) -> None:
    for name in ("b", "a/deep", "b/checkpoints/inner"):
        (tmp_path / name / "checkpoints").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "recipe.toml").write_text("")
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "not-a-run" / "recipe.toml").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert find_runs(tmp_path) == [tmp_path / "a" / "deep", tmp_path / "b"]
    assert is_run(tmp_path / "b") and not is_run(tmp_path / "not-a-run") and find_runs(tmp_path / "none") == []
