"""The main job in miniature: text, tokenizer, training, measurement, a sample; on text that needs no download."""

from __future__ import annotations

import lzma
import shutil
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.api import run_recipe
from foretell.config import ConfigError
from foretell.data.corpus import open_corpus
from foretell.recipe import load_recipe
from foretell.run import Run
from foretell.training.monitor import Monitor


def run_demo(out: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Train the demo recipe at `out`, measure it on held-out text beside a compressor, and let it write."""
    begin = time.monotonic()
    if out.exists():
        if not (out / "recipe.toml").exists():
            raise ConfigError(f"{out} exists and is not a run; choose another --out")
        with Run(out).alone():
            shutil.rmtree(out)
    recipe = load_recipe("demo")
    monitor = Monitor(quiet=quiet)
    monitor.say("Training a small AWD-LSTM on the manual and docstrings of this Python, anew ...")
    trained = run_recipe(recipe, out, resume=False, quiet=quiet)
    monitor.say("Measuring it on text it has not seen ...")
    measured = trained.evaluate("test")
    trained_on = trained.summary()
    sample = trained.generate("The ", tokens=80, temperature=0.7, seed=1)
    result = {
        **measured,
        "xz_bits_per_byte": xz_bits_per_byte(),
        "trained_tokens": trained_on["trained_tokens"],
        "training_seconds": trained_on["seconds"],
        "training_tokens_per_second": trained_on["tokens_per_second"],
        "sample": "The " + sample,
        "seconds": time.monotonic() - begin,
    }
    monitor.say(f"\n{result['sample']}\n")
    return result | {"table": table(result, out)}


def xz_bits_per_byte() -> float:
    """What a strong compressor needs for the same held-out text: `xz -9`."""
    text = "".join(piece.text for piece in open_corpus("python-docs").pieces("test")).encode()
    return 8 * len(lzma.compress(text, preset=9)) / len(text)


def table(result: dict[str, Any], out: Path) -> Table:
    """The demo's result for people."""
    made = Table(title="Held-out text (test split of python-docs)", title_justify="left")
    for heading in ("", "bits/byte", "perplexity", "parameters", "tokens/s", "seconds"):
        made.add_column(heading, justify="left" if not heading else "right")
    made.add_row("xz -9", f"{result['xz_bits_per_byte']:.3f}", "", "", "", "")
    made.add_row(
        "AWD-LSTM, 2048 subwords",
        f"[bold]{result['bits_per_byte']:.3f}[/]",
        f"{result['perplexity']:,.1f}",
        f"{result['parameters']:,}",
        f"{result['training_tokens_per_second']:,.0f}",
        f"{result['seconds']:.0f}",
    )
    made.caption = f"The run is {out}. Go on: foretell generate {out}, foretell evaluate {out}"
    made.caption_justify = "left"
    return made
