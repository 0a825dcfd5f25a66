"""Next words: against the whole distribution for words, against scoring every spelling for all other tokens."""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import tables
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.evaluate.completion import next_words, split_prompt

TEXT = "ab ba ab abb\nb a ab ba bab\n" * 40


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, foretell.Trained]:
    """Models of a language of two letters, whose words can all be tried."""
    folder = tmp_path_factory.mktemp("letters")
    (folder / "text.txt").write_text(TEXT)
    corpus = dict.fromkeys(("train", "valid", "test"), str(folder / "text.txt"))
    kinds: dict[str, Any] = {"character": "character", "byte": "byte", "bpe": {"kind": "bpe", "size": 265}}
    changes = {"limit": "40steps", "optimizer": {"kind": "adam", "learning_rate": 0.03}}
    return {
        name: foretell.train(tables(corpus, data__tokenizer=kind, **changes), folder / name, quiet=True)
        for name, kind in kinds.items()
    }


@pytest.fixture(scope="module")
def words(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, optimizer={"kind": "adam", "learning_rate": 0.03})
    return foretell.train(recipe, tmp_path_factory.mktemp("words") / "run", quiet=True)


def after(run: foretell.Trained, prompt: str, count: int = 5, **settings: Any) -> dict[str, float]:
    found = next_words(run.scorer(), run.tokenizer, prompt, count, run.device, **settings)
    assert [word.probability for word in found] == sorted((word.probability for word in found), reverse=True)
    return dict(found)


# --- words ----------------------------------------------------------------------------------------


def test_words_are_the_distribution_itself(words: foretell.Trained) -> None:
    log_probs, _ = words.scorer().next(torch.tensor([words.prompt("the cat")]), None)
    probs = log_probs[0].double().exp()
    ends = float(probs[words.tokenizer.boundary])
    expected = {words.tokenizer.token(i): float(p) / (1 - ends) for i, p in enumerate(probs)}
    found = after(words, "the cat", 100)
    assert found == pytest.approx({word: p for word, p in expected.items() if word not in ("<eos>", "<unk>")})
    assert sum(found.values()) == pytest.approx(1 - expected["<unk>"])
    assert list(after(words, "the cat", 3)) == list(found)[:3]
    assert after(words, "the cat ", 100) == found


def test_words_with_a_beginning(words: foretell.Trained) -> None:
    whole, found = after(words, "the", 100), after(words, "the t", 100, complete=True)
    fits = {word: p for word, p in whole.items() if word.startswith("t")}
    assert len(fits) > 1 and found == pytest.approx({word: p / sum(fits.values()) for word, p in fits.items()})
    assert after(words, "the xyz", complete=True) == {}
    assert after(words, "the ", 100, complete=True) == pytest.approx(
        {word: p / sum(whole.values()) for word, p in whole.items()}, rel=0.2
    )


# --- letters --------------------------------------------------------------------------------------


def spellings(run: foretell.Trained, text: str) -> Iterator[list[int]]:
    """All token sequences that spell a text."""
    spelled = {run.tokenizer.decode([i]): i for i in range(run.tokenizer.size)}
    if not text:
        yield []
    for size in range(1, len(text) + 1):
        if text[:size] in spelled:
            yield from ([spelled[text[:size]], *rest] for rest in spellings(run, text[size:]))


def log_probability(run: foretell.Trained, context: list[int], ids: list[int]) -> tuple[float, torch.Tensor]:
    """Of some tokens after a context, and the distribution of what follows them."""
    state, given, total = None, context, 0.0
    for token in ids:
        log_probs, state = run.scorer().next(torch.tensor([given]), state)
        total += float(log_probs[0, token])
        given = [token]
    return total, run.scorer().next(torch.tensor([given]), state)[0][0].double()


def tried(run: foretell.Trained, prompt: str, begun: str = "", longest: int = 4) -> dict[str, float]:
    """The probability of every word of the language, summed over its spellings and over all ways to end it."""
    context = run.prompt(prompt)
    starts = [run.tokenizer.decode([i])[:1] for i in range(run.tokenizer.size)]
    ends = torch.tensor([not start or start.isspace() for start in starts])
    found: dict[str, float] = defaultdict(float)
    for size in range(max(1, len(begun)), longest + 1):
        for word in map("".join, itertools.product("ab", repeat=size)):
            for ids in spellings(run, " " + word) if word.startswith(begun) else ():
                logp, following = log_probability(run, context, ids)
                found[word] += math.exp(logp) * float(following.exp()[ends].sum())
    return dict(found)


@pytest.mark.parametrize("kind", ["character", "byte"])
@pytest.mark.parametrize("prompt", ["ab", "ab ba\nb"])
def test_letters_are_exact(letters: dict[str, foretell.Trained], kind: str, prompt: str) -> None:
    run = letters[kind]
    (blank,) = spellings(run, " ")
    given = math.exp(log_probability(run, run.prompt(prompt), blank)[0])
    expected = tried(run, prompt)
    best = sorted(expected, key=expected.__getitem__, reverse=True)[:5]
    assert after(run, prompt) == pytest.approx({word: expected[word] / given for word in best}, rel=1e-4)
    assert list(after(run, prompt)) == best
    assert after(run, prompt + " ") == after(run, prompt)


