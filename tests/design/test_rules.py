"""The package follows the rules of `rules.py` and `scripts/phrases.py`, and each rule detects made-up violations."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
from design import known as ratchet
from design.known import ALL, known, unknown
from design.rules import (
    CONFIG_FIELDS,
    FILE_LINES,
    FUNCTION_LINES,
    MEDIAN_LINES,
    PERCENTILE_95_LINES,
    TEST_LINES,
    TRAINER_LINES,
    lengths,
)
from design.source import Source, Violation, package


@cache
def violations_of(rule: str) -> list[Violation]:
    """What the package does against a rule."""
    return list(ALL[rule](package()))


# --- the package ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ALL)
def test_the_package_keeps_the_rule(rule: str) -> None:
    found = unknown(rule, violations_of(rule))
    assert not found, "\n".join([f"{rule}: more than tests/design/known.toml allows", *found])


@pytest.mark.parametrize("rule", ALL)
def test_no_more_exceptions_are_known_than_there_are(rule: str) -> None:
    """Otherwise a rule could be broken again: `python -m design.known --shrink` lowers the counts."""
    assert sum(known().get(rule, {}).values()) == len(violations_of(rule))


def test_known_exceptions_are_of_rules() -> None:
    assert known().keys() <= ALL.keys()


def test_functions_are_short() -> None:
    found = lengths(package())
    assert found[len(found) // 2] <= MEDIAN_LINES
    assert found[int(0.95 * len(found))] <= PERCENTILE_95_LINES


def test_only_the_total_of_known_exceptions_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, "known", lambda: {"rule": {"a.py": 1, "b.py": 1}})
    moved = [Violation("b.py", 1, "x"), Violation("c.py", 2, "x")]
    assert unknown("rule", moved) == []
    assert unknown("rule", [*moved, Violation("c.py", 3, "x")]) == ["c.py:2: x", "c.py:3: x"]
    assert unknown("another", moved[:1]) == ["b.py:1: x"]


# --- made-up violations -----------------------------------------------------------------------------


def violations(rule: str, root: Path, files: Mapping[str, str]) -> list[str]:
    """Violations of a rule in a checkout with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return [str(violation) for violation in ALL[rule](Source(root))]


def test_a_circle_is_seen_through_functions_and_packages(tmp_path: Path) -> None:
    files = {
        "foretell/__init__.py": "",
        "foretell/a.py": "import os\nfrom foretell.p import thing\n",
        "foretell/p/__init__.py": "from foretell.p.inner import thing\n",
        "foretell/p/inner.py": "def thing():\n    from .. import b\n    return b\n",
        "foretell/b.py": "import foretell.a as a\n",
        "foretell/outside.py": "from foretell import a\n",
    }
    found = violations("circles", tmp_path, files)
    assert [line.partition(":")[0] for line in found] == [
        "foretell/a.py", "foretell/b.py", "foretell/p/__init__.py", "foretell/p/inner.py"
    ]  # fmt: skip
    assert found[0] == (
        "foretell/a.py:2: import circle: foretell.a -> foretell.p (foretell/a.py:2), "
        "foretell.p -> foretell.p.inner (foretell/p/__init__.py:1), "
        "foretell.p.inner -> foretell.b (foretell/p/inner.py:2), "
        "foretell.b -> foretell.a (foretell/b.py:1)"
    )


def test_a_circle_is_seen_through_imports_by_name(tmp_path: Path) -> None:
    files = {
        "foretell/a.py": "from foretell import b\n",
        "foretell/b.py": 'import importlib\ndef f():\n    return importlib.import_module("foretell.a")\n',
    }
    assert len(violations("circles", tmp_path, files)) == 2


def test_imports_for_types_make_no_circle(tmp_path: Path) -> None:
    files = {
        "foretell/a.py": "from foretell.b import B\n",
        "foretell/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from foretell.a import A\n",
    }
    assert violations("circles", tmp_path, files) == []


