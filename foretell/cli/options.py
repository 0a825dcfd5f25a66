"""Options that several verbs share, and opening what they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foretell.config import ConfigError

if TYPE_CHECKING:
    from foretell import Mixed, Trained

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; default: the accelerator if there is one.")]
Which = Annotated[str, typer.Option(help="Which checkpoint: best or last.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, the --out of a training.")]
MixWith = Annotated[
    list[Path] | None, typer.Option("--mix", metavar="RUN2", help="Mix its probabilities in; can be repeated.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--mix-weights",
        "--weights",
        help="Of the mixture, in the order of the runs: 0.7,0.3; default: what is best for the valid split.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]", help="Settings that differ, by dotted name: model.layers=2"),
]


def open_model(
    run: Path, mix: list[Path] | None, weights: str | None, which: str, device: str | None, columns: int = 1
) -> Trained | Mixed:
    """A run, or several as a mixture."""
    from foretell import load
    from foretell import mix as mixed

    if not mix:
        if weights is not None:
            raise ConfigError("--weights is for mixtures; name the other runs with --mix")
        return load(run, which=which, device=device)
    return mixed([run, *mix], numbers(weights), which=which, device=device, columns=columns)


def numbers(text: str | None) -> list[float] | None:
    """`0.7,0.3` as numbers."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights {text}: write numbers with commas between them, as in 0.7,0.3") from None