@pytest.mark.parametrize("kind", ["character", "byte"])
def test_letters_with_a_beginning(letters: dict[str, foretell.Trained], kind: str) -> None:
    run = letters[kind]
    (begun,) = spellings(run, " ba")
    given = math.exp(log_probability(run, run.prompt("ab"), begun)[0])
    expected = tried(run, "ab", "ba")
    best = sorted(expected, key=expected.__getitem__, reverse=True)[:3]
    found = after(run, "ab ba", 3, complete=True)
    assert found == pytest.approx({word: expected[word] / given for word in best}, rel=1e-4)
    assert all(word.startswith("ba") for word in found)


def test_subwords_are_summed_over_their_spellings(
    letters: dict[str, foretell.Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = letters["bpe"]
    assert len(list(spellings(run, " ab"))) > 2
    log_probs, _ = run.scorer().next(torch.tensor([run.prompt("ab")]), None)
    starts = [run.tokenizer.decode([i]) for i in range(run.tokenizer.size)]
    blank = torch.tensor([start[:1] == " " and not start[1:2].isspace() for start in starts])
    given = float(log_probs[0].double().exp()[blank].sum())
    expected = tried(run, "ab")
    best = sorted(expected, key=expected.__getitem__, reverse=True)[:3]
    exact = {word: expected[word] / given for word in best}
    found = after(run, "ab", 3)
    assert found == pytest.approx(exact, rel=0.03)
    assert all(found[word] <= exact[word] * (1 + 1e-5) for word in best)
    monkeypatch.setattr("foretell.evaluate.completion.OTHER_SPELLINGS", -20.0)
    found = after(run, "ab", 3, floor=1e-7)
    assert found == pytest.approx(exact, rel=1e-3)
    coarse = after(run, "ab", 3, floor=1e-3)
    assert all(coarse[word] <= found[word] * (1 + 1e-6) for word in coarse if word in found)


@pytest.mark.parametrize("kind", ["character", "byte", "bpe"])
def test_at_the_start_of_a_line(letters: dict[str, foretell.Trained], kind: str) -> None:
    for prompt in ("", "ab ba\n"):
        found = after(letters[kind], prompt)
        assert found and sum(found.values()) <= 1 + 1e-9
        assert all(word and not word[0].isspace() for word in found)


def test_prompts() -> None:
    assert split_prompt("how t") == ("how ", "t")
    assert split_prompt("how ") == ("how ", "") and split_prompt("") == ("", "") and split_prompt("t") == ("", "t")


def test_impossible_questions(words: foretell.Trained) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        after(words, "the", 0)


def test_on_the_command_line(words: foretell.Trained) -> None:
    rows = CliRunner().invoke(app, ["next", str(words.run.path), "--words", "2"], input="the\na dog\n").stdout
    table = [row.split("\t") for row in rows.splitlines()]
    assert [row[0] for row in table] == ["the", "the", "a dog", "a dog"]
    assert [row[1] for row in table[:2]] == list(after(words, "the", 2))
    assert Path(words.run.path).exists()


def test_what_the_floor_leaves_out_is_told(letters: dict[str, foretell.Trained]) -> None:
    path = str(letters["character"].run.path)
    found, whole = (
        json.loads(CliRunner().invoke(app, ["next", path, "--prompt", "ab", "--characters", *floor, "--json"]).stdout)
        for floor in (["--floor", "0.1"], ["--floor", "0"])
    )
    [few], [all_] = found["prompts"], whole["prompts"]
    assert all_["left_out"] == pytest.approx(0, abs=1e-12) and len(few["characters"]) < len(all_["characters"])
    assert few["left_out"] == pytest.approx(sum(c["probability"] for c in all_["characters"] if c["probability"] < 0.1))


@pytest.mark.parametrize("characters", [[], ["--characters"]])
def test_a_prompt_that_nothing_likely_follows_is_named(words: foretell.Trained, characters: list[str]) -> None:
    shown = CliRunner().invoke(app, ["next", str(words.run.path), "--prompt", "the", "--floor", "1", *characters])
    assert shown.stdout == "" and shown.exit_code == 0
    assert shown.stderr == "nothing after 'the' has a probability of 1 or more; lower --floor\n"


@pytest.mark.parametrize("name", ["character", "byte", "bpe"])
def test_without_a_floor_the_likeliest_are_the_same(letters: dict[str, foretell.Trained], name: str) -> None:
    assert after(letters[name], "ab", 3, floor=0.0) == after(letters[name], "ab", 3, floor=1e-6)


def test_a_floor_holds_for_word_tokens(words: foretell.Trained) -> None:
    every = after(words, "the", 100)
    floor = sorted(every.values())[len(every) // 2]
    assert after(words, "the", 100, floor=floor) == {word: p for word, p in every.items() if p >= floor}
