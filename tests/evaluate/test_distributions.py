"""All distributions of a window are those that `next` gives one by one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from predictors import trained

from foretell.evaluate.distributions import distributions
from foretell.types import IGNORED

DYNAMIC = {"rule": "sgd", "learning_rate": 0.5, "decay": 0.0, "segment": 5}


@pytest.mark.parametrize("name", ["lstm", "gpt", "ngram", "unbounded-ngram", "context-mixing"])
def test_they_are_those_of_next(corpus: dict[str, str], tmp_path: Path, name: str) -> None:
    run = trained(name, corpus, tmp_path)
    evaluator = run.likelihood(ranks=False)
    with run.text("test") as text:
        batch = evaluator.windows(text)[0].rows(slice(0, 1))
    found, _ = distributions(run.scorer(ranks=False), batch.inputs, batch.targets, None)
    scores, _ = run.scorer(ranks=False).score(batch.inputs, batch.targets, None)
    wanted = batch.targets != IGNORED
    own = found[wanted].gather(1, batch.targets[wanted][:, None])[:, 0]
    np.testing.assert_allclose(own.numpy(), scores.logp[wanted].numpy(), atol=1e-5)
    for t in (0, 3, batch.inputs.tokens.shape[1] - 1):
        logp, _ = run.scorer(ranks=False).next(batch.inputs.tokens[:, : t + 1], None)
        torch.testing.assert_close(found[:, t], logp, atol=1e-5, rtol=1e-4, check_dtype=False)


def test_a_model_that_learns_does_so_after_each_segment(corpus: dict[str, str], tmp_path: Path) -> None:
    run = trained("lstm", corpus, tmp_path).adapted(dynamic=DYNAMIC, quiet=True)
    with run.text("test") as text:
        batch = run.likelihood(ranks=False).windows(text)[0]
    found, _ = distributions(run.scorer(ranks=False), batch.inputs, batch.targets, None)
    scores, _ = run.scorer(ranks=False).score(batch.inputs, batch.targets, None)
    own = found[0].gather(1, batch.targets[0][:, None])[:, 0]
    np.testing.assert_allclose(own.numpy(), scores.logp[0].numpy(), atol=1e-5)
    static, _ = distributions(trained_again(run), batch.inputs, batch.targets, None)
    torch.testing.assert_close(found[0, :5], static[0, :5], atol=1e-6, rtol=1e-5)
    assert (found[0, 5:] - static[0, 5:]).abs().max() > 1e-3


def trained_again(run: object) -> object:
    from foretell.api.online_mixing import without_adaptation

    return without_adaptation(run).scorer(ranks=False)  # type: ignore[arg-type]
