"""Panels of an error analysis."""

import pytest

from foretell.errors import ConfigError
from foretell.evaluate.calibration import calibration
from foretell.evaluate.task_metrics import score_errors
from foretell.tools.drawing import library
from foretell.tools.measure.analysis_plots import draw

pytest.importorskip("matplotlib")


def test_a_panel_for_each_part() -> None:
    record = {"confusion": {"a": {"a": 3, "b": 1}, "b": {"b": 2}}, "calibration": calibration([(0.9, True)])}
    figure = draw(record)
    matrix, reliability = figure.axes
    assert matrix.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1]]
    assert [text.get_text() for text in matrix.texts] == ["3", "1", "2"]
    assert reliability.patches[0].get_height() == 1
    library().close(figure)
    figure = draw({"errors": score_errors([0.0, 1.0], [0.5, 1.0])})
    assert "0.2500" in figure.axes[0].get_title(loc="left")
    library().close(figure)


def test_bins_of_few_predictions_are_lighter() -> None:
    predictions = [(0.95, True)] * 12 + [(0.55, False)] * 2
    figure = draw({"calibration": calibration(predictions)})
    many, few = sorted(figure.axes[0].patches, key=lambda bar: -bar.get_height())
    assert (many.get_height(), few.get_height()) == (1, 0) and few.get_alpha() < many.get_alpha()
    library().close(figure)


def test_nothing_to_draw() -> None:
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw({"accuracy": 1.0})
