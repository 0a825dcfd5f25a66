"""Values of options."""

import json
from pathlib import Path

import pytest

from foretell.errors import ConfigError
from foretell.tools.budget import Budget
from foretell.tools.parsing import MIX, layers_of, numbers_of, parse_weights, read_mix, weights_of


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e999", "x", ""])
def test_numbers_within_options_are_finite_too(number: str) -> None:
    for read in (
        lambda: Budget.parse(f"{number}flops"),
        lambda: Budget.parse(f"{number}tokens"),
        lambda: numbers_of(f"1,{number}", "--C", float),
        lambda: weights_of(f"{number},1"),
    ):
        with pytest.raises(ConfigError):
            read()
    if number != "-1":  # a score may count against a hypothesis
        with pytest.raises(ConfigError, match="--weights"):
            parse_weights(f"lm={number}")


def test_numbers_in_order() -> None:
    assert numbers_of("1,10", "--top", int) == (1, 10)
    assert weights_of("0.7,0.3") == [0.7, 0.3]
    assert weights_of(None) is None


def test_layers_by_hand() -> None:
    assert layers_of("all") == "all" and layers_of("1,2,-1") == (1, 2, -1)


def test_a_mix_is_read_from_its_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / MIX).write_text(json.dumps({"layers": [0, 1], "weights": [1, 3]}))
    assert read_mix(tmp_path) == read_mix(tmp_path / MIX) == {"layers": [0, 1], "mix": [1.0, 3.0]}
    (tmp_path / MIX).write_text("{}")
    with pytest.raises(ConfigError, match="has no layer weights"):
        read_mix(tmp_path)
