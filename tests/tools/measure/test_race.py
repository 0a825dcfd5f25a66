"""Races: recipes are squeezed into the budget, and what was measured stays when a race is stopped."""

import json
from pathlib import Path

import pytest
from rich.console import Console

import foretell
from foretell.api.train import run_recipe
from foretell.data.store.store import Store
from foretell.data.tokenizers.kinds import BPEConfig
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.tools import subprocesses
from foretell.tools.measure import race
from foretell.tools.measure.race import LOSSLESS, contexts, frontier, lossless, render, run_race, text_of, ticks
from foretell.training.monitor import Monitor


def test_the_frontier() -> None:
    points = [(1.0, 3.0), (2.0, 2.0), (3.0, 2.5), (4.0, 1.0), (2.0, 4.0)]
    assert frontier(points, larger_is_better=False) == [0, 1, 3]
    assert frontier(points, larger_is_better=True) == [3]


@pytest.mark.parametrize("values", [[3e8, 1e9], [2e3, 2.1e6], [1e3, 3e4], [5.0], [0.0, 1e6]])
def test_an_axis_names_a_few_numbers(values: list[float]) -> None:
    low, high = min(value for value in values if value), max(values)
    named = [n * 10.0**power for power in range(12) for n in ticks(values) if low / 2 <= n * 10.0**power <= 2 * high]
    assert 1 <= len(named) <= 7


def shown(result: dict, width: int = 80) -> str:
    with (console := Console(width=width, color_system=None)).capture() as printed:
        console.print(render(result))
    assert "…" not in printed.get() and max(map(len, printed.get().splitlines())) <= width
    return printed.get()


def tiny(folder: Path, corpus: dict[str, str]) -> list[str]:
    """Two recipes that take a moment."""
    data = f"[data]\ncorpus = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in corpus.items())} }}\n"
    data += 'tokenizer = { kind = "character" }\nbatches = { kind = "streams", batch = 4, length = 8 }\n'
    (folder / "counted.toml").write_text(data + '[model]\nkind = "ngram"\norder = 3\n')
    (folder / "trained.toml").write_text(data + "[model]\nembedding_dim = 8\nhidden = 8\nlayers = 1\n")
    return [str(folder / "counted.toml"), str(folder / "trained.toml")]


def in_this_process(verb: str, target: str, *options: str, quiet: bool) -> dict:
    """What a child process would print."""
    settings = dict(zip(options[::2], options[1::2], strict=False))
    if verb == "train":
        return run_recipe(load_recipe(target), settings["--out"], resume=True, quiet=quiet).summary()
    return foretell.load(target).evaluate(settings["--split"], columns=int(settings["--columns"]))


