"""Several runs as one model: their probabilities weighted and summed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from foretell.api.logistic_mixing import logistic_mixture
from foretell.api.mixed import Mixed
from foretell.api.mixture_run import save
from foretell.api.online_mixing import LearningMixed, Online, online_mixture, without_adaptation
from foretell.api.over_bytes import in_one_vocabulary
from foretell.api.trained import Trained, load_run
from foretell.errors import ConfigError
from foretell.evaluate.mixture import checked_weights, fit_weights, mixed_logp
from foretell.evaluate.scoring import TokenScores
from foretell.models.mixture import MOST


def mix(
    runs: Sequence[str | Path | Trained],
    weights: Sequence[float] | None = None,
    *,
    split: str = "valid",
    which: str = "best",
    device: torch.device | str | None = None,
    columns: int = 1,
    online: Online = False,
    out: str | Path | None = None,
) -> Mixed:
    """Several runs as one model; without `weights` those that are best for a split of the first's corpus.

    `online`: the weights are learned from the text that is read: by exponentiated gradient, by a small network
    ("gated"), or by the mixers of a context-mixing run among the runs, whose log-odds of each bit they weigh
    ("logistic"). Counted runs that can learn from what they have read then do so, and `split` is what learning starts
    from. `out` is a folder to write the mixture to, which `load` opens.

    Runs with different tokenizers are mixed byte by byte: each sums over the likely ways to cut the text into its
    tokens (see `evaluate.byte_scorer`), which takes several steps of the model a token. Raises `ConfigError` where
    tokens do not restore every text.
    """
    members = [run if isinstance(run, Trained) else load_run(run, which=which, device=device) for run in runs]
    if len(members) < 2:
        raise ConfigError("a mixture needs two runs or more; add another with --mix")
    if len(members) > MOST:
        raise ConfigError(f"a mixture takes {MOST} runs at most")
    members = in_one_vocabulary(members)
    if online and weights is not None:
        raise ConfigError("online weights are learned; leave out the weights")
    mixed = learning(members, online, split) if online else fixed(members, weights, split, columns)
    if out is not None:
        save(mixed, out)
    return mixed


def learning(members: Sequence[Trained], online: Online, split: str) -> LearningMixed:
    """The mixture whose weights learn from the text that is read."""
    plain = fixed([without_adaptation(member) for member in members], None, split, 1)
    if online == "logistic":
        return logistic_mixture(plain, members, split)
    return online_mixture(plain, members, online, split)


def fixed(members: Sequence[Trained], weights: Sequence[float] | None, split: str, columns: int) -> Mixed:
    """The mixture with these weights, or with the best for a split."""
    if weights is not None:
        return Mixed(members, checked_weights(weights, len(members)))
    with members[0].text(split) as text:
        parts = [member.token_scores(text, columns=columns, ranks=False) for member in members]
        logp = np.stack([part.logp for part in parts])
        fit = fit_weights(logp)
        mixed = Mixed(members, fit.weights, fit.loss, split)
        scores = TokenScores(mixed_logp(logp, fit.weights), None, sum(part.seconds for part in parts))
        mixed.validation = mixed.record(split, text, scores, {}, columns)
    return mixed
