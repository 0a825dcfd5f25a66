"""An opened run: what it measures, what it refuses, and that measuring changes nothing."""

from pathlib import Path

import pytest
import torch
from builders import masking, tables

import foretell
from foretell.training.state_dict import weights

Corpus = dict[str, str]


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    return foretell.train(tables(corpus, limit="5steps"), tmp_path_factory.mktemp("trained") / "run", quiet=True)


@pytest.fixture(scope="module")
def masked(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    return foretell.train(masking(corpus, limit="5steps"), tmp_path_factory.mktemp("masked") / "run", quiet=True)


def test_parameters_are_counted_once(run: foretell.Trained) -> None:
    assert run.parameters == sum(tensor.numel() for tensor in weights(run.objective).values())


def test_measuring_changes_no_weight(run: foretell.Trained) -> None:
    before = {name: tensor.clone() for name, tensor in weights(run.objective).items()}
    run.evaluate("test", dynamic={"learning_rate": 0.1, "decay": 0.0, "rule": "sgd"})
    run.score(["the cat"])
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(run.objective).items())


def test_a_masked_model_has_no_probability_of_text(masked: foretell.Trained) -> None:
    for use in (masked.scorer, masked.context, lambda: masked.score(["a"]), lambda: masked.adapted(cache=True)):
        with pytest.raises(foretell.ConfigError, match="is a masked model"):
            use()
    assert masked.pseudo_likelihood("test", 5)["pseudo_tokens"] == 5


def test_a_model_of_text_has_no_pseudo_likelihood_and_no_labels(run: foretell.Trained) -> None:
    with pytest.raises(foretell.ConfigError, match="pseudo-perplexity is for masked models"):
        run.pseudo_likelihood("test")
    with pytest.raises(foretell.ConfigError, match="is not a task"):
        run.predict(["the cat"])
    with pytest.raises(foretell.ConfigError, match="skip-bad"):
        run.evaluate("test", skip_bad=True)
    assert run.labels == ()


def test_the_summary_is_that_of_the_validation(run: foretell.Trained) -> None:
    summary = run.summary()
    assert summary["loss"] == run.validation()["loss"] and summary["step"] == 5
    assert summary["trained_tokens"] == 5 * 4 * 10


def test_a_stage_that_the_recipe_lacks_is_damage(run: foretell.Trained, tmp_path: Path) -> None:
    broken = run.checkpoint
    state = broken.position()
    state.stage = 3
    with pytest.MonkeyPatch.context() as patch, pytest.raises(foretell.ConfigError, match="names stage 3"):
        patch.setattr(type(broken), "position", lambda _: state)
        run.stage_of(broken)


def test_a_run_says_what_it_holds(run: foretell.Trained) -> None:
    held, valid = run.description(), run.validation()
    assert held["run"] == str(run.run.path) and held["model"] == "recurrent" and held["step"] == valid["step"]
    assert held["valid_bits_per_byte"] == pytest.approx(valid["bits_per_byte"], abs=5e-5)
    assert (
        repr(run).startswith(f"Trained(run={str(run.run.path)!r}, recipe=")
        and f"{run.parameters:,}" in run._repr_html_()
    )
