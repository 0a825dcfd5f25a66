"""Values of options: several in one text, or weights in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foretell.errors import ConfigError

MIX = "mix.json"
"""file with the layer weights in the folder of a probe"""
Weights = dict[str, float]
LARGEST = 1e30
"""bound of scores, errors and weights"""


def layers_of(text: str) -> tuple[int, ...] | str:
    """Parse `all`, or numbers as in `1,2,-1`."""
    if text == "all":
        return text
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ConfigError(f"--layers {text}: write all, or numbers separated by commas, as in 1,2,-1") from None


def numbers_of(text: str, option: str, kind: type[int] | type[float]) -> tuple[Any, ...]:
    """Parse positive numbers, as in `1,10`."""
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < 1e12 for number in numbers):
        raise ConfigError(f"{option} {text}: write numbers above 0 separated by commas, as in 1,10")
    return numbers


def weights_of(text: str | None) -> list[float] | None:
    """Parse weights such as `0.7,0.3`."""
    try:
        weights = [float(part) for part in text.split(",")] if text is not None else None
    except ValueError:
        weights = [-1.0]
    if weights and not all(0 <= weight <= 1 for weight in weights):
        raise ConfigError(f"--mix-weights {text}: write numbers from 0 to 1 separated by commas, as in 0.7,0.3")
    return weights


def read_mix(path: Path) -> dict[str, Any]:
    """Read layers and weights that a probe has learned, from its folder or file."""
    file = path / MIX if path.is_dir() else path
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return {"layers": stored["layers"], "mix": [float(weight) for weight in stored["weights"]]}
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--mix {path}: has no layer weights; name the --out of a `foretell probe --mix`") from None


def parse_weights(text: str) -> Weights:
    """`lm=1,words=0.3,score1=0.5` as a table."""
    weights: Weights = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        factor = number(value)
        if factor is None:
            raise ConfigError(
                f"--weights {text}: {part.strip()!r} has no number", remedy="write lm=1,words=0.3,score1=0.5"
            )
        if name.strip() in weights:
            raise ConfigError(f"--weights {text}: {name.strip()!r} is repeated", remedy="keep one of the two")
        weights[name.strip()] = factor
    return weights


def number(text: str) -> float | None:
    """Parse a finite number; None if the text is not one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if "_" not in text and abs(value) < LARGEST else None  # float() accepts 1_0, nan and inf
