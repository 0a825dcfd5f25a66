"""What methods return, as plain values and as tables."""

import json
from dataclasses import FrozenInstanceError, dataclass
from html.parser import HTMLParser

import pytest

from foretell.results import Described, Figures, Result, html_table, shown


@dataclass(frozen=True)
class Guess(Result):
    word: str
    chance: float

    @property
    def odds(self) -> float:
        return self.chance / (1 - self.chance)


class Thing(Described):
    def description(self) -> dict[str, object]:
        return {"run": "runs/a", "parameters": 1200}


class Cells(HTMLParser):
    """The texts and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Cells:
    cells = Cells()
    cells.feed(page)
    return cells


def test_a_result_has_its_fields_and_properties_and_is_frozen() -> None:
    guess = Guess("cat", 0.5)
    assert guess.to_dict() == {"word": "cat", "chance": 0.5, "odds": 1.0}
    assert read(guess._repr_html_()).texts == ["word", "cat", "chance", "0.5", "odds", "1"]
    with pytest.raises(FrozenInstanceError):
        guess.word = "dog"  # type: ignore[misc]


def test_nothing_in_a_table_is_markup() -> None:
    cells = read(html_table([("<i>", "<script>alert(1)</script>"), ("a_b", {"<b>": ["&amp;"]})]))
    assert cells.tags == ["table", "tr", "th", "td", "tr", "th", "td"]
    assert cells.texts == ["<i>", "<script>alert(1)</script>", "a b", "<b> &amp;"]


def test_figures_are_a_dictionary_and_a_table() -> None:
    figures = Figures({"bits_per_byte": 2.123456, "lossy": False})
    assert figures["bits_per_byte"] == 2.123456 and json.loads(json.dumps(figures)) == figures.to_dict()
    assert type(figures.to_dict()) is dict
    assert read(figures._repr_html_()).texts == ["bits per byte", "2.1235", "lossy", "no"]


def test_an_object_says_what_it_holds() -> None:
    assert repr(Thing()) == "Thing(run='runs/a', parameters=1200)"
    assert read(Thing()._repr_html_()).texts == ["run", "runs/a", "parameters", "1,200"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (None, ""),
        (1234567, "1,234,567"),
        (12345.6, "12,346"),
        ([1, 2], "1, 2"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert shown(value) == text
