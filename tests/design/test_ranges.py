"""Every number that a config takes has a range, and what lies outside is refused in one line."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_origin

import pytest
from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo

import foretell
from foretell import config
from foretell.config import Amount, Config, Tagged
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe


def every_config() -> list[type[Config]]:
    """All classes of settings in the package, whether a recipe reaches them or not."""
    for module in pkgutil.walk_packages(foretell.__path__, "foretell."):
        if not module.name.startswith("foretell.bench.workloads") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(cls: type[Config]) -> Iterator[type[Config]]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    return sorted({cls for cls in below(Config) if cls.__module__.startswith("foretell.")}, key=str)


def unbounded(annotation: Any, metadata: tuple[Any, ...] = ()) -> list[str]:
    """The numbers in a type that have no least or no largest value; floats are finite in every `Config`."""
    if any(isinstance(item, Tagged) for item in metadata):
        return []  # its members are configs of their own
    if hasattr(annotation, "__metadata__"):
        found = FieldInfo.from_annotation(annotation)
        return unbounded(found.annotation, (*found.metadata, *metadata))
    if annotation in (int, float):
        bounds = {
            name for item in metadata for name in ("ge", "gt", "le", "lt") if getattr(item, name, None) is not None
        }
        return [] if bounds & {"ge", "gt"} and bounds & {"le", "lt"} else [annotation.__name__]
    arguments = get_args(annotation)
    plain = [part for part in arguments if part is not NoneType]
    inherited = metadata if get_origin(annotation) is not tuple else ()
    return [found for part in plain if not isinstance(part, str) for found in unbounded(part, inherited)]


CONFIGS = every_config()


def test_the_walk_finds_what_is_not_in_a_recipe_too() -> None:
    names = {cls.__name__ for cls in CONFIGS}
    assert names >= {"Recipe", "AdaptationConfig", "FeaturesConfig", "LSTMConfig", "SavingConfig", "FoldConfig"}


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(cls: type[Config]) -> None:
    assert cls.model_config["allow_inf_nan"] is False
    for name, field in cls.model_fields.items():
        assert not unbounded(field.annotation, tuple(field.metadata)), f"{cls.__name__}.{name}"


def test_the_test_sees_numbers_without_a_range() -> None:
    class Odd(Config):
        plain: int = 1
        half: float = Field(default=1.0, gt=0)
        inside: tuple[int, ...] = ()
        either: float | None = None
        whole: config.Size = 1
        shares: tuple[config.Share, config.Share] | None = None

    found = {name for name, field in Odd.model_fields.items() if unbounded(field.annotation, tuple(field.metadata))}
    assert found == {"plain", "half", "inside", "either"}


def test_amounts_are_finite() -> None:
    for value in (math.inf, math.nan, 0, -1):
        with pytest.raises(ValueError, match="value"):
            Amount(value=value, unit="steps")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("training.gradient_clip=-1", "training.gradient_clip: should be greater than 0, not -1"),
        ("training.gradient_clip=0", "training.gradient_clip: should be greater than 0, not 0"),
        ("training.gradient_clip=nan", "training.gradient_clip: should be a finite number, not nan"),
        ("checkpoint.keep=-1", "checkpoint.keep: should be greater than 0, not -1"),
        ("checkpoint.keep=0", "checkpoint.keep: should be greater than 0, not 0"),
        ("training.patience=-1", "training.patience: should be greater than or equal to 0, not -1"),
        ("limit=1e400steps", "limit: '1e400steps' is not an amount"),
        ("limit=infsteps", "limit: 'infsteps' is not an amount"),
        ("limit=5", 'limit: 5 is not an amount; write "5steps", "5epochs" or "5m"'),
        ("limit={value=inf, unit='steps'}", "limit.value: should be a finite number, not inf"),
        ("limit={value=-1, unit='steps'}", "limit.value: should be greater than 0, not -1"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate: should be a finite number, not inf"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate: should be greater than 0, not 0"),
        ("optimizer.betas=[0.9, 1]", "optimizer.betas.1: should be less than 1, not 1"),
        ("optimizer.weight_decay=-0.1", "optimizer.weight_decay: should be greater than or equal to 0, not -0.1"),
        ("seed=-1", "seed: should be greater than or equal to 0, not -1"),
        ("seed=9223372036854775808", "seed: should be less than 9223372036854775808, not 9223372036854775808"),
        ("seed=" + "9" * 4000, "seed: should be"),
        ("evaluation.columns=0", "evaluation.columns: should be greater than 0, not 0"),
        ("model.init_range=-0.1", "model.init_range: should be greater than 0, not -0.1"),
        ("model.embedding_range=nan", "model.embedding_range: should be a finite number, not nan"),
        ("model.layers=10000000", "model.layers: should be less than or equal to 1024, not 10000000"),
        ("model.hidden=10000000", "model.hidden: should be less than or equal to 1048576, not 10000000"),
        ("model.dropout.input=1", "model.dropout.input: should be less than 1, not 1"),
        ("seeds=1000000", "seeds: should be less than or equal to 1000, not 1000000"),
        ("schedule={kind='plateau', by=1e12}", "schedule.by: should be less than or equal to 1"),
        ("data.tokenizer={kind='unigram', size=0}", "data.tokenizer.size: should be greater than or equal to"),
    ],
)
def test_what_is_out_of_range_is_refused(setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("char-lstm", [setting])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_limits_of_a_choice_are_in_the_schema() -> None:
    assert TypeAdapter(config.Size).json_schema() == {
        "exclusiveMaximum": 2**31,
        "exclusiveMinimum": 0,
        "type": "integer",
    }
