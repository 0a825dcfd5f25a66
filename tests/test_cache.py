from pathlib import Path

import pytest

from foretell.cache import cache_folder, digest


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "HOME/.cache/foretell"),
        ("linux", {"XDG_CACHE_HOME": "/big"}, "/big/foretell"),
        ("darwin", {}, "HOME/Library/Caches/foretell"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/foretell/cache"),
        ("darwin", {"FORETELL_CACHE": "~/own", "XDG_CACHE_HOME": "/big"}, "HOME/own"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], folder: str
) -> None:
    for name in ("FORETELL_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder() == Path(folder.replace("HOME", str(Path.home())))


def test_parts_of_a_digest_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("a")) == 32
