"""Heat maps and the page of a probe."""

import numpy as np
import pytest

from foretell.tools.measure.probe_plots import COLUMNS, Heat, grid_of, spans

pytest.importorskip("matplotlib")


def test_grids_of_letters() -> None:
    lines, values = grid_of(Heat("", ["ab", "\n", "c" * COLUMNS], [1.0, 2.0, 3.0]))
    assert lines == ["ab↵" + "c" * (COLUMNS - 3), "ccc"]
    assert values[0, :4].tolist() == [1, 1, 2, 3] and np.isnan(values[1, 3:]).all() and values[1, 2] == 3


def test_colours_by_hand() -> None:
    heat = Heat("", ["<", "b", "c"], [-2.0, 0.5, 3.0])
    low, middle, high = spans(heat, middle=0.5, furthest=2.5)
    assert "&lt;" in low and "#67001f" in low and "#053061" in high  # the ends of the map
    assert "color:#000" in middle and "color:#fff" in high