def test_long_files_are_seen(tmp_path: Path) -> None:
    files = {
        "foretell/fits.py": "x = 1\n" * FILE_LINES,
        "foretell/long.py": "x = 1\n" * (FILE_LINES + 1),
        "foretell/training/trainer.py": "x = 1\n" * (TRAINER_LINES + 1),
        "tests/test_fits.py": "x = 1\n" * TEST_LINES,
        "tests/test_long.py": "x = 1\n" * (TEST_LINES + 1),
    }
    assert violations("long_files", tmp_path, files) == [
        f"foretell/long.py:{FILE_LINES}: {FILE_LINES + 1} lines, at most {FILE_LINES}",
        f"foretell/training/trainer.py:{TRAINER_LINES}: {TRAINER_LINES + 1} lines, at most {TRAINER_LINES}",
        f"tests/test_long.py:{TEST_LINES}: {TEST_LINES + 1} lines, at most {TEST_LINES}",
    ]


def test_long_functions_are_seen(tmp_path: Path) -> None:
    body = "    x = 1\n"
    source = "def fits():\n" + body * (FUNCTION_LINES - 1) + "@decorated\ndef long():\n" + body * FUNCTION_LINES
    found = violations("long_functions", tmp_path, {"foretell/a.py": source})
    line = FUNCTION_LINES + 2
    assert found == [f"foretell/a.py:{line}: long has {FUNCTION_LINES + 1} lines, at most {FUNCTION_LINES}"]
    assert lengths(Source(tmp_path)) == [FUNCTION_LINES, FUNCTION_LINES + 1]


def test_large_configs_are_seen_with_inherited_settings(tmp_path: Path) -> None:
    settings = "\n".join(f"    setting_{n}: int = {n}" for n in range(CONFIG_FIELDS))
    files = {
        "foretell/config.py": "class Config(BaseModel):\n    model_config = {}\n",
        "foretell/a.py": f"from foretell.config import Config\nclass Fits(Config):\n    _x: int\n{settings}\n",
        "foretell/b.py": """\
            from typing import ClassVar
            from foretell import a
            class Same(a.Fits):
                kind: ClassVar[str] = "same"
                setting_0: int = 1
            class Large(Same):
                further: int = 1
            """,
    }
    found = violations("large_configs", tmp_path, files)
    assert found == [f"foretell/b.py:6: Large has {CONFIG_FIELDS + 1} settings, at most {CONFIG_FIELDS}"]


OTHER, CONFIG = "models.net.Other", "data.batches.streams.StreamsConfig"
CLASSES = {
    "foretell/config.py": "class Config: ...\n",
    "foretell/models/__init__.py": "from foretell.models.net import Net\n",
    "foretell/models/net.py": "class Net: ...\nclass Other: ...\ndef same(x): return isinstance(x, Other)\n",
    "foretell/data/batches/batches.py": "class Batches: ...\n",
    "foretell/data/batches/streams.py": """\
        from foretell.config import Config
        from foretell.data.batches.batches import Batches
        class Streams(Batches): ...
        class StreamsConfig(Config): ...
        class Window: ...
        def same(x): return isinstance(x, Streams | StreamsConfig)
        """,
}


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("from foretell.models.net import Net\nisinstance(x, Net)", ["models.net.Net"]),
        ("from foretell.models import Net as N\nissubclass(x, (int, N))", ["models.net.Net"]),
        ("from foretell import models\nisinstance(x, models.Net | int)", ["models.net.Net"]),
        ("import foretell.models.net\nisinstance(x, foretell.models.net.Net)", ["models.net.Net"]),
        ("from foretell.models import net as n\nA = n.Net, n.Other\nisinstance(x, A)", ["models.net.Net", OTHER]),
        ("def f():\n    from foretell.models import Net\n    return type(x) is Net", ["models.net.Net"]),
        ("from foretell.models import Net\nNet is type(x)", ["models.net.Net"]),
        ("from foretell.models import Net\nx.__class__ == Net", ["models.net.Net"]),
        ("from foretell.models import Net\nmatch x:\n    case [Net(a=1)]: pass", ["models.net.Net"]),
        ("from foretell.models import Net\n{Net: 1, int: 2}[type(x)]", ["models.net.Net"]),
        ("from foretell.models import Net; T = {int: 1, Net: 2}; T.get(type(x), 0)", ["models.net.Net"]),
        ("from foretell.models import Net\n{Net: 1}[x.kind]", []),
        ("from foretell.models import Net\nisinstance(x, int)", []),
        ("from foretell.data.batches.batches import Batches\nisinstance(x, Batches)", ["data.batches.batches.Batches"]),
        ("from foretell.data.batches import streams as s\nisinstance(x, s.StreamsConfig)", [CONFIG]),
        ("from foretell.data.batches.streams import Window\nisinstance(x, Window)", []),
        ("from foretell.models import Net\nNet(isinstance(x, dict))", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["foretell/tools.py", "foretell/data/rows.py"])
