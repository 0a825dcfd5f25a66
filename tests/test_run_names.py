"""A name that is none of a run: the nearest, or how to get one."""

from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.run import Run


def test_the_nearest_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "recipe.toml").write_text("")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    for name, said in [
        ("minlm", "did you mean 'minilm'"),
        ("other/minlm", "no such folder; name the --out of `foretell train` or `foretell import`"),
        ("checkpoint", f"`foretell import {tmp_path}/checkpoint --out RUN`"),
        ("", "no recipe.toml"),
    ]:
        with pytest.raises(ConfigError, match="is not a run") as caught:
            Run.find(tmp_path / name)
        assert said in str(caught.value)
