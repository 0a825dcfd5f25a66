"""Mixtures whose weights learn, end to end."""

from pathlib import Path

import numpy as np
import pytest
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.api.online_mixing import begins_word
from foretell.cli import app
from foretell.data.tokenizers.kinds import ByteConfig
from foretell.evaluate.lines import score_texts
from foretell.evaluate.online_weights import ExponentiatedGradient

Corpus = dict[str, str]


@pytest.fixture(scope="module")
def runs(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[foretell.Trained]:
    folder = tmp_path_factory.mktemp("online")
    counted = [{"kind": "ngram", "order": 2}, {"kind": "unbounded-ngram"}]
    recipes = [
        tables(corpus, limit="20steps"),
        *(tables(corpus, limit="1epochs", model=model) for model in counted),
    ]
    return [foretell.train(recipe, folder / str(number), quiet=True) for number, recipe in enumerate(recipes)]


@pytest.mark.parametrize("online", [True, "gated"])
def test_results_have_a_static_and_an_adaptive_part(runs: list[foretell.Trained], online: bool) -> None:
    mixed = foretell.mix(runs, online=online)
    result = mixed.evaluate("test")
    assert result["loss"] == pytest.approx(foretell.mix(runs).evaluate("test")["loss"])
    adaptive = result["adaptive"]
    assert adaptive["loss"] != result["loss"] and "online" in adaptive["context"]
    with mixed.text("test") as text:
        assert adaptive["loss"] == pytest.approx(-mixed.token_scores(text).logp.mean())
    if online is True:
        assert adaptive["regret"]["nats"] <= adaptive["regret"]["bound"]
    assert [member["run"] for member in adaptive["mixture"]] == [str(run.run.path) for run in runs]
    assert "mixture weights" in mixed.evaluate("valid")["adaptive"]["fitted_here"]


def test_its_scorer_books_what_is_measured(runs: list[foretell.Trained]) -> None:
    mixed = foretell.mix(runs, online=True)
    with mixed.text("test") as text:
        wanted = mixed.token_scores(text).logp
    likelihood = mixed.members[2].likelihood(ranks=False)
    from foretell.evaluate.scoring import score_tokens

    with mixed.text("test") as text:
        found = score_tokens(mixed.scorer(), likelihood.windows(text), mixed.device)
    np.testing.assert_allclose(found.logp, wanted, rtol=1e-5)


def test_it_generates(runs: list[foretell.Trained]) -> None:
    mixed = foretell.mix(runs, online="gated")
    assert mixed.generate("the cat", tokens=5, seed=1) == mixed.generate("the cat", tokens=5, seed=1)


def test_it_compresses_to_what_is_measured(runs: list[foretell.Trained], corpus: Corpus) -> None:
    mixed, text = foretell.mix(runs[1:], online=True), Path(corpus["test"]).read_bytes()
    compressed, bits = mixed.compress(text), mixed.evaluate("test")["adaptive"]["bits_per_byte"] * len(text)
    assert abs(8 * len(compressed) - bits) <= 0.001 * bits + 800
    mixed.rule = ExponentiatedGradient([0.1, 0.9])  # the file names the weights to start from
    assert mixed.decompress(compressed) == text
    with pytest.raises(foretell.ConfigError, match="compressed by another model"):
        foretell.mix(runs[1:]).decompress(compressed)
    with pytest.raises(foretell.ConfigError, match="compress with fixed ones"):
        mixed.compress(text, static=True)
    gated = foretell.mix(runs[1:], online="gated")
    assert gated.decompress(gated.compress(text)) == text


def test_members_that_adapt_leave_the_static_part_alone(runs: list[foretell.Trained]) -> None:
    cache = {"window": 50, "sharpness": 0.3, "weight": 0.2}
    plain = foretell.mix(runs[:2], online=True).evaluate("test")
    for found in (
        foretell.mix(runs[:2], online=True).evaluate("test", cache=cache),
        foretell.mix([runs[0].adapted(cache=cache), runs[1]], online=True).evaluate("test"),
    ):
        assert found["loss"] == plain["loss"] and "adaptation" in found["adaptive"]["mixture"][0]
        assert found["adaptive"]["loss"] != plain["adaptive"]["loss"]


def test_weights_that_are_learned_cannot_be_given(runs: list[foretell.Trained]) -> None:
    with pytest.raises(foretell.ConfigError, match="leave out the weights"):
        foretell.mix(runs[:2], [0.5, 0.5], online=True)
    with pytest.raises(foretell.ConfigError, match="leave out columns"):
        foretell.mix(runs[:2], online=True).evaluate("test", columns=2)


def test_weights_start_again_with_each_line(corpus: Corpus, tmp_path: Path) -> None:
    recipes = [
        tables(corpus, limit="1epochs", data__batches={"kind": "lines"}, model={"kind": "ngram", "order": order})
        for order in (1, 2)
    ]
    mixed = foretell.mix([foretell.train(r, tmp_path / str(k), quiet=True) for k, r in enumerate(recipes)], online=True)
    with mixed.text("test") as text:
        starts, places = mixed.starts(text), text.lines  # type: ignore[attr-defined]
        assert starts == sorted({int(place) for place in places[:-1]})
        logp = mixed.token_scores(text).logp
        fixed = mixed.fixed.token_scores(text).logp  # type: ignore[attr-defined]
    lines = [f"{line}\n" for line in Path(corpus["test"]).read_text().splitlines()]
    scores = score_texts(mixed.scorer(), mixed.tokenizer, lines, mixed.device)
    np.testing.assert_allclose([one.logp for one in scores], np.add.reduceat(logp, starts), rtol=1e-6)
    np.testing.assert_allclose([one.logp for one in mixed.score(lines)], np.add.reduceat(fixed, starts), rtol=1e-6)


def test_the_command_shows_both(runs: list[foretell.Trained]) -> None:
    words = ["evaluate", str(runs[0].run.path), "--mix", str(runs[1].run.path), "--quiet"]
    done = CliRunner().invoke(app, [*words, "--online"])
    assert done.exit_code == 0 and "regret" in done.stdout and "at most" in done.stdout
    done = CliRunner().invoke(app, [*words, "--gated"])
    assert done.exit_code == 0 and "learned online (gate)" in " ".join(done.stdout.split())
    done = CliRunner().invoke(app, [*words[:2], "--online"])
    assert "--online needs --mix" in str(done.exception)


def test_words_begin_after_all_but_letters_and_digits() -> None:
    tokenizer = ByteConfig().train(())
    begins = begins_word(tokenizer)
    ids = tokenizer.encode("a b-9")
    assert begins[ids].tolist() == [False, True, False, True, False] and begins[tokenizer.boundary]
