"""What a task says of a text stays one line, whatever stands in labels and texts."""

import pytest

from foretell.tasks.answering import Answered, Stretch
from foretell.tasks.classification import Classified
from foretell.tasks.selection import Chosen
from foretell.tasks.tagging import Entity, Tags
from foretell.tasks.task import Prediction

ODD = "a\tb\r\nc\x1b"
SPELLED = r"a\tb\r\nc\x1b"


@pytest.mark.parametrize(
    ("prediction", "line"),
    [
        (Classified(ODD, {ODD: 0.5}), f"{SPELLED}\t0.5000"),
        (Classified((ODD, "x,y"), {ODD: 0.5, "x,y": 0.75}), f"{SPELLED},x\\,y\t0.5000,0.7500"),
        (Chosen(0, ODD, (0.5,)), f"0\t0.5000\t{SPELLED}"),
        (Tags((ODD,), (ODD,), (0.5,), ()), SPELLED),
        (Tags(("x",), ("B-x",), (0.5,), (Entity(ODD, ODD, 0, 1, 0.5),)), f"0:1 {SPELLED} a b c\\x1b"),
        (Answered("1", ODD, 0, 5, None, (Stretch(ODD, 0, 5, 0.5),)), "a\\tb\\r c\\x1b\t0\t5\t0.5000"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Prediction) else "",
)
def test_a_line_is_one_line(prediction: Prediction, line: str) -> None:
    assert prediction.line() == line
    assert line.count("\n") == 0
