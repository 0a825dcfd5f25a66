"""Pictures of races: each contender's points by hand, and folders that are none."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretell.cli import app
from foretell.errors import ConfigError
from foretell.tools.look.plot_races import curves, plot_races, read_race, ticks


def result(seed: int, bits: float, seconds: float) -> dict[str, Any]:
    spent = {"seconds": seconds, "validation_seconds": 1.0, "trained_tokens": 9, "flops": 8.0}
    return {"seed": seed, "bits_per_byte": bits, **spent}


def race(folder: Path, budget: str, results: dict[str, Any], changes: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    contenders = dict.fromkeys(name.rpartition("-seed")[0] for name in results)
    found = {"budget": budget, "split": "test", "contenders": contenders, "results": results} | (changes or {})
    (folder / "race.json").write_text(json.dumps(found))
    return folder


def test_points_are_means_over_seeds_by_cost(tmp_path: Path) -> None:
    slow = race(tmp_path / "slow", "5m", {"gpt-seed1": result(1, 1.5, 99.0), "gpt-seed2": result(2, 1.7, 101.0)})
    fast = race(tmp_path / "fast", "10s", {"gpt-seed1": result(1, 2.5, 9.0), "ngram-seed1": result(1, 2.0, 1.0)})
    found = curves([read_race(slow), read_race(fast)], "seconds")
    assert found["ngram"] == [(2.0, 2.0, 0.0)]
    assert found["gpt"][0] == (10.0, 2.5, 0.0)
    assert found["gpt"][1] == pytest.approx((101.0, 1.6, 0.2 / 2**0.5))
    pytest.importorskip("matplotlib")
    done = CliRunner().invoke(app, ["plot", str(slow), str(fast), "--out", str(tmp_path / "races.png"), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["y"] == "bits_per_byte"
    assert (tmp_path / "races.png").read_bytes().startswith(b"\x89PNG")


def test_races_that_cannot_share_a_plot(tmp_path: Path) -> None:
    results = {"gpt-seed1": result(1, 1.5, 99.0)}
    one = race(tmp_path / "one", "5m", results)
    with pytest.raises(ConfigError, match="different units of budgets: seconds, tokens"):
        plot_races([one, race(tmp_path / "two", "5e6tokens", results)], None)
    with pytest.raises(ConfigError, match="different splits: test, valid"):
        plot_races([one, race(tmp_path / "three", "5m", results, {"split": "valid"})], None)
    mixed = CliRunner().invoke(app, ["plot", str(one), "--x", "seconds"])
    assert isinstance(mixed.exception, ConfigError) and "without --x" in str(mixed.exception)


@pytest.mark.parametrize("changes", [{"results": {}}, {"results": {"gpt-seed1": {"seconds": 1}}}, {"budget": 3}])
def test_damaged_races_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = race(tmp_path / "race", "5m", {"gpt-seed1": result(1, 1.5, 99.0)}, changes)
    with pytest.raises(ConfigError, match=r"race\.json"):
        plot_races([folder], None)


def test_axes_of_time_have_round_ticks() -> None:
    assert ticks(50, 3700) == [60, 120, 300, 600, 1200, 1800, 3600]
    assert ticks(0.2, 0.3) == [0.2]
