"""A trainer on made-up tokens takes the steps of the recipe, and writes nothing."""

from pathlib import Path

import numpy as np

from foretell.recipe.loading import load_recipe
from foretell.tools.rehearsal import rehearsal


def test_steps_are_real_and_leave_no_file(tmp_path: Path) -> None:
    recipe = load_recipe("awd-lstm-tiny", ["model.hidden=8", "model.embedding_dim=8", "data.batches.jitter=0.0"])
    trainer = rehearsal(recipe, 50, np.arange(4000, dtype=np.uint16) % 50, tmp_path / "none")
    before = [p.detach().clone() for p in trainer.stage.objective.parameters()]
    for _ in range(2):
        trainer.step(trainer.progress())
    assert trainer.position.tokens == 2 * recipe.data.batches.batch * recipe.data.batches.length
    after = trainer.stage.objective.parameters()
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    assert not list(tmp_path.iterdir())
