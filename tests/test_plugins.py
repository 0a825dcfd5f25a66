"""Kinds and trackers of installed packages: short names that stand for paths."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import members

import foretell
from foretell import plugins, trust
from foretell.config import installed_kinds
from foretell.errors import ConfigError
from foretell.nn.heads import FullHeadConfig, HeadChoice
from foretell.recipe.names import check_recipe
from foretell.tools.look.show import describe

ENTRIES = """
[foretell.kinds]
head.angular = outside:CosineHeadConfig
head.lost = no_such_package:Config

[foretell.trackers]
listing = outside_tracker:Listing
broken = no_such_package:Tracker
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package as pip leaves it: a folder on the path with the names it brings."""
    info = tmp_path / "site" / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(info.parent))
    plugins.installed.cache_clear()
    yield info.parent
    plugins.installed.cache_clear()


def test_a_short_name_stands_for_the_path_and_the_recipe_stores_the_path(package: Path) -> None:
    assert (
        plugins.path_of("angular") == plugins.path_of("head.angular") == "outside:CosineHeadConfig"
        and plugins.path_of("full") is None
    )
    for head in ("angular", {"kind": "angular", "sharpness": 2.0}):
        recipe = foretell.load_recipe({"head": head})
        assert type(recipe.head).__name__ == "CosineHeadConfig"
        assert recipe.tree()["head"]["kind"] == "outside:CosineHeadConfig"
    assert foretell.load_recipe({"head": "full"}).head == FullHeadConfig()


def test_a_run_from_elsewhere_loads_no_installed_package(package: Path) -> None:
    with trust.foreign(), pytest.raises(ConfigError, match=r"would import 'outside:CosineHeadConfig'.*--trust"):
        foretell.load_recipe({"head": "angular"})
    with trust.foreign(), pytest.raises(ConfigError, match=r"would load the tracker 'listing'.*--trust"):
        foretell.load_recipe({"training": {"log_to": ["listing"]}})
    with trust.foreign():
        foretell.load_recipe({"training": {"log_to": ["tensorboard"]}})


def test_a_package_that_cannot_be_loaded_is_an_error_where_it_is_named_only(package: Path) -> None:
    with pytest.raises(ConfigError, match="head: cannot load 'no_such_package:Config': No module named"):
        foretell.load_recipe({"head": "lost"})
    assert set(installed_kinds("head", members(HeadChoice))) == {"angular"}


def test_show_lists_and_describes_them(package: Path) -> None:
    listed = {kind["kind"]: kind["text"] for kind in describe("head")["kinds"]}
    assert listed["angular"].endswith("(outside)")
    shown = describe("angular")
    assert shown["section"] == "head" and 'kind = "angular"' in shown["toml"] and "sharpness = 10.0" in shown["toml"]
    assert describe("head.angular") == shown
    assert "angular" not in {kind["kind"] for kind in describe("cell")["kinds"]}  # which is built alike
    with pytest.raises(ConfigError, match=r"did you mean 'head\.angular'"):
        describe("angula")


def test_names_are_checked_before_anything_is_imported(package: Path, tmp_path: Path) -> None:
    check_recipe("char-lstm", ["head=angular"])
    with pytest.raises(ConfigError, match="unknown kind 'angula'"):
        check_recipe("char-lstm", ["head=angula"])


def test_without_such_packages_nothing_is_found() -> None:
    code = "from foretell import plugins; print(plugins.installed('foretell.none'), plugins.path_of('none'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "{} None\n"
