"""README.md and the pages in docs/: every foretell command and Python block on them runs, in order, in one process.

A block with the title of a file (```toml title="mine.toml") is written to that file. What would take too
long says so in a comment before its block, which readers do not see:

    <!-- tests add: limit=10steps -->       these settings go to its trainings as well
    <!-- tests only resolve this: why -->   its command lines are parsed, and its recipes resolved with their settings
    <!-- tests only compile this: why -->   its Python is compiled, not run
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import foretell
from foretell.cli import VERBS, app
from foretell.recipe.files import find_recipe, recipe_names
from foretell.recipe.loading import load_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- tests (?P<note>.*?) -->\n)?^```(?P<language>\w+)(?: title=\"(?P<file>[\w.]+)\")?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
TRAIN = ("train", "race", "find-lr")
"""verbs that name recipes, then settings"""
CAN_DRAW = importlib.util.find_spec("matplotlib") is not None


@dataclass(frozen=True)
class Block:
    """Code on a page, and what its comment says about running it."""

    language: str
    code: str
    file: str | None
    note: str

    @property
    def added(self) -> list[str]:
        """Settings for the trainings of this block."""
        return shlex.split(self.note.removeprefix("add:")) if self.note.startswith("add:") else []

    def commands(self) -> Iterator[list[str]]:
        """Its foretell commands; `PYTHONPATH=.` before them is what the test does anyway."""
        for line in self.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("PYTHONPATH=. "), comments=True)
            if words[:1] == ["foretell"]:
                yield words[1:]


def blocks(page: Path) -> list[Block]:
    """The code of a page in order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["code"], m["file"], (m["note"] or "").strip()) for m in found]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the reader has it: the README, a text, and the runs that the demo leaves (here much shorter ones)."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "README.md", folder)
    text = folder / "text.txt"
    text.write_text("\n".join(page.read_text(encoding="utf-8") for page in PAGES)[:30_000])  # it is read often
    tokens: dict[str, Any] = {"data__corpus": str(text), "data__tokenizer": {"kind": "bpe", "size": 300}}
    out = folder / "runs" / "demo"
    foretell.train("ngram-5", out / "ngram-5-seed1", quiet=True, **tokens)
    foretell.train(
        "awd-lstm-tiny",
        out / "awd-lstm-tiny-seed1",
        limit="3steps",
        model__hidden=32,
        model__embedding_dim=32,
        quiet=True,
        **tokens,
    )
    return folder


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder anew for each page, as the place where commands are typed."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def invoke(arguments: list[str]) -> str:
    """What a command prints on stdout; it has to succeed."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, f"foretell {shlex.join(arguments)}: {done.exception!r}\n{done.output[-2000:]}"
    assert done.stdout.strip(), f"foretell {shlex.join(arguments)} printed nothing"
    return done.stdout


def resolve(arguments: list[str]) -> None:
    """Parse a command line without running it, and resolve the recipes it names."""
    verb, *rest = arguments
    typer.main.get_command(app).commands[verb].make_context(verb, list(rest))  # type: ignore[attr-defined]
    if verb in TRAIN:
        settings = [word for word in rest if "=" in word and not word.startswith("-")]
        plain = takewhile(lambda word: not word.startswith("-"), rest)
        for name in [word for word in plain if "=" not in word]:
            load_recipe(find_recipe(name), settings)


def run_shell(block: Block) -> None:
    """The commands of a block."""
    for arguments in block.commands():
        if block.note.startswith("only resolve") or (arguments[0] == "plot" and not CAN_DRAW):
            resolve(arguments)
            continue
        added = block.added if arguments[0] in TRAIN else []
        printed = invoke([*arguments, *added])
        if "--json" in arguments:
            assert isinstance(json.loads(printed), dict)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_on_the_page_works(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.code, encoding="utf-8")
        elif block.language == "sh":
            run_shell(block)
        elif block.language == "python":
            code = compile(block.code, f"{page.name}", "exec")
            if not block.note.startswith("only compile"):
                exec(code, names)


def test_the_tests_see_the_blocks() -> None:
    """A page that is written another way than expected would be tested by nothing."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(blocks(page)) == len(re.findall(r"^```\w", text, re.MULTILINE)), page.name
        shown = re.findall(r"^(?:PYTHONPATH=\. )?foretell ", text, re.MULTILINE)
        assert len(shown) == sum(len(list(block.commands())) for block in blocks(page)), page.name
    assert sum(len(list(block.commands())) for page in PAGES for block in blocks(page)) > 50


@pytest.mark.parametrize(
    "wrong",
    [["train", "no-such-recipe"], ["train", "char-lstm", "model.layer=3"], ["train", "char-lstm", "--ou", "x"]],
    ids=["recipe", "setting", "option"],
)
def test_resolving_finds_mistakes(wrong: list[str]) -> None:
    with pytest.raises(Exception, match=r"no recipe|no such setting|No such option"):
        resolve(wrong)


# --- what is made when the pages are built --------------------------------------------------------


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "scripts" / "pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pages"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_of_recipes_has_every_recipe(pages: ModuleType) -> None:
    made = pages.recipes()
    assert [line.split("(")[0] for line in made.splitlines() if line.startswith("| [")] == [
        f"| [{name}]" for name in recipe_names()
    ]
    assert "| [char-lstm](#char-lstm) | tinyshakespeare | character | lstm 128 - 128 - 128 | 264,192 |" in made
    # 2 layers, each 4 gates x 128 rows x (128 inputs + 128 outputs + 2 biases)
    assert 2 * 4 * 128 * (128 + 128 + 2) == 264_192


def test_the_readme_names_every_recipe_once() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.partition("## Recipes")[2].splitlines() if line.startswith("| ")]
    assert sorted(name for row in rows for name in re.findall(r"`([\w.-]+)`", row)) == recipe_names()


def test_the_page_of_commands_has_every_verb_and_every_option(pages: ModuleType) -> None:
    made = pages.commands()
    help_of = CliRunner()
    for verbs in VERBS.values():
        for name, verb in verbs.items():
            section = made.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
            assert (inspect.getdoc(verb) or "").split(".")[0][:40] in section
            shown = help_of.invoke(app, [name, "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown)) - {"--help"}
            missing = {option for option in options if option not in section}
            assert not missing, f"{name}: {missing}"
            assert len(options) >= 2
            lost = [one.info.help for one in pages.parameters(verb) if words_of(one.info.help) not in words_of(shown)]
            assert not lost, f"{name}: {lost}"  # what looks like a tag is one in a terminal, and not shown


def words_of(text: str) -> str:
    """Without marks of code and line breaks."""
    return " ".join(text.replace("`", "").split())


def test_the_page_of_settings_has_every_kind(pages: ModuleType) -> None:
    made = pages.configuration()
    for words in (
        "## [optimizer]",
        "### `adamw` (default)",
        "### `one-cycle`",
        "| `learned_state` | true or false | `false` |",
    ):
        assert words in made
    assert 'Only with `model.kind = "recurrent"`' in made


def test_the_settings_of_adaptation_are_all_there(pages: ModuleType) -> None:
    made = pages.on_page_markdown("<!-- made: adaptation -->")
    assert "| `dynamic.segment` | whole number \\> 0 | `5` |" in made
    assert "`cache.window`" in made and "`cache.weight`" in made


def test_the_page_of_python_has_every_public_name() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: foretell\.(\w+)$", text, re.MULTILINE)
    assert sorted([*named, "__version__"]) == foretell.__all__


def test_text_keeps_its_signs_in_markdown(pages: ModuleType) -> None:
    assert pages.plain("a_b * <c> | `d_e|f`") == r"a\_b \* &lt;c\> \| `d_e|f`"
    assert pages.table(("a", "b"), [(1, "x\ny")]) == "| a | b |\n| --- | --- |\n| 1 | x y |"
