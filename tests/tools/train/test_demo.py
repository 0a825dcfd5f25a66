"""The demo in miniature."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from snapshots.records import BASELINES

from foretell.errors import ConfigError
from foretell.tools.train import demo


def test_a_folder_that_is_not_a_race_is_kept(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ConfigError, match="exists and is not a race"):
        demo.run_demo(tmp_path, quiet=True)
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_loses_nothing(width: int, tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "bits_per_byte": 1.9, "perplexity": 1234.5, "parameters": 2_000_000, "tokens_per_second": 51_000,
        "seconds": 101.0,
    }  # fmt: skip
    raced = {"table_rows": [row | {"contender": name} for name in (demo.COUNTED, demo.TRAINED)]}
    result = {
        "sample": "The end.", "baselines": BASELINES, "mixture_bits_per_byte": 1.75, "mixture_perplexity": 99.0,
        "mixture": [{"weight": 0.7, "run": "x/awd"}, {"weight": 0.3, "run": "x/ngram"}],
        "context_mixing": {"bits_per_byte": 1.777, "parameters": 11_000, "tokens_per_second": 7_000, "seconds": 25.0},
        "adaptive": {"bits_per_byte": 1.321},
    }  # fmt: skip
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(demo.rendered(raced, result, tmp_path))
    text = printed.get()
    assert "…" not in text
    compressed, mixed = ("xz -9", "1.814", "PPMd"), ("both, mixed", "1.750", "1,234.5", "0.70 awd", "The end.")
    for part in (*compressed, "ngram-5", "awd-lstm-tiny", "context-mixing", "1.777", "1.321", *mixed):
        assert part in text
