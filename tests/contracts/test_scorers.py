"""The contract of scorers: distributions sum to 1, `next` gives what `score` booked, nothing later is looked at.

The audit holds them to it: every kind of model passes, with every adaptation, alone and mixed; cheats do not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from builders import tables, write_corpus
from predictors import trained
from torch import Tensor

import foretell
from foretell.api.online_mixing import OnlineMixed, begins_word
from foretell.data.batches.streams import StreamsConfig, Windows
from foretell.evaluate import audit
from foretell.evaluate.audit import Audit, recomputed, sampled
from foretell.evaluate.dynamic import DynamicConfig, DynamicScorer
from foretell.evaluate.gated_weights import Gate
from foretell.evaluate.mixture import Mixture
from foretell.evaluate.online_mixture import OnlineMixture
from foretell.evaluate.online_weights import ExponentiatedGradient
from foretell.evaluate.scoring import NeuralScorer, Scorer, score_tokens
from foretell.types import IGNORED, Inputs, Scores, State

CPU = torch.device("cpu")
DYNAMIC = {"learning_rate": 0.05, "decay": 0.01, "rule": "sgd", "segment": 4}
CACHE = {"window": 50, "sharpness": 0.3, "weight": 0.2}
Runs = dict[str, foretell.Trained]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("scorers")
    corpus = write_corpus(folder, words=300)
    names = ("ngram", "lstm", "gpt", "context-mixing", "unbounded-ngram")
    made = {name: trained(name, corpus, folder) for name in names}
    lines = tables(corpus, data__tokenizer="byte", data__batches={"kind": "lines", "batch": 4, "length": 9})
    return made | {"lines": foretell.train(lines, folder / "lines", quiet=True)}


@pytest.fixture(autouse=True)
def all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SECONDS", 1e9)


ADAPTED: dict[str, Callable[[Runs], Any]] = {
    "ngram": lambda runs: runs["ngram"],
    "lstm": lambda runs: runs["lstm"],
    "gpt": lambda runs: runs["gpt"],
    "context mixing": lambda runs: runs["context-mixing"],
    "context mixing, learning": lambda runs: runs["context-mixing"].adapted(),
    "n-gram of unbounded order": lambda runs: runs["unbounded-ngram"],
    "n-gram of unbounded order, learning": lambda runs: runs["unbounded-ngram"].adapted(),
    "lines": lambda runs: runs["lines"],
    "lines, dynamic": lambda runs: runs["lines"].adapted(dynamic=DYNAMIC),
    "dynamic": lambda runs: runs["lstm"].adapted(dynamic=DYNAMIC),
    "dynamic at every token": lambda runs: runs["lstm"].adapted(dynamic=DYNAMIC | {"segment": 1}),
    "cache": lambda runs: runs["lstm"].adapted(cache=CACHE),
    "cache of a gpt": lambda runs: runs["gpt"].adapted(cache=CACHE),
    "cache and dynamic": lambda runs: runs["lstm"].adapted(cache=CACHE, dynamic=DYNAMIC),
    "mixture": lambda runs: foretell.mix([runs["lstm"], runs["ngram"], runs["gpt"]], [0.5, 0.2, 0.3]),
    "mixture, learning": lambda runs: foretell.mix(
        [runs["context-mixing"].adapted(), runs["lstm"].adapted(cache=CACHE, dynamic=DYNAMIC), runs["lines"]],
        [0.5, 0.25, 0.25],
    ),
    "mixture, weights learned online": lambda runs: foretell.mix(
        [runs["unbounded-ngram"], runs["lstm"].adapted(cache=CACHE, dynamic=DYNAMIC), runs["ngram"]], online=True
    ),
    "mixture, weights by a gate": lambda runs: foretell.mix(
        [runs["context-mixing"], runs["lstm"], runs["ngram"]], online="gated"
    ),
}


@pytest.mark.parametrize("name", ADAPTED)
def test_every_scorer_passes(runs: Runs, name: str) -> None:
    result = ADAPTED[name](runs).evaluate("test", audit=True)
    for part in (result, result.get("adaptive", result)):
        found = part["audit"]
        assert found["passed"], found
        assert found["positions"] >= 64
        assert set(found) == {"positions", "max_sum_error", "max_recompute_error", "passed"}


@pytest.mark.parametrize("name", ["lstm", "dynamic"])
def test_columns_pass(runs: Runs, name: str) -> None:
    found = ADAPTED[name](runs).evaluate("test", audit=True, columns=3)
    assert found["audit"]["passed"], found["audit"]


def test_both_passes_of_an_adaptive_measurement_are_audited(runs: Runs) -> None:
    found = runs["context-mixing"].evaluate("test", adaptive=True, audit=True)
    assert found["audit"]["passed"] and found["adaptive"]["audit"]["passed"]


# --- cheats ---------------------------------------------------------------------------------------


class Cheat(Scorer):
    """A scorer around another."""

    independent = False

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner

    def begin(self, rows: int, tokens: int) -> State:
        return self.inner.begin(rows, tokens)

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        return self.inner.score(inputs, targets, state)

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        return self.inner.next(tokens, state)


class AddedCache(Cheat):
    """Adds 1 % for the token before, and takes it from none."""

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        scores, state = super().score(inputs, targets, state)
        more = torch.where(inputs.tokens == targets, 0.01, 0.0)
        return Scores((scores.logp.exp() + more).log()), state

    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        logp, state = super().next(tokens, state)
        more = torch.zeros_like(logp).scatter_(1, tokens[:, -1:], 0.01)
        return (logp.exp() + more).log(), state


class PeekingMixture(Mixture):
    """Chooses the member that knows the target best; `next` mixes."""

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        parts = [s.score(inputs, targets, part) for s, part in zip(self.scorers, self._states(state), strict=True)]
        best = torch.stack([scores.logp for scores, _ in parts]).amax(0)
        return Scores(best), tuple(after for _, after in parts)


class PeekingWeights(ExponentiatedGradient):
    """Learns from each token before it gives the weights for it."""

    def read(self, tokens: Any, logp: Any, starts: Any = (0,)) -> Any:
        used = np.roll(self.stepwise(tokens, logp, starts)[1], -1, axis=1)
        return np.logaddexp.reduce(np.log(used) + logp), used


class LearnsFirst(DynamicScorer):
    """Learns from a window before it scores it."""

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        super().score(inputs, targets, state)
        scores = NeuralScorer.score(self, inputs, targets, state)
        return scores


class LooksAhead(Cheat):
    """Gives its targets a little more in `score`."""

    def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
        scores, state = super().score(inputs, targets, state)
        return Scores((scores.logp + 0.001).clamp(max=0).masked_fill(targets == IGNORED, 0)), state


def audit_of(make: Callable[[], Scorer], windows: Windows, **reading: Any) -> Audit:
    booked = score_tokens(make(), windows, CPU).logp
    tokens = windows.text.tokens
    return recomputed(make(), windows, sampled(len(tokens)), CPU, **reading).audit(tokens, booked)


@contextmanager
def windows_of(run: foretell.Trained) -> Iterator[Windows]:
    with run.text("test") as text:
        yield StreamsConfig(batch=1, length=20).build(text, run.tokenizer.specials, seed=0)


def neural(run: foretell.Trained) -> NeuralScorer:
    return NeuralScorer(run.objective.backbone, run.objective.head, ranks=False)


def test_cheats_are_caught(runs: Runs) -> None:
    lstm, ngram = runs["lstm"], runs["ngram"]
    settings = DynamicConfig(**DYNAMIC)
    members = [neural(lstm), ngram.scorer(ranks=False)]
    with windows_of(lstm) as windows:
        added = audit_of(lambda: AddedCache(neural(lstm)), windows)
        assert not added.passed and added.max_sum_error == pytest.approx(0.01, rel=0.1)
        assert added.max_recompute_error < 1e-4
        honest = audit_of(lambda: Mixture(members, [0.5, 0.5]), windows)
        peeking = audit_of(lambda: PeekingMixture(members, [0.5, 0.5]), windows)
        assert honest.passed and not peeking.passed and peeking.max_sum_error < 1e-4
        scored = audit_of(lambda: DynamicScorer(*parts_of(lstm), settings, None), windows, segment=4)
        early = audit_of(lambda: LearnsFirst(*parts_of(lstm), settings, None), windows, segment=4)
        assert scored.passed and not early.passed
        assert not audit_of(lambda: LooksAhead(neural(lstm)), windows).passed


def test_weights_that_learn_before_they_are_used_are_caught(runs: Runs) -> None:
    mixed = foretell.mix([runs["lstm"], runs["ngram"]], online=True)
    assert isinstance(mixed, OnlineMixed)
    for rule, passes in ((ExponentiatedGradient, True), (PeekingWeights, False)):
        mixed.rule = rule(mixed.weights)
        assert mixed.evaluate("test", audit=True)["adaptive"]["audit"]["passed"] is passes


def test_online_mixtures_are_honest_as_scorers(runs: Runs) -> None:
    members = [neural(runs["lstm"]), runs["ngram"].scorer(ranks=False)]
    gate = Gate([0.5, 0.5], begins_word(runs["lstm"].tokenizer))
    with windows_of(runs["lstm"]) as windows:
        for rule in (ExponentiatedGradient([0.5, 0.5], rate=0.1), gate):
            assert audit_of(lambda rule=rule: OnlineMixture(members, rule), windows).passed  # type: ignore[misc]


def parts_of(run: foretell.Trained) -> tuple[Any, Any]:
    return run.objective.backbone, run.objective.head


def test_context_mixing_that_learns_before_it_scores_is_caught(runs: Runs) -> None:
    model = runs["context-mixing"].counted
    assert model is not None

    class Early(Cheat):
        def score(self, inputs: Inputs, targets: Tensor, state: State) -> tuple[Scores, State]:
            known = model.copy().beside(targets.shape[1] + 2)
            known.learn(targets[0].numpy().astype(np.uint16))
            self.inner.score(inputs, targets, state)
            reader = self.inner.reader
            reader.tables.mixers[:] = known.tables.mixers  # what the targets have taught
            logp = reader.scores_after(np.zeros(0, np.int64), inputs.tokens[0].numpy(), targets[0].numpy())
            return Scores(torch.from_numpy(logp)[None]), torch.tensor([[self.inner.read]])

    with windows_of(runs["context-mixing"]) as windows:
        reading = {"segment": 1, "reads_on": True}
        assert audit_of(model.learner, windows, **reading).passed
        assert not audit_of(lambda: Early(model.learner()), windows, **reading).passed
