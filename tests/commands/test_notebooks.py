"""The notebooks of the pages: stored without outputs, and their code runs."""

import json
import re
import runpy
import time
from pathlib import Path
from typing import Any

import pytest

import foretell

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SHORT = {"limit": "2steps", "model__hidden": 16, "model__embedding_dim": 16}
"""settings of the trainings where the code alone is tested"""


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def cells(path: Path, kind: str) -> list[str]:
    """The sources of the cells of a kind."""
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_stored(path: Path) -> None:
    notebook = read(path)
    assert notebook["nbformat"] == 4 and notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_code_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With trainings of a few steps."""
    train = foretell.train

    def shortly(recipe: str, out: Path, **settings: Any) -> foretell.Trained:
        return train(recipe, out, **settings | {name: SHORT[name] for name in SHORT.keys() & settings})

    monkeypatch.setattr(foretell, "train", shortly, raising=False)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "__main__"}
    for source in cells(path, "code"):
        exec(compile(source, path.name, "exec"), scope)
    printed = capsys.readouterr().out
    if path.stem == "own-text":
        bits = [float(number) for number in re.findall(r"^([\d.]+) bits per byte  runs", printed, re.MULTILINE)]
        assert len(bits) == 3 and bits[2] <= min(bits[:2]) + 0.05  # mixing does not lose on the test split
    else:
        assert 0.6 < float(re.findall(r"([\d.]+)  bag of words", printed)[0]) < 1
        assert set(scope["measured"]["by_label"]) == {"good", "bad", "unsure"} and "The bed was rude." in printed


TABLES = {
    "own.csv": "\ufeffSatz;Art;Quelle\nDer See war schön.;gut;App\nDas Bett war kalt.;schlecht;Web\n",
    "own.jsonl": '{"Satz": "Der See war schön.", "Art": "gut"}\n{"Satz": "Das Bett war kalt.", "Art": "schlecht"}\n',
}
"""tables of users: from Excel, with another column of few values, and lines of JSON"""


@pytest.mark.parametrize("name", TABLES)
def test_own_labels_reads_the_columns_it_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    asked: dict[str, Any] = {}
    monkeypatch.setattr(foretell, "train", lambda recipe, **settings: asked.update({recipe: settings}), raising=False)
    monkeypatch.chdir(tmp_path)
    first, *others = cells(ROOT / "docs" / "notebooks" / "own-labels.ipynb", "code")
    first = first.replace("opinions.csv", name).replace("what they wrote", "Satz").replace('"opinion"', '"Art"')
    scope: dict[str, Any] = {}
    for source in [first, *others[:2]]:
        exec(source, scope)
    assert scope["texts"] == ["Der See war schön.", "Das Bett war kalt."] and scope["labels"] == ["gut", "schlecht"]
    assert asked["classify"]["data__corpus"] == name
    assert asked["classify"]["data__reader"] == {"texts": ["Satz"], "label": "Art"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_in_a_kernel(path: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    begin = time.monotonic()
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    print(f"{path.stem}: {time.monotonic() - begin:.0f} s")
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.get("text", "") for output in outputs)
    assert any("<table>" in output.get("data", {}).get("text/html", "") for output in outputs)  # runs show themselves
    if path.stem == "own-labels":
        assert float(re.findall(r"accuracy ([\d.]+)", printed)[0]) > float(re.findall(r"([\d.]+)  bag", printed)[0])


def test_the_page_shows_their_cells() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "pages.py"), run_name="pages")
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    made = pages["on_page_markdown"](page)
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in page
        for source in cells(path, "code"):
            assert f"```python\n{source}\n```" in made
    assert made.count("\n# ") == 0 and made.startswith("# Notebooks\n") and "\n## Your own text\n" in made
