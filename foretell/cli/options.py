"""Options that several verbs share, and opening what they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from foretell.errors import ConfigError

if TYPE_CHECKING:
    from foretell import Mixed, Trained


def trust_runs(given: bool) -> bool:
    """Do as `--trust` says, for all that this process opens."""
    if given:
        from foretell.trust import trust_everything

        trust_everything()
    return given


def check_device(given: str | None) -> str | None:
    """A `ConfigError` at once where there is no such device, not after all the text was read."""
    if given is not None:
        from foretell.training.devices import device_of

        device_of(given)
    return given


Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda or cuda:1; default: the accelerator if there is one.", callback=check_device),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Let a run that was made elsewhere load the classes and open the files that its recipe names.",
        callback=trust_runs,
    ),
]
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
Dynamic = Annotated[
    bool, typer.Option("--dynamic", help="Go on learning from the text that has been read: dynamic evaluation.")
]
Cache = Annotated[bool, typer.Option("--cache", help="Let words that came lately come again: a neural cache.")]
Adapt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapt",
        metavar="KEY=VALUE",
        help="A setting of these, as in dynamic.segment=20 or cache.window=500; what is not given is found on valid.",
    ),
]
Pooling = Annotated[
    Literal["mean", "last", "first", "max", "concat", "cell"],
    typer.Option(
        help="Of the tokens' vectors; concat: last, max and mean; cell: the memory cells of an LSTM or a QRNN."
    ),
]
Layers = Annotated[str, typer.Option(help="all, or 1,2,-1: from the word vectors up, or from the end.")]
Prepare = Annotated[
    Literal["none", "reviews"] | None,
    typer.Option(
        help="reviews: each on one line, as the sentiment neuron's model read them; default: as the run's text."
    ),
]
TokenBudget = Annotated[int, typer.Option("--tokens", min=1, help="Tokens side by side; for speed and memory only.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]", help="Settings that differ, by dotted name: model.layers=2"),
]


def open_model(
    run: Path,
    mix: list[Path] | None,
    weights: str | None,
    which: str,
    device: str | None,
    columns: int = 1,
    *,
    adaptation: Mapping[str, Any] | None = None,
) -> Trained | Mixed:
    """A run, or several as a mixture; each that was trained by gradient with its adaptation."""
    from foretell import load
    from foretell import mix as mixed
    from foretell.config import validate
    from foretell.evaluate.adaptation import AdaptationConfig

    if adaptation:
        validate(AdaptationConfig, adaptation, "--adapt")
    if not mix and weights is not None:
        raise ConfigError("--weights is for mixtures; name the other runs with --mix")
    members = [load(path, which=which, device=device) for path in [run, *(mix or [])]]
    if adaptation:
        neural = [member.backbone is not None for member in members]
        if not any(neural):
            raise ConfigError(
                f"{run} is an n-gram model, and only a trained one can adapt; leave --dynamic, --cache out"
            )
        members = [m.adapted(**adaptation) if can else m for m, can in zip(members, neural, strict=True)]
    return members[0] if not mix else mixed(members, numbers(weights), columns=columns)


def adaptation_of(dynamic: bool, cache: bool, settings: list[str] | None) -> Mapping[str, Any]:
    """`--dynamic --cache --adapt dynamic.segment=20` as tables; a setting of one of them asks for it too."""
    from foretell.config import override

    return override({}, [*["dynamic={}"] * dynamic, *["cache={}"] * cache, *(settings or [])])


def numbers(text: str | None) -> list[float] | None:
    """`0.7,0.3` as numbers."""
    try:
        found = [float(part) for part in text.split(",")] if text is not None else None
    except ValueError:
        found = [-1.0]
    if found and not all(0 <= weight <= 1 for weight in found):
        raise ConfigError(f"--weights {text}: write numbers from 0 to 1 with commas between them, as in 0.7,0.3")
    return found
