"""Masked models from text to measurement: they learn, their training can be stopped, and their figures are the same."""

from pathlib import Path

import pytest
from builders import masking

import foretell


@pytest.fixture(scope="module")
def whole(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    out = tmp_path_factory.mktemp("masked") / "run"
    foretell.train(masking(corpus, limit="3epochs"), out, quiet=True)
    return out


def test_it_learns(whole: Path) -> None:
    run = foretell.load(whole)
    measured = [record["masked_loss"] for record in run.run.metrics() if record["kind"] == "valid"]
    assert measured[-1] < measured[0]
    found = run.evaluate("valid")
    assert found["masked_loss"] == pytest.approx(min(measured), abs=1e-9)
    assert found["loss"] is found["perplexity"] is found["bits_per_byte"] is None
