"""The speed of training: estimates in proportion to operations, kept for an hour on one machine."""

from pathlib import Path

import pytest

from foretell.tools import speed
from foretell.tools.sizes import Size
from foretell.tools.speed import Speed, speed_here, stored, tokens_per_second


def test_time_is_in_proportion_to_operations() -> None:
    found = Speed({"recurrent": 6e9}, "cpu", 0.0)
    size = Size("recurrent", 10, 1000, 1, 6000, {})
    assert found.tokens(size) == 1e6
    assert found.tokens(Size("transformer", 10, 1000, 1, 6000, {})) is None
    assert found.tokens(Size("recurrent", None, None, None, None, {})) is None


def test_a_measurement_is_used_for_an_hour_on_its_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path))
    now = 1e9
    calls: list[float] = []

    def measured() -> Speed:
        calls.append(now)
        return Speed({"recurrent": 1.0, "transformer": 2.0}, "cpu", now)

    monkeypatch.setattr(speed, "measured", measured)
    monkeypatch.setattr("time.time", lambda: now)
    first = speed_here()
    now += 3500
    assert speed_here() == first and len(calls) == 1
    now += 200
    assert speed_here() != first and len(calls) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert stored(tmp_path / "speed.json") is None
    monkeypatch.undo()
    file = tmp_path / "speed.json"
    file.write_text(file.read_text().replace("2.0", "9.0"))  # the seal is broken
    assert stored(file) is None
    file.write_text("{")
    assert stored(file) is None


def test_tokens_of_real_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that runs 0.4 s between readings lets one step of 4 rows through, which takes 1.2 s."""
    readings = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: 0.4 * next(readings))
    tokens = 1.2 * tokens_per_second("awd-lstm-tiny", 4)
    assert tokens == pytest.approx(round(tokens)) and round(tokens) % 4 == 0
    assert 4 * 24 / 2 < tokens < 4 * 24 * 2  # windows vary in length
