"""Scales of plots."""

import numpy as np
import pytest

from foretell.tools.drawing import library, limit_height, scale, wide

pytest.importorskip("matplotlib")


def test_values_over_a_factor_of_thirty_take_a_logarithmic_scale() -> None:
    narrow, broad = np.array([1.0, 29.0]), np.array([1.0, np.nan, 31.0, -5.0])
    assert not wide([narrow]) and wide([broad]) and not wide([np.array([])])
    figure, (linear, logarithmic) = library().subplots(1, 2)
    scale(linear, [narrow])
    scale(logarithmic, [broad])
    assert (linear.get_yscale(), logarithmic.get_yscale()) == ("linear", "log")
    assert linear.get_ylim()[0] == 0
    library().close(figure)


def test_the_highest_values_are_cut_off() -> None:
    figure, axes = library().subplots()
    values = np.concatenate([np.array([1000.0]), np.linspace(1, 2, 200)])
    limit_height(axes, [values])
    assert axes.get_ylim()[0] < 1 and 2 < axes.get_ylim()[1] < 3
    limit_height(axes, [np.array([np.nan])])
    library().close(figure)