def test_foreign_checks_are_seen(source: str, asked: list[str], name: str, tmp_path: Path) -> None:
    found = violations("foreign_checks", tmp_path, CLASSES | {name: source})
    owners = ["data.batches" if target.startswith("data") else "models" for target in asked]
    line, wanted = source.count("\n") + 1, zip(asked, owners, strict=True)
    assert found == [f"{name}:{line}: checks for foretell.{t}; only foretell.{o} may" for t, o in wanted]


def test_missing_mirrors_are_seen(tmp_path: Path) -> None:
    deciding = "def f(x):\n    if x:\n        return 1\n"
    files = {
        "foretell/a.py": deciding,
        "foretell/p/b.py": deciding,
        "foretell/p/__init__.py": deciding,
        "foretell/p/c.py": deciding,
        "foretell/plain.py": "def f(x):\n    return x\n",
        "foretell/table.py": "if True:\n    x = 1\n",
        "tests/p/test_c.py": "def test_c():\n    pass\n",
        "tests/p/test_b.py": "",
    }
    assert violations("missing_mirrors", tmp_path, files) == [
        "foretell/a.py:1: no tests/test_a.py",
        "foretell/p/__init__.py:1: no tests/p/test_p.py",
        "foretell/p/b.py:1: no tests/p/test_b.py",
    ]


def test_bare_references_are_seen(tmp_path: Path) -> None:
    source = '''
        def f():
            """See `A.f`."""
        def g():
            """See `A.g`; in metres."""
        class A:
            """A noun, see `f`."""
        '''
    found = violations("bare_references", tmp_path, {"foretell/a.py": source})
    assert found == ["foretell/a.py:2: See `A.f`. Use typing.override instead"]


# --- phrases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"""Sums over\nso many\nrows."""', "2: so many -> a number by its name: `batch` rows, N tokens, up to n"),
        ("x = f(1)  # what is left", "1: what is left -> a noun: the known words, the rest"),
        ("fail(f'{name!r} is no task')", "1: is no task -> is not a"),
        ('"""What a model reads."""', "1: What a model reads. -> a noun ('Sources of text.') or a verb ('Return ...')"),
        ('"""A `ConfigError` where it fails."""', "1: A `ConfigError` where -> 'Raise `ConfigError` if ...'"),
        ('"""Rows for people."""', "1: for people -> human-readable; for a terminal"),
    ],
)
def test_phrases_are_seen(text: str, said: str, tmp_path: Path) -> None:
    found = violations("phrases", tmp_path, {"foretell/a.py": "\n" + text})
    line, _, rest = said.partition(": ")
    assert [entry.casefold() for entry in found] == [f"foretell/a.py:{int(line) + 1}: {rest}".casefold()]


def test_phrases_are_seen_in_pages_and_comments_of_recipes(tmp_path: Path) -> None:
    page = "# Title\n\nIt goes\non with `nobody`.\n\n```sh\nnobody\n```\n"
    files = {
        "docs/page.md": page,
        "recipes/a.toml": 'name = "nobody here"  # for nobody\n',
        "README.md": "It is told.\n",
    }
    found = violations("phrases", tmp_path, files)
    assert [line.partition(" ->")[0] for line in found] == [
        "README.md:1: told",
        "docs/page.md:3: goes on",
        "recipes/a.toml:1: nobody",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "told = nobody(behind)",
        '"""Return as many rows as fit; there is no limit, and it is no longer than `so many`."""',
        '"""What is the capital of France?"""',
        "f'{told} rows'",
        '"""Value or None, of None."""',
    ],
)
def test_plain_text_and_code_pass(text: str, tmp_path: Path) -> None:
    assert violations("phrases", tmp_path, {"foretell/a.py": text}) == []
