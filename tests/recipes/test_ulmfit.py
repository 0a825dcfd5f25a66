"""ULMFiT in miniature, from its recipes: three trainings, each from the one before, every rate, and what is frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import write_corpus
from labelled import write_labelled

import foretell
from foretell.recipe.loading import load_recipe
from foretell.run import Run
from foretell.training.checkpoint import in_order
from foretell.training.trainer import Trainer

SMALL = {"embedding_dim": 8, "hidden": 10, "output": 8}
STREAMS = {"kind": "streams", "batch": 4, "length": 10, "jitter": 0.0, "halved": 0.0}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The three runs, and what the optimiser of each stage was given."""
    folder = tmp_path_factory.mktemp("ulmfit")
    corpus = write_corpus(folder)
    wiki = {"data.corpus": corpus, "data.tokenizer.size": 300, "data.batches": STREAMS, "limit": "6steps"}
    wiki |= {f"model.{key}": value for key, value in SMALL.items()}
    (folder / "other").mkdir()
    fine = {"data.corpus": write_corpus(folder / "other", 300), "data.batches": STREAMS, "limit": "20steps"}
    reviews = {f"data.{key}": value for key, value in write_labelled("classification", folder).items()}
    reviews |= {"data.batches.batch": 8}
    seen: list[dict[str, Any]] = []
    real = Trainer.train

    def noted(self: Trainer) -> str:
        groups = self.stage.optimizer.param_groups
        rates = {p: rate for group, rate in zip(groups, self.rates, strict=True) for p in group["params"]}
        names = {p: name for name, p in self.stage.objective.named_parameters()}
        seen.append({names[p]: rate for p, rate in rates.items()})
        return real(self)

    every = {"training.log_every": "1steps", "evaluation.every": "99steps", "checkpoint.keep": 99}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", noted)
        inits: dict[str, Any] = {}
        for name, changes in {"wiki": wiki, "imdb-lm": fine, "imdb": reviews}.items():
            settings = load_recipe(f"ulmfit-{name}", changes | every | inits)
            foretell.train(settings, folder / name, quiet=True)
            inits = {"init": str(folder / name)}
    return {"folder": folder, "seen": seen}


def of(run: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in Run(run).metrics() if record["kind"] == kind]


def of_layers(rates: dict[str, float]) -> list[float]:
    """The rate of each layer, of which all of its weights have the same."""
    found = [{rate for name, rate in rates.items() if f"blocks.{n}." in name} for n in range(3)]
    assert all(len(alike) == 1 for alike in found)
    return [alike.pop() for alike in found]


def test_each_goes_on_from_the_one_before(chain: dict[str, Any]) -> None:
    folder = chain["folder"]
    for name, before in (("imdb-lm", "wiki"), ("imdb", "imdb-lm")):
        (begun,) = of(folder / name, "init")
        assert begun["init"] == str(folder / before) and begun["new_tokens"] == 0


def test_the_language_model_has_discriminative_rates(chain: dict[str, Any]) -> None:
    rates = chain["seen"][1]
    assert of_layers(rates) == pytest.approx([4e-3 / 2.6**3, 4e-3 / 2.6**2, 4e-3 / 2.6])
    assert rates["backbone.embedding.table.weight"] == pytest.approx(4e-3)  # tied: those of the softmax as well


def test_the_language_model_has_a_slanted_triangle(chain: dict[str, Any]) -> None:
    """Equation 3 with T = 20 steps: cut = 2, p = t / 2 up to it, then 1 - (t - 2) / 18."""
    found = [record["learning_rate"] for record in of(chain["folder"] / "imdb-lm", "train")]
    p = [t / 2 if t < 2 else 1 - (t - 2) / 18 for t in range(20)]
    assert found == pytest.approx([4e-3 * (1 + x * 31) / 32 for x in p])


def test_the_classifier_thaws_from_the_top(chain: dict[str, Any]) -> None:
    layers = [{f"blocks.{n}." for n in range(2, 2 - thawed, -1)} for thawed in range(4)]
    stages = chain["seen"][2:]
    assert len(stages) == 5
    for rates, thawed in zip(stages, layers, strict=False):
        assert all(name.startswith("outputs.") or any(part in name for part in thawed) for name in rates)
        assert len({part for part in thawed for name in rates if part in name}) == len(thawed)
    assert "backbone.embedding.table.weight" in stages[4] and "backbone.embedding.table.weight" not in stages[3]


def test_the_classifier_has_discriminative_rates(chain: dict[str, Any]) -> None:
    rates = chain["seen"][-1]
    assert {rate for name, rate in rates.items() if name.startswith("outputs.")} == {0.01}
    assert of_layers(rates) == pytest.approx([0.01 / 2.6**3, 0.01 / 2.6**2, 0.01 / 2.6])
    assert rates["backbone.embedding.table.weight"] == pytest.approx(0.01 / 2.6**4)


def test_the_first_stage_leaves_the_language_model_alone(chain: dict[str, Any]) -> None:
    """Its checkpoint holds the outputs alone, and the model as it was."""
    folder = chain["folder"]
    first = in_order(Run(folder / "imdb"))[0]
    assert first.record()["position"]["stage"] == 0
    assert {name.split(".")[0] for name in first.tensors("model")} == {"outputs"}
    before, after = foretell.load(folder / "imdb-lm").weights, first.weights()
    body = {name for name in after if name.startswith("backbone.")}
    assert body and all(torch.equal(after[name], before[name]) for name in body)
