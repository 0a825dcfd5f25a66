"""Drawing text: the right support, the right frequencies, the same with and without the cache."""

import math
from collections import Counter

import pytest
import torch
from builders import tables
from torch import Tensor

import foretell
from foretell.errors import ConfigError
from foretell.evaluate.generate import Sampling, generate
from foretell.types import State

PROBS = torch.tensor([[0.1, 0.4, 0.05, 0.3, 0.15]])


class Fixed:
    """A scorer that always says the same, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], State]] = []

    def begin(self, rows: int, tokens: int) -> State:
        return None

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        self.asked.append((tokens[0].tolist(), state))
        return PROBS.log(), len(self.asked)


def drawn(sampling: Sampling, tokens: int = 1, banned: tuple[int, ...] = ()) -> list[int]:
    return [row[0] for row in generate(Fixed(), torch.tensor([[0]]), tokens, sampling, banned=banned)]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.1, 0.4, 0.05, 0.3, 0.15]),
        (Sampling(temperature=0), [0, 1, 0, 0, 0]),
        (Sampling(top_k=1), [0, 1, 0, 0, 0]),
        (Sampling(top_k=2), [0, 4 / 7, 0, 3 / 7, 0]),
        (Sampling(top_k=9), [0.1, 0.4, 0.05, 0.3, 0.15]),
        (Sampling(top_p=0.39), [0, 1, 0, 0, 0]),
        (Sampling(top_p=0.6), [0, 4 / 7, 0, 3 / 7, 0]),  # 0.4 is not enough, 0.7 is
        (Sampling(top_p=0.8), [0, 8 / 17, 0, 6 / 17, 3 / 17]),
        (Sampling(top_p=1.0), [0.1, 0.4, 0.05, 0.3, 0.15]),
        (Sampling(top_p=1e-9), [0, 1, 0, 0, 0]),
        (Sampling(top_k=3, top_p=0.5), [0, 4 / 7, 0, 3 / 7, 0]),  # 8/17 of the three, then 14/17
        (Sampling(temperature=0.5), [0.01 / 0.285, 0.16 / 0.285, 0.0025 / 0.285, 0.09 / 0.285, 0.0225 / 0.285]),
    ],
    ids=str,
)
def test_distributions_by_hand(sampling: Sampling, expected: list[float]) -> None:
    assert sampling.distribution(PROBS.log())[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_frequencies() -> None:
    counts = Counter(drawn(Sampling(top_k=4), 5000))
    assert set(counts) == {0, 1, 3, 4}
    for token, share in {0: 0.1, 1: 0.4, 3: 0.3, 4: 0.15}.items():
        p = share / 0.95
        assert abs(counts[token] / 5000 - p) < 3.5 * math.sqrt(p * (1 - p) / 5000)


def test_seeds() -> None:
    assert drawn(Sampling(seed=3), 50) == drawn(Sampling(seed=3), 50)
    assert drawn(Sampling(seed=3), 50) != drawn(Sampling(seed=4), 50)


def test_banned_tokens_never_come() -> None:
    assert set(drawn(Sampling(), 300, banned=(1, 3))) == {0, 2, 4}
    assert drawn(Sampling(temperature=0), 1, banned=(1,)) == [3]


def test_each_token_is_read_once() -> None:
    """The state is the cache: after the prompt only the new token is given."""
    scorer = Fixed()
    tokens = [row[0] for row in generate(scorer, torch.tensor([[4, 2, 0]]), 3, Sampling())]
    assert scorer.asked == [([4, 2, 0], None), ([tokens[0]], 1), ([tokens[1]], 2)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"temperature": -1.0}, "temperature is -1"), ({"top_k": 0}, "top-k is 0"), ({"top_p": 1.5}, "top-p is 1.5")],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Sampling(**settings)


# --- with a model ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> foretell.Trained:
    recipe = tables(corpus, model__layers=2, optimizer={"kind": "adam", "learning_rate": 0.03})
    return foretell.train(recipe, tmp_path_factory.mktemp("trained") / "run", quiet=True)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(seed=7)], ids=["greedy", "drawn"])
def test_the_cache_is_reading_everything_again(trained: foretell.Trained, sampling: Sampling) -> None:
    prompt, scorer = trained.prompt("the cat"), trained.scorer()
    cached = [row[0] for row in generate(scorer, torch.tensor([prompt]), 12, sampling)]
    random = torch.Generator().manual_seed(sampling.seed)
    text = list(prompt)
    for _ in range(12):
        log_probs, _ = scorer.next(torch.tensor([text]), None)
        text.append(int(torch.multinomial(sampling.distribution(log_probs), 1, generator=random)))
    assert cached == text[len(prompt) :]


def test_greedy_is_the_likeliest_word(trained: foretell.Trained) -> None:
    scorer, text = trained.scorer(), trained.prompt("a dog")
    for (token,) in generate(scorer, torch.tensor([text]), 8, Sampling(temperature=0)):
        log_probs, _ = scorer.next(torch.tensor([text]), None)
        assert token == int(log_probs.argmax())
        text.append(token)


def test_rows_know_nothing_of_each_other(trained: foretell.Trained) -> None:
    prompts = torch.tensor([[0, 3, 1], [2, 2, 2], [1, 0, 3]])
    together = list(generate(trained.scorer(), prompts, 6, Sampling(temperature=0)))
    for number, prompt in enumerate(prompts):
        alone = generate(trained.scorer(), prompt[None], 6, Sampling(temperature=0))
        assert [row[number] for row in together] == [row[0] for row in alone]


def test_several_texts(trained: foretell.Trained) -> None:
    texts = trained.texts(40, "the", tokens=5, seed=2)
    assert len(set(texts)) > 10, "they are drawn apart"
    assert trained.texts(2, "the", tokens=5, temperature=0) == [trained.generate("the", tokens=5, temperature=0)] * 2


@pytest.mark.parametrize("text", ["the cat", "the cat ", "the cat\n", "the", ""])
def test_the_whole_prompt_is_read(trained: foretell.Trained, text: str) -> None:
    words = [trained.tokenizer.token(i) for i in trained.prompt(text)]
    assert words == ["<eos>", *text.replace("\n", " <eos>").split()]


def test_pieces_join_to_the_text(trained: foretell.Trained) -> None:
    pieces = list(trained.stream("the", tokens=9, seed=2))
    assert "".join(pieces) == trained.generate("the", tokens=9, seed=2)
    assert len(pieces) <= 9
    assert pieces[0][0] in " \n"  # what goes on a word starts with a blank, or ends the line
    assert "<unk>" not in trained.generate("the", tokens=200)
