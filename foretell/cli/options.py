"""Options shared by several commands, and opening of the models that they name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from foretell.cli import completion
from foretell.cli.checks import Check, check_run
from foretell.errors import ConfigError, did_you_mean
from foretell.tools.parsing import layers_of, weights_of

if TYPE_CHECKING:
    from foretell import Mixed, Trained
    from foretell.api.online_mixing import Online as Learned


def trust_runs(trust: bool) -> bool:
    """Apply `--trust` to everything that this process opens."""
    if trust:
        from foretell.trust import trust_everything

        trust_everything()
    return trust


def check_device(device: str | None) -> str | None:
    """Raise `ConfigError` for an unknown device before any text is read, and for a misspelled one before torch is."""
    kinds = ("cpu", "cuda", "mps", "xpu")
    if device and not re.fullmatch(rf"({'|'.join(kinds)})(:\d+)?", device):
        raise ConfigError(
            f"--device {device!r:.80}: no such device{did_you_mean(device, kinds)}; write cpu, cuda or cuda:N"
        )
    if device not in (None, "cpu"):
        from foretell.training.devices import device_of

        device_of(device)
    return device


def be_quiet(context: typer.Context, quiet: bool) -> bool:
    """Apply `--quiet` to everything that this command runs."""
    if quiet:
        from foretell.training.monitor import Monitor

        Monitor.silent = True
        context.call_on_close(lambda: setattr(Monitor, "silent", False))
    return quiet


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show the result and errors, no progress.", callback=be_quiet)
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda or cuda:N; default: an accelerator if available.",
        callback=check_device,
        autocompletion=completion.one_of("cpu", "cuda"),
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Allow runs made elsewhere to load classes and open files named in their recipes.",
        callback=trust_runs,
    ),
]
Which = Annotated[Literal["best", "last"], typer.Option(help="Checkpoint: best or last.")]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder.", autocompletion=completion.runs), Check(check_run)
]
WithRun = Annotated[
    Path,
    typer.Option("--with", metavar="RUN", help="Run folder.", autocompletion=completion.runs),
    Check(check_run),
]
MixWith = Annotated[
    list[Path] | None,
    typer.Option("--mix", metavar="RUN2", help="Mix with another run; repeatable.", autocompletion=completion.runs),
    Check(check_run),
]
MixWeights = Annotated[
    str | None,
    typer.Option(
        "--mix-weights",
        help="Mixture weights in the order of the runs, as in 0.7,0.3; default: fitted on the valid split.",
    ),
    Check(weights_of),
]
Online = Annotated[
    bool,
    typer.Option(
        "--online", help="With --mix: learn the weights token by token, by exponentiated gradient; prints the regret."
    ),
]
Gated = Annotated[
    bool, typer.Option("--gated", help="With --mix: learn a small network that gives the weights, token by token.")
]
Log = Annotated[
    bool,
    typer.Option(
        "--log",
        help="With --mix: mix log-odds bit by bit, by the mixers of a context-mixing run that the other runs advise.",
    ),
]
Dynamic = Annotated[bool, typer.Option("--dynamic", help="Dynamic evaluation: keep training on the text read so far.")]
Audit = Annotated[
    bool,
    typer.Option(
        "--audit", help="Prove at sampled places that probabilities sum to 1 and nothing later was looked at."
    ),
]
Adaptive = Annotated[
    bool,
    typer.Option(
        "--adaptive",
        help="Read the text a second time while learning from it: each token is scored first, then learned.",
    ),
]
Cache = Annotated[bool, typer.Option("--cache", help="Neural cache: raise the probability of recent tokens.")]
Adapt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapt",
        metavar="KEY=VALUE",
        help="Setting of --dynamic or --cache, as in dynamic.segment=20 or cache.window=500; unset ones are tuned.",
    ),
]
Pooling = Annotated[
    Literal["mean", "last", "first", "max", "concat", "cell"],
    typer.Option(help="Pooling over tokens; concat: last, max and mean; cell: memory cells of an LSTM or QRNN."),
]
Layers = Annotated[
    str,
    typer.Option(help="Layers: all, or numbers from the first (1) or the last (-1), as in 1,2,-1."),
    Check(layers_of),
]
Prepare = Annotated[
    Literal["none", "reviews"] | None,
    typer.Option(help="Preparation of texts; reviews: as for the sentiment neuron; default: as the text of the run."),
]
TokenBudget = Annotated[int, typer.Option("--tokens", min=1, help="Tokens per batch; affects speed and memory only.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]",
        help="Settings to override, as in model.layers=2.",
        autocompletion=completion.settings,
    ),
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
    online: Learned = False,
) -> Trained | Mixed:
    """Load a run or a mixture, or mix several runs, perhaps with weights that learn; neural ones get the adaptation."""
    from foretell.api.loading import load
    from foretell.api.mixed import adapted
    from foretell.api.mixing import mix as mixed
    from foretell.api.trained import cannot_adapt, load_run
    from foretell.config import validate
    from foretell.evaluate.adaptation import AdaptationConfig

    if adaptation:
        validate(AdaptationConfig, adaptation, "--adapt")
    if not mix and (online or weights is not None):
        option = "--mix-weights" if weights is not None else {True: "--online", "gated": "--gated"}.get(online, "--log")
        raise ConfigError(f"{option} needs --mix; name the other runs with it")
    if not mix:
        model = load(run, which=which, device=device)
        return model.adapted(**adaptation) if adaptation else model
    members = [load_run(path, which=which, device=device) for path in [run, *mix]]
    if adaptation:
        if not any(member.adapts for member in members):
            raise cannot_adapt(" + ".join(str(member.run.path) for member in members))
        members = [adapted(member, **adaptation) for member in members]
    return mixed(members, weights_of(weights), columns=columns, online=online)


def learned_by(online: bool, gated: bool, logistic: bool) -> Learned:
    """How the weights of a mixture are learned, as three options say; raises `ConfigError` where they disagree."""
    if gated and (online or logistic):
        raise ConfigError("--gated learns the weights in another way than --online and --log; leave one out")
    return "logistic" if logistic else "gated" if gated else online


def adaptation_of(dynamic: bool, cache: bool, settings: list[str] | None) -> Mapping[str, Any]:
    """The tables of `--dynamic --cache --adapt dynamic.segment=20`; a setting of a table also enables it."""
    from foretell.trees import override

    return override({}, [*["dynamic={}"] * dynamic, *["cache={}"] * cache, *(settings or [])])
