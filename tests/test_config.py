"""TOML to typed settings: strictness, hints, merging, overriding, and the recipes they make up."""

import json
from functools import cache
from typing import Annotated, Any, Literal

import pytest
from builders import members
from pydantic import TypeAdapter, ValidationError

from foretell.config import Amount, Config, Tagged, validate
from foretell.data.batches.kinds import BatchesChoice
from foretell.data.tokenizers.kinds import TokenizerChoice
from foretell.errors import ConfigError
from foretell.models.kinds import ModelChoice
from foretell.nn.heads import HeadChoice
from foretell.nn.recurrent.kinds import CellChoice
from foretell.objectives.kinds import ObjectiveChoice
from foretell.objectives.penalties import PenaltyChoice
from foretell.optim.averaging import AveragingChoice
from foretell.optim.optimizers import OptimizerChoice
from foretell.optim.schedules.kinds import ScheduleChoice
from foretell.recipe.recipe import Recipe

CHOICES = {
    "data.batches": BatchesChoice,
    "data.tokenizer": TokenizerChoice,
    "model": ModelChoice,
    "model.cell": CellChoice,
    "head": HeadChoice,
    "objective": ObjectiveChoice,
    "objective.penalties": PenaltyChoice,
    "averaging": AveragingChoice,
    "optimizer": OptimizerChoice,
    "schedule": ScheduleChoice,
}
KINDS = [(place, member) for place, choice in CHOICES.items() for member in members(choice)]


class Apple(Config):
    kind: Literal["apple"] = "apple"
    weight: float = 0.2


class Pear(Config):
    kind: Literal["pear"] = "pear"
    ripe: bool = False
    inner: Apple | None = None


Fruit = Annotated[Apple | Pear, Tagged()]


class Basket(Config):
    count: int = 1
    first: Fruit = Apple()
    rest: tuple[Fruit, ...] = ()
    label: str = ""


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"cuont": 1}, "here: cuont: no such setting; did you mean 'count'?"),
        ({"zzzzz": 1}, "here: zzzzz: no such setting (known: count, first, rest, label)"),
        ({"count": "2"}, "here: count: should be a valid integer, not '2'"),
        ({"count": 2.5}, "here: count: should be a valid integer, not 2.5"),
        ({"count": True}, "here: count: should be a valid integer, not True"),
        ({"label": 3}, "here: label: should be a valid string, not 3"),
        ({"first": {"wieght": 1.0}}, "here: first.wieght: no such setting; did you mean 'weight'?"),
        ({"first": {"kind": "pear", "weight": 1.0}}, "here: first.weight: no such setting"),
        ({"first": "peer"}, "here: first: unknown kind 'peer'; did you mean 'pear'? (known: apple, pear)"),
        ({"first": {"kind": "plum"}}, "here: first: unknown kind 'plum'"),
        ({"rest": [{"kind": "pear", "rype": True}]}, "here: rest.0.rype: no such setting; did you mean 'ripe'?"),
        ({"first": {"kind": "pear", "inner": {"wait": 2.0}}}, "here: first.inner.wait: no such setting"),
        ({"count": "x", "label": 4}, "not 'x'; also label: should be a valid string, not 4"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, "also c: no such setting (known: count, first, rest, label) (and 1 more)"),
        ({"first": "nowhere.at_all:Thing"}, "here: first: cannot load 'nowhere.at_all:Thing': No module named"),
        ({"first": "outside:Pears"}, "cannot load 'outside:Pears'"),
        ({"first": "math:tau"}, "'math:tau' is not a foretell.config.Config"),
        ({"first": {"kind": "outside:PairsConfig", "wdith": 3}}, "did you mean 'width'?"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_mistakes_say_where_and_what_to_write(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Basket, tree, "here")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_are_right() -> None:
    given = {"count": 3, "first": "pear", "rest": ["apple", {"kind": "pear", "ripe": True}, {"weight": 1}]}
    assert validate(Basket, given, "here") == Basket(
        count=3, first=Pear(), rest=(Apple(), Pear(ripe=True), Apple(weight=1.0))
    )


def test_configs_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Basket().count = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value", "unit", "written"),
    [
        ("300steps", 300, "steps", "300steps"),
        ("1step", 1, "steps", "1steps"),
        ("2epochs", 2, "epochs", "2epochs"),
        ("0.5 epochs", 0.5, "epochs", "0.5epochs"),
        ("5e6tokens", 5e6, "tokens", "5000000tokens"),
        ("90s", 90, "seconds", "90s"),
        ("10m", 600, "seconds", "600s"),
        ("1.5h", 5400, "seconds", "5400s"),
        ("1hour", 3600, "seconds", "3600s"),
        ("10min", 600, "seconds", "600s"),
        ("10 mins", 600, "seconds", "600s"),
        ("30sec", 30, "seconds", "30s"),
        ("2hrs", 7200, "seconds", "7200s"),
        ("1h30m", 5400, "seconds", "5400s"),
        ("1h 30min 5s", 5405, "seconds", "5405s"),
        ("2d", 172800, "seconds", "172800s"),
        ("1day", 86400, "seconds", "86400s"),
        ("12345678steps", 12345678, "steps", "12345678steps"),  # to the last digit
        ("0.1234567890123epochs", 0.1234567890123, "epochs", "0.1234567890123epochs"),
        ("1e20tokens", 1e20, "tokens", "1e+20tokens"),
    ],
)
def test_amounts(text: str, value: float, unit: str, written: str) -> None:
    amount = Amount.model_validate(text)
    assert (amount.value, amount.unit) == (value, unit)
    assert str(amount) == written
    assert Amount.model_validate(written) == amount
    assert json.loads(amount.model_dump_json()) == written


@pytest.mark.parametrize(
    "text",
    ["300", "steps", "-1steps", "3 weeks", "1h2steps", "1h2h", "10m x", "m10", "1.2.3steps", ".steps", "", "1e5"],
)
def test_what_is_not_an_amount(text: str) -> None:
    with pytest.raises(ConfigError, match=r'limit: .* is not an amount; write "300steps"'):
        validate(Recipe, {"limit": text}, "recipe")


@pytest.mark.parametrize("amount", ["0epochs", "0steps", "0.0m", 0, -5])
def test_amounts_are_above_zero(amount: str | int) -> None:
    with pytest.raises(ConfigError, match=f"limit: must be above 0, not {amount!r}"):
        validate(Recipe, {"limit": amount}, "recipe")


# --- kinds ----------------------------------------------------------------------------------------


@cache
def schema_of_recipes() -> dict[str, Any]:
    return Recipe.model_json_schema()


@pytest.mark.parametrize(("place", "member"), KINDS, ids=lambda v: v if isinstance(v, str) else v.kind_name())
def test_every_kind_says_what_it_is(place: str, member: type[Config]) -> None:
    assert member.__doc__
    assert isinstance(member.model_fields["kind"].default, str)
    for schema in (TypeAdapter(CHOICES[place]).json_schema(), schema_of_recipes()):
        assert f'"const": "{member.kind_name()}"' in json.dumps(schema)


def test_kinds_differ_within_a_union() -> None:
    for choice in CHOICES.values():
        names = [member.kind_name() for member in members(choice)]
        assert len(names) == len(set(names))
