"""Several runs as one model: their probabilities weighted and summed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from foretell.api.mixed import Mixed
from foretell.api.online_mixing import online_mixture, without_adaptation
from foretell.api.trained import Trained, load
from foretell.errors import ConfigError
from foretell.evaluate.mixture import checked_weights, fit_weights


def mix(
    runs: Sequence[str | Path | Trained],
    weights: Sequence[float] | None = None,
    *,
    split: str = "valid",
    which: str = "best",
    device: torch.device | str | None = None,
    columns: int = 1,
    online: bool | Literal["gated"] = False,
) -> Mixed:
    """Runs with one vocabulary as one model; without `weights` those that are best for a split of the first's corpus.

    `online`: the weights are learned from the text that is read, by exponentiated gradient, or "gated" by a small
    network. Counted runs that can learn from what they have read then do so, and `split` is what the rule starts from.
    Raises `ConfigError` where vocabularies differ.
    """
    members = [run if isinstance(run, Trained) else load(run, which=which, device=device) for run in runs]
    if len(members) < 2:
        raise ConfigError("a mixture needs two runs or more; add another with --mix")
    first = members[0]
    for other in members[1:]:
        if other.tokenizer.fingerprint != first.tokenizer.fingerprint:
            raise ConfigError(
                f"{other.run.path} has another vocabulary than {first.run.path}, so their probabilities are of "
                "different things and cannot be mixed; train one with the other's: "
                f'data.tokenizer = {{ kind = "file", path = "{first.run.tokenizer_file}" }}'
            )
    if online:
        if weights is not None:
            raise ConfigError("online weights are learned; leave out the weights")
        fixed = mix([without_adaptation(member) for member in members], split=split)
        return online_mixture(fixed, members, online, split)
    if weights is not None:
        return Mixed(members, checked_weights(weights, len(members)))
    with first.text(split) as text:
        parts = [member.token_scores(text, columns=columns, ranks=False) for member in members]
        fit = fit_weights(np.stack([part.logp for part in parts]))
    return Mixed(members, fit.weights, fit, split)
