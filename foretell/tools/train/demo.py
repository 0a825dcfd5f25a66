"""The demo: a 5-gram model and an AWD-LSTM race on text that needs no download, then are mixed; context mixing learns
as it reads."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from foretell import units
from foretell.api.mixing import mix
from foretell.api.train import train
from foretell.api.trained import load_run
from foretell.errors import ConfigError
from foretell.tools.compressors import ADAPTIVE, add_compressors
from foretell.tools.measure.race import run_race
from foretell.tools.printing import Command
from foretell.tools.rescaling import COLUMNS
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor

COUNTED, TRAINED, LEARNING = "ngram-5", "awd-lstm-tiny", "context-mixing"
CORPUS = "python-docs"
TABLE_BITS = 18
"""of context mixing: 350 MB of tables, on which the figure depends little"""
SETTINGS = (f"data.corpus={CORPUS}", 'data.tokenizer={kind="bpe", size=2048}')
BUDGET = "75s"


def run_demo(out: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Race both under one budget, measure their mixture, context mixing and compressors, and generate a sample."""
    begin = time.monotonic()
    if out.exists():
        if not (out / "race.json").exists():
            raise ConfigError(f"{out} exists and is not a race; choose another --out")
        shutil.rmtree(out)
    monitor = Monitor(quiet=quiet)
    monitor.say("Training a 5-gram model and a small AWD-LSTM on the manual and docstrings of this Python ...")
    raced = run_race((COUNTED, TRAINED), SETTINGS, BUDGET, seeds=1, split="test", out=out, resume=False, quiet=quiet)
    monitor.say("Mixing both ...")
    counted, trained = (load_run(out / f"{name}-seed1") for name in (COUNTED, TRAINED))
    together = mix([trained, counted], columns=COLUMNS)
    mixed = together.evaluate("test", columns=COLUMNS)
    sample = together.generate("The ", tokens=80, temperature=0.7, seed=1)
    monitor.say("Training a context-mixing model, which learns as it reads ...")
    place = out / f"{LEARNING}-seed1"
    learning = train(LEARNING, place, quiet=quiet, data__corpus=CORPUS, model__table_bits=TABLE_BITS)
    learned, summary = learning.evaluate("test", adaptive=True), learning.summary()
    result = {
        **raced["results"][f"{TRAINED}-seed1"],
        "baselines": raced["baselines"],
        "ngram_bits_per_byte": raced["results"][f"{COUNTED}-seed1"]["bits_per_byte"],
        "mixture_bits_per_byte": mixed["bits_per_byte"],
        "mixture_perplexity": mixed["perplexity"],
        "mixture": mixed["mixture"],
        "context_mixing": {key: summary[key] for key in ("parameters", "tokens_per_second", "seconds")}
        | {"bits_per_byte": learned["bits_per_byte"]},
        "adaptive": learned["adaptive"],
        "sample": "The " + sample,
        "demo_seconds": time.monotonic() - begin,
    }
    return result | {"table": rendered(raced, result, out)}


def rendered(raced: dict[str, Any], result: dict[str, Any], out: Path) -> Group:
    """The result of the demo as a table."""
    table = ResponsiveTable(
        Column.names(),
        Column("bits/byte"),
        ADAPTIVE,
        Column("perplexity", 2),
        Column("parameters", 3),
        Column("tokens/s", 4),
        Column("time", 3),
        title="held-out text",
    )
    for row in sorted(raced["table_rows"], key=lambda row: -float(row["bits_per_byte"])):
        table.add(
            row["contender"],
            f"{row['bits_per_byte']:.3f}",
            "",
            f"{row['perplexity']:,.1f}",
            units.count(row["parameters"]),
            units.count(row["tokens_per_second"]),
            units.duration(row["seconds"]),
        )
    weights = " + ".join(f"{member['weight']:.2f} {Path(member['run']).name}" for member in result["mixture"])
    bits, perplexity = result["mixture_bits_per_byte"], result["mixture_perplexity"]
    table.add("both, mixed", f"{bits:.3f}", "", f"{perplexity:,.1f}", style="bold")
    mixing = result["context_mixing"]
    table.add(
        LEARNING,
        f"{mixing['bits_per_byte']:.3f}",
        f"{result['adaptive']['bits_per_byte']:.3f}",
        "",
        units.count(mixing["parameters"]),
        units.count(mixing["tokens_per_second"]),
        units.duration(mixing["seconds"]),
        style="bold",
    )
    table.notes = [
        f"mixed as {weights}, weights fitted on validation text; tokens/s and time: of training; a token of "
        f"{LEARNING} is a byte",
    ]
    add_compressors(table, result["baselines"])
    run, other = (shlex.quote(f"{out}/{name}-seed1") for name in (TRAINED, COUNTED))
    following = Command(f"foretell generate {run}"), Command(f"foretell compare {run} {other}")
    return Group(Text(result["sample"]), Text(), table, Text("next:", "dim"), *following)
