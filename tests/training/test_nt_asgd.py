"""NT-ASGD through a whole training (Merity et al. 2017, arXiv:1708.02182), against a plain reimplementation."""

from pathlib import Path

import torch
from builders import assert_same, losses, tables

import foretell
from foretell.data.preparing import prepared
from foretell.run import Run
from foretell.training import checkpoint
from foretell.training.state_dict import load_weights

Corpus = dict[str, str]


def saved(out: Path, step: int, file: str) -> dict[str, torch.Tensor]:
    return checkpoint.at_step(Run(out), step).tensors(file)


def mean_of(weights: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([w[name].double() for w in weights]).mean(0).float() for name in weights[0]}


def fired(history: list[float], patience: int) -> int | None:
    """Algorithm 1 of arXiv:1708.02182: which look it is that starts the averaging."""
    for look in range(len(history)):
        if look > patience and history[look] > min(history[: look - patience]):
            return look
    return None


def test_nt_asgd_and_its_fine_tuning(corpus: Corpus, tmp_path: Path) -> None:
    """Every mean is that of all iterates since the rule fired; the second stage begins with the best weights
    and a new mean.
    """
    patience, out = 1, tmp_path / "run"
    changes: dict[str, object] = {
        "stages": [
            {"name": "train", "limit": "24steps"},
            {"name": "fine-tune", "limit": "9steps", "start": "best", "set": {"averaging.at_once": True}},
        ],
        "optimizer__learning_rate": 20.0,
        "averaging": {"kind": "nt-asgd", "patience": patience},
        "evaluation__every": "2steps",
        "checkpoint": {"every": "1steps", "keep": 1000},
    }
    foretell.train(tables(corpus, **changes), out, quiet=True)
    history = dict(losses(out))
    looks = [step for step in history if step <= 24]
    look = fired([history[step] for step in looks], patience)
    assert look is not None and 3 < looks[look] < 20  # or there would be nothing to see
    begun = looks[look]
    raw = {step: saved(out, step, "model") for step in range(1, 34)}
    for step in range(1, 25):
        expected = mean_of([raw[i] for i in range(begun + 1, step + 1)]) if step > begun else {}
        assert_same(saved(out, step, "averaged"), expected, 1e-5)
    for step in range(25, 34):
        assert_same(saved(out, step, "averaged"), mean_of([raw[i] for i in range(25, step + 1)]), 1e-5)
    best = min(looks, key=history.__getitem__)
    start = saved(out, best, "averaged") or raw[best]
    assert_same({k: p.float() for k, p in raw[25].items()}, one_step_from(corpus, tmp_path, start), 1e-5)


def one_step_from(corpus: Corpus, tmp_path: Path, start: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What plain SGD makes of weights on the first batch."""
    recipe = foretell.load_recipe(tables(corpus))
    trained = foretell.load(tmp_path / "run", which="last")
    objective = recipe.build(trained.tokenizer.size)
    load_weights(objective, start)
    text = prepared(recipe.data.corpus, recipe.data.tokenizer).split("train")
    batch = recipe.data.batches.build(text, trained.tokenizer.specials, 1)[0]
    made = objective(batch, None)
    (made.terms["loss"].total / 40).backward()
    return {name: p.detach() - 20.0 * p.grad for name, p in objective.named_parameters()}
