"""Helpers for tests of `foretell doctor`."""

import json
import random
from pathlib import Path
from typing import Any

from rich.console import Console

from foretell.tools.look.diagnosis import render


def shown(result: dict[str, Any], width: int = 80) -> str:
    json.dumps(result)
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(render(result))
    assert max(map(len, capture.get().splitlines())) <= width
    return capture.get()


def worst(result: dict[str, Any], about: str) -> dict[str, Any]:
    levels = ["ok", "warning", "error"]
    mine = [finding for finding in result["findings"] if finding["about"] == about]
    return max(mine, key=lambda finding: levels.index(finding["level"]))


def sentence(number: int) -> str:
    words = random.Random(number).choices(["tree", "river", "stone", "cloud", "house"], k=6)
    return f"{' '.join(words)} number {number}."


def write_corpus(folder: Path, **splits: list[str]) -> str:
    folder.mkdir()
    for name, lines in splits.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return str(folder)
