"""Figures of the golden cases, as `scripts/golden --write` kept them."""

import json
from pathlib import Path

import pytest
import torch
from golden.cases import CASES, Case
from golden.compare import KEPT, portable
from golden.run_case import run_case

FIGURES = json.loads(KEPT.read_text())
PORTABLE = [case for case in CASES if case.portable]
PARAMETERS = [pytest.param(case, id=case.name, marks=() if case.fast else pytest.mark.slow) for case in PORTABLE]


def test_every_case_is_kept() -> None:
    assert list(FIGURES) == [case.name for case in PORTABLE]


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch draws other random numbers without MKL")
@pytest.mark.parametrize("case", PARAMETERS)
def test_figures_are_as_kept(case: Case, tmp_path: Path) -> None:
    found, kept = portable(run_case(case, tmp_path, {}, short=True)["figures"]), FIGURES[case.name]
    assert kept.keys() <= found.keys()  # results may gain figures
    assert {name: found[name] for name in kept} == pytest.approx(kept, rel=1e-5, abs=1e-7)