@pytest.mark.parametrize("processes", ["one", pytest.param("many", marks=pytest.mark.slow)])
def test_a_race_that_was_stopped_goes_on_to_the_same_result(
    processes: str, corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if processes == "one":
        monkeypatch.setattr(subprocesses, "child", in_this_process)
    recipes = tiny(tmp_path, corpus)
    course = {"seeds": 2, "split": "test", "quiet": True}
    whole = run_race(recipes, [], "2000tokens", out=tmp_path / "whole", resume=False, **course)
    assert list(whole["results"]) == ["counted-seed1", "trained-seed1", "trained-seed2"]
    for result in whole["results"].values():
        assert result["budget_used"] <= 1.05
    trained = [whole["results"][f"trained-seed{seed}"] for seed in (1, 2)]
    assert all(result["budget_used"] >= 0.95 for result in trained)
    assert trained[0]["loss"] != trained[1]["loss"]
    row = next(row for row in whole["table_rows"] if row["contender"] == "trained")
    assert row["bits_per_byte"] == pytest.approx(sum(result["bits_per_byte"] for result in trained) / 2)
    for width in (60, 80, 120):
        text = shown(whole, width)
        assert "counted" in text and "trained" in text and f"{row['bits_per_byte']:.3f}" in text

    real, done = race.run_one, []

    def stop_after_two(*arguments: object) -> dict:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(race, "run_one", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        run_race(recipes, [], "2000tokens", out=tmp_path / "parts", resume=False, **course)
    monkeypatch.setattr(race, "run_one", real)
    with pytest.raises(ConfigError, match="--resume"):
        run_race(recipes, [], "2000tokens", out=tmp_path / "parts", resume=False, **course)
    with pytest.raises(ConfigError, match="another budget"):
        run_race(recipes, [], "3000tokens", out=tmp_path / "parts", resume=True, **course)
    again = run_race(recipes, [], "2000tokens", out=tmp_path / "parts", resume=True, **course)
    for name, result in whole["results"].items():
        assert again["results"][name]["loss"] == result["loss"]


def test_what_goes_wrong_in_a_contender_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="is not a run"):
        subprocesses.child("evaluate", str(tmp_path), quiet=True)


def test_contenders_need_the_same_text(tmp_path: Path, corpus: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="different texts"):
        run_race(
            ["awd-lstm-tiny", "ngram-5"], [], "1000tokens", seeds=1, split="test", out=tmp_path / "x", resume=False
        )


@pytest.mark.parametrize("name", ["bert-wiki-mini", "electra-wiki-mini", "bert-finetune-sst2"])
def test_contenders_that_give_text_no_probability_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*no bits per byte") as problem:
        run_race([name], [], "1000tokens", seeds=1, split="test", out=tmp_path / "x", resume=False)
    assert "\n" not in str(problem.value)


def test_all_are_measured_alike(corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted and trained models in the same columns, and the caption says so."""
    asked: list[tuple[str, str]] = []

    def child(verb: str, target: str, *options: str, quiet: bool) -> dict:
        if verb == "evaluate":
            asked.append((Path(target).name, dict(zip(options[::2], options[1::2], strict=False))["--columns"]))
        return in_this_process(verb, target, *options, quiet=quiet)

    monkeypatch.setattr(subprocesses, "child", child)
    settings = ["evaluation.columns=80"]
    found = run_race(
        tiny(tmp_path, corpus), settings, "500tokens", seeds=1, split="test", out=tmp_path / "r", resume=False
    )
    assert asked == [("counted-seed1", "50"), ("trained-seed1", "50")]
    counted = foretell.load(tmp_path / "r" / "counted-seed1")
    row = next(row for row in found["table_rows"] if row["contender"] == "counted")
    assert row["bits_per_byte"] == counted.evaluate("test", columns=50)["bits_per_byte"]
    assert row["bits_per_byte"] != counted.evaluate("test")["bits_per_byte"]
    assert "All measured on one text, with carried state in 50 columns." in " ".join(shown(found).split())


def test_what_is_lossy_is_not_ranked(corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocesses, "child", in_this_process)
    recipes = tiny(tmp_path, corpus)
    lossy = Path(recipes[1]).read_text().replace('kind = "character"', 'kind = "word", min_count = 40')
    Path(recipes[1]).write_text(lossy)
    course = {"seeds": 1, "split": "test", "resume": False, "quiet": True}
    found = run_race(recipes, [], "3000tokens", out=tmp_path / "race", **course)
    assert [(row["contender"], row["ranked"], row["lossy"]) for row in found["table_rows"]] == [
        ("counted", True, False),
        ("trained", False, True),
    ]
    text = " ".join(shown(found).split())
    assert "not ranked" in text and "Not ranked: " in text and "% unknown" in text


def over_words(text: str, folder: Path) -> list[Recipe]:
    """Shipped recipes over words and over BPE, on a text of one line repeated, with another line held out."""
    lines = {"train": "the cat sat on the mat .\n" * 200, "valid": text * 20, "test": text * 20}
    for split, content in lines.items():
        (folder / f"{split}.txt").write_text(content)
    corpus = {split: str(folder / f"{split}.txt") for split in lines}
    own = {"data.corpus": corpus}
    return [load_recipe("ngram-5", own), load_recipe("awd-lstm-tiny", own | {"data.tokenizer.size": 300})]


def texts(recipes: list[Recipe]) -> list[Store]:
    return [text_of(recipe, Monitor(quiet=True)) for recipe in recipes]


def test_words_that_would_be_lost_become_subwords_of_another_contender(tmp_path: Path) -> None:
    recipes = over_words("the dog sat on the mat .\n", tmp_path)
    said: list[str] = []
    monitor = Monitor(quiet=True)
    monitor.say = said.append  # type: ignore[method-assign]
    changed = lossless(recipes, texts(recipes), [True, True], monitor)
    assert [recipe.data.tokenizer for recipe in changed] == [BPEConfig(size=300)] * 2
    assert changed[0].model == recipes[0].model
    assert "ngram-5: words would be lost in this text, so the tokens are BPE of 300 instead" in said[-1]
    alone = lossless(recipes[:1], texts(recipes[:1]), [True], monitor)
    assert alone[0].data.tokenizer == LOSSLESS


def test_words_stay_in_recipes_of_ones_own_and_where_none_are_lost(tmp_path: Path) -> None:
    recipes = over_words("the dog sat on the mat .\n", tmp_path)
    assert lossless(recipes, texts(recipes), [False, True], Monitor(quiet=True)) == recipes
    (tmp_path / "closed").mkdir()
    closed = over_words("the mat sat on the cat .\n", tmp_path / "closed")
    assert lossless(closed, texts(closed), [True, True], Monitor(quiet=True)) == closed


def test_contexts_that_differ_are_told() -> None:
    rows = [{"contender": "a", "context": "x"}, {"contender": "b", "context": "y"}, {"contender": "c", "context": "x"}]
    assert contexts(rows) == "x (a, c); y (b)"
    assert contexts(rows[:1]) == "x"


def test_variations_are_compared_with_their_recipe_seed_by_seed(
    corpus: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocesses, "child", in_this_process)
    recipe, course = tiny(tmp_path, corpus)[1], {"seeds": 2, "split": "test", "resume": False, "quiet": True}
    variation = 'model.hidden=9 optimizer={kind="adam", learning_rate=0.1}'
    found = run_race([recipe], [], "1000tokens", out=tmp_path / "r", variations=[variation], **course)
    rows = {row["contender"]: row for row in found["table_rows"]}
    assert rows.keys() == {"trained", variation}
    bits = {name: result["bits_per_byte"] for name, result in found["results"].items()}
    one, two = (bits[f"{variation}-seed{seed}"] - bits[f"trained-seed{seed}"] for seed in (1, 2))
    assert rows[variation]["difference"] == pytest.approx((one + two) / 2)
    assert rows[variation]["margin"] == pytest.approx(12.7062 * abs(one - two) / 2, rel=1e-4)  # t table, 1 degree
    assert rows["trained"]["difference"] is None
    assert foretell.load(tmp_path / "r" / f"{variation}-seed1").recipe.model.hidden == 9  # type: ignore[union-attr]
    for width in (60, 80, 120):
        assert f"{rows[variation]['difference']:+.3f}" in shown(found, width)


def test_variations_are_of_one_recipe(corpus: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of one recipe"):
        run_race(
            tiny(tmp_path, corpus),
            [],
            "1000tokens",
            seeds=1,
            split="test",
            out=tmp_path / "r",
            resume=False,
            variations=["seed=2"],
        )
