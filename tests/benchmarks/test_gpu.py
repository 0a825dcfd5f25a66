"""The script for machines with a GPU runs without one, and would notice a wrong kernel."""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from foretell.models import transformer
from foretell.optim import lamb
from foretell.recipe.loading import load_recipe

FOLDER = Path(__file__).parents[2] / "benchmarks"
MODULES = ("gpu_plan", "gpu_checks", "gpu_models", "gpu_speeds", "gpu")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of the script by name, loaded afresh."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, modules[name])
    return SimpleNamespace(**{name.removeprefix("gpu_"): module for name, module in modules.items()})


def tiny(script: SimpleNamespace, begun: float = 0.0) -> object:
    return script.plan.Plan(torch.device("cpu"), True, time.monotonic() + begun)


@pytest.mark.parametrize(
    "models", [("qrnn", "electra"), pytest.param((), marks=pytest.mark.slow, id="all")], ids=" ".join
)
def test_it_runs_in_miniature(
    script: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    models: tuple[str, ...],
) -> None:
    small = {name: script.checks.SMALL[name] for name in models or script.checks.SMALL}
    monkeypatch.setattr(script.checks, "SMALL", small)
    work = script.models.WORK if not models else [one for one in script.models.WORK if one.peers][:3]
    monkeypatch.setattr(script.speeds, "WORK", work)
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--tiny", "--out", str(out)])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SystemExit) as ended:
        script.gpu.main()
    assert ended.value.code == 0, capsys.readouterr().out
    result = json.loads(out.read_text())
    # one model is not checked in bf16, nor on its two batches
    assert len(result["checks"]) == 2 * (8 + 3 + len(script.checks.RULES) + 2 * len(small)) - 2
    layers = {"adaptive softmax", "full softmax"}
    assert {item["work"] for item in result["speeds"]} == layers | {one.name for one in work}
    absent = [item for item in result["speeds"] if item["side"] == "transformers"]
    assert [item["work"] for item in absent] == ["GPT-2 124M", "BERT-large, 128"]
    assert all("transformers" in item["not_measured"] for item in absent)
    # oneDNN has no LSTM in bf16 for some processors
    primitive = "could not create a primitive"
    unsupported = [item for item in result["speeds"] if primitive in item.get("not_measured", "")]
    assert all((item["side"], item["precision"]) == ("plain torch", "bf16") for item in unsupported)
    measured = [item for item in [*result["speeds"], *result["scans"]] if item not in [*absent, *unsupported]]
    assert all(item["milliseconds"] > 0 for item in measured)
    peaks = result["floors"]
    for item in measured:
        if item.get("share_of_peak"):
            assert item["share_of_peak"] == pytest.approx(item["teraflops"] / peaks[f"{item['precision']} TFLOP/s"])
    assert {item["side"] for item in result["scans"]} == {"scan", "nn.LSTM"}


@pytest.mark.parametrize(("number", "layers", "width", "length"), [(0, 12, 768, 1024), (1, 24, 1024, 128)])
def test_arithmetic_is_that_of_the_paper(
    script: SimpleNamespace, number: int, layers: int, width: int, length: int
) -> None:
    """PaLM, appendix B: 6 N + 12 L H Q T, with N the weights of layers and head; of a masked head 15 %."""
    work = script.models.WORK[number]
    recipe = load_recipe(work.recipe, work.settings)
    head = {"GPT-2 124M": 50_304 * width, "BERT-large, 128": 0.15 * (30_522 + width) * width}[work.name]
    weights = layers * 12 * width**2 + head
    whole, plain = script.speeds.flops_per_token(recipe, work.vocabulary)
    assert plain == pytest.approx(6 * weights)
    assert whole == pytest.approx(6 * weights + 12 * layers * width * length)


@pytest.mark.parametrize("number", [0, 1])
def test_the_peers_are_of_the_same_size(script: SimpleNamespace, number: int) -> None:
    """But for tables of segments, and what judges pairs."""
    work = script.models.WORK[number]
    recipe = load_recipe(work.recipe, work.settings)
    with torch.device("meta"):
        ours = sum(p.numel() for p in recipe.build(work.vocabulary).parameters())
        sizes = [sum(p.numel() for p in make(recipe, work.vocabulary).parameters()) for make in work.peers.values()]
    assert sizes == pytest.approx([ours] * 2, abs=2 * recipe.model.hidden)


def test_theirs_trains(script: SimpleNamespace) -> None:
    pytest.importorskip("transformers")
    for work in script.models.WORK[:2]:
        record = script.speeds.speed(work.shrunk(), "bf16", "transformers", tiny(script), 1.0)
        assert record["milliseconds"] > 0


def wrong_cross_entropy(script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    right = script.checks.linear_cross_entropy
    monkeypatch.setattr(script.checks, "linear_cross_entropy", lambda hidden, *rest: right(hidden * 1.01, *rest))


def wrong_scan(script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    right = script.checks.linear_scan
    monkeypatch.setattr(script.checks, "linear_scan", lambda a, *rest, **settings: right(a * 0.99, *rest, **settings))


def wrong_lamb(script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if parts of a bunch were mixed up."""
    right = lamb.ratios
    shifted = lambda weights, updates: tuple(r * 1.01 for r in right(weights, updates))  # noqa: E731
    monkeypatch.setattr(lamb, "ratios", lambda w, u: shifted(w, u) if w[0].dtype == torch.float32 else right(w, u))


@pytest.mark.parametrize(
    ("kind", "spoil"), [("cross_entropy", wrong_cross_entropy), ("scan", wrong_scan), ("lamb", wrong_lamb)]
)
def test_what_is_wrong_is_noticed(
    script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, kind: str, spoil: Callable[..., None]
) -> None:
    spoil(script, monkeypatch)
    found = list(getattr(script.checks, kind)(tiny(script), "fp32"))
    assert any(error > script.checks.TOLERANCES["fp32"] for _, error in found)


@pytest.mark.parametrize("blind", [False, True])
def test_the_masks_of_accelerators_are_checked(
    script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, blind: bool
) -> None:
    """There masks stand for what the processor does without any; here that way is taken for all but the reference."""
    right, seen = script.checks.gradients, transformer.attention_mask

    def elsewhere(objective: torch.nn.Module, *rest: object) -> object:
        reference = next(objective.parameters()).dtype == torch.float64
        monkeypatch.setattr(transformer, "on_host", lambda tokens: reference)
        return right(objective, *rest)

    monkeypatch.setattr(script.checks, "gradients", elsewhere)
    monkeypatch.setattr(
        script.checks, "SMALL", {name: script.checks.SMALL[name] for name in ("gpt", "bert", "electra")}
    )
    if blind:
        everything = lambda *given: torch.ones_like(seen(*given))  # noqa: E731
        monkeypatch.setattr(transformer, "attention_mask", everything)
    wrong = {
        name for name, error in script.checks.models(tiny(script), "fp32") if error > script.checks.TOLERANCES["fp32"]
    }
    masked = {f"{name}, packed and padded: loss and gradients" for name in ("gpt", "bert", "electra")}
    assert wrong == (masked if blind else set())


def test_what_there_is_no_time_for_is_named(script: SimpleNamespace) -> None:
    plan, peaks = tiny(script, -2 * script.plan.BUDGET), {}
    left_out = [
        *script.speeds.speeds(plan, peaks),
        *script.speeds.scans(plan),
        *script.speeds.output_layers(plan, peaks),
    ]
    assert all(item["not_measured"] == "no time left" for item in left_out)
