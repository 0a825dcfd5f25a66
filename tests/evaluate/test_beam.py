"""Beam search: equal to looking at every continuation where it is wide enough, and in step with its states."""

import itertools
import json

import pytest
import torch
from builders import small, tables
from torch import Tensor
from typer.testing import CliRunner

import foretell
from foretell.cli import app
from foretell.errors import ConfigError
from foretell.evaluate.beam import Beam, Continuation, beam_search
from foretell.evaluate.scoring import NeuralScorer, Scorer
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import AdaptiveHeadConfig
from foretell.types import State

CPU = torch.device("cpu")
VOCABULARY, LENGTH, END = 4, 4, 2
PROMPT = [1, 0]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    torch.manual_seed(0)
    backbone = small(RecurrentConfig, hidden=6).build(VOCABULARY)
    head = AdaptiveHeadConfig(cutoffs=(2,)).build(backbone.dim, VOCABULARY, None)
    with torch.no_grad():
        for parameter in (*backbone.parameters(), *head.parameters()):
            parameter.normal_(std=1.5)
    return NeuralScorer(backbone.double().eval(), head.double().eval())


@pytest.fixture(scope="module")
def after(scorer: Scorer) -> dict[tuple[int, ...], Tensor]:
    """What comes next behind every text, each read anew from the start."""
    texts = (text for length in range(LENGTH) for text in itertools.product(range(VOCABULARY), repeat=length))
    return {text: scorer.next(torch.tensor([[*PROMPT, *text]]), None)[0][0] for text in texts}


def all_of_them(
    after: dict[tuple[int, ...], Tensor], beam: Beam, end: int | None, banned: tuple[int, ...] = ()
) -> list[Continuation]:
    """Every continuation."""
    found = {}
    for text in itertools.product(range(VOCABULARY), repeat=LENGTH):
        cut = text[: text.index(end) + 1] if end in text else text
        if not set(cut) & set(banned):
            found[cut] = sum(float(after[cut[:t]][cut[t]]) for t in range(len(cut)))
    scored = [Continuation(text, logp, beam.score(logp, len(text))) for text, logp in found.items()]
    return sorted(scored, key=lambda one: -one.score)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("end", [None, END])
@pytest.mark.parametrize("banned", [(), (3,)], ids=["all", "banned"])
def test_a_wide_beam_is_exhaustive(
    scorer: Scorer, after: dict[tuple[int, ...], Tensor], penalty: float, end: int | None, banned: tuple[int, ...]
) -> None:
    beam = Beam(width=VOCABULARY**LENGTH, best=7, length_penalty=penalty)
    found = beam_search(scorer, PROMPT, LENGTH, beam, device=CPU, end=end, banned=banned)
    expected = all_of_them(after, beam, end, banned)[:7]
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    for mine, exact in zip(found, expected, strict=True):
        assert mine.logp == pytest.approx(exact.logp, abs=1e-10)
        assert mine.score == pytest.approx(exact.logp / ((5 + len(exact.tokens)) / 6) ** penalty, abs=1e-10)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_narrow_beam_follows_the_likeliest_of_each_length(scorer: Scorer, width: int) -> None:
    """By a plain loop that reads every text anew."""
    followed: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for _ in range(LENGTH):
        grown = []
        for logp, text in followed:
            log_probs, _ = scorer.next(torch.tensor([[*PROMPT, *text]]), None)
            grown += [(logp + float(log_probs[0, word]), (*text, word)) for word in range(VOCABULARY)]
        followed = sorted(grown, reverse=True)[:width]
    found = beam_search(scorer, PROMPT, LENGTH, Beam(width=width, best=width), device=CPU)
    assert [one.tokens for one in found] == [text for _, text in followed]
    assert [one.logp for one in found] == pytest.approx([logp for logp, _ in followed], abs=1e-10)


def test_it_stops_when_nothing_can_become_better() -> None:
    class Ending:
        asked = 0

        def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
            self.asked += 1
            return torch.tensor([[0.09, 0.9, 0.01]]).log().repeat(len(tokens), 1), torch.zeros(len(tokens))

    scorer = Ending()
    found = beam_search(scorer, [0], 50, Beam(width=2), device=CPU, end=1)
    assert [one.tokens for one in found] == [(1,)] and scorer.asked == 1
    assert len(beam_search(Ending(), [0], 3, Beam(width=2), device=CPU)[0].tokens) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"width": 0}, "beam is 0"), ({"width": 3, "best": 4}, "best is 4"), ({"length_penalty": -1.0}, "length-penalty")],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Beam(**settings)  # type: ignore[arg-type]


def test_from_python_and_the_command_line(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("trained") / "run"
    recipe = tables(corpus, optimizer={"kind": "adam", "learning_rate": 0.03}, head={"kind": "adaptive"})
    trained = foretell.train(recipe, out, quiet=True)
    found = trained.search("the cat", 12, width=4, best=3)
    assert [one.logp for one in found] == sorted((one.logp for one in found), reverse=True)
    for one in found:  # a line that goes on from the prompt, as likely as the model says
        if one.text.endswith("\n"):
            whole, begun = trained.score(["the cat" + one.text, "the cat"])
            assert one.logp == pytest.approx(whole.logp - begun.logp, abs=1e-4)
    said = CliRunner().invoke(
        app, ["generate", str(out), "--prompt", "the cat", "--tokens", "12", "--beam", "4", "--best", "3", "--json"]
    )
    assert said.exit_code == 0, said.output
    assert [one["text"] for one in json.loads(said.stdout)["texts"]] == [one.text for one in found]
    plain = CliRunner().invoke(app, ["generate", str(out), "--prompt", "the cat", "--tokens", "12", "--beam", "4"])
    assert plain.stdout.rstrip("\n") == ("the cat" + trained.search("the cat", 12, width=4)[0].text).rstrip("\n")
