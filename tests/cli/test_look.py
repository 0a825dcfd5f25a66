"""Decisions of the commands that inspect."""

import json
import shutil
from pathlib import Path
from typing import Any


def test_runs_are_deleted_only_with_consent(run: Path, said: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "runs" / "a"))
    code, _, err = said("runs", copy.parent, "--delete", "a", "--json")
    assert code == 2 and "add --yes to delete without confirmation" in err and copy.exists()
    code, out, _ = said("runs", copy.parent, "--delete", "a", "--yes", "--json")
    assert code == 0 and json.loads(out) == {"deleted": [str(copy)]} and not copy.exists()


def test_a_folder_with_a_recipe_is_examined_as_a_run(run: Path, said: Any, tmp_path: Path) -> None:
    code, out, _ = said("doctor", run, "--json")
    assert code == 0 and json.loads(out)["what"] == "run"
    copy = Path(shutil.copytree(run, tmp_path / "a"))
    (copy / "tokenizer.json").write_text("{")
    code, out, _ = said("doctor", copy, "--json")
    assert code == 1 and any(finding["level"] == "error" for finding in json.loads(out)["findings"])
