"""Measuring: equal to a plain loop over single tokens, whatever the batch; and the arithmetic of the keys."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from builders import BOUNDARY, SPECIALS, FakeText, assert_same, fake_text, tables

import foretell
from foretell.data.batches.streams import DocumentsConfig, LinesConfig, StreamsConfig
from foretell.data.store.store_builder import Counts
from foretell.errors import ConfigError
from foretell.evaluate import scoring
from foretell.evaluate.scoring import NeuralScorer, Totals, check_loss, expected_seconds, metrics, perplexity, total
from foretell.models.recurrent import RecurrentConfig
from foretell.nn.heads import FullHeadConfig
from foretell.types import Inputs

CPU = torch.device("cpu")
KINDS: dict[str, Any] = {"streams": StreamsConfig, "documents": DocumentsConfig, "lines": LinesConfig}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def scorer() -> NeuralScorer:
    torch.manual_seed(0)
    backbone = RecurrentConfig(embedding_dim=6, hidden=5, layers=2).build(BOUNDARY + 1).eval()
    head = FullHeadConfig(chunk=300).build(5, BOUNDARY + 1, None)
    with torch.no_grad():
        for parameter in (*backbone.parameters(), *head.parameters()):
            parameter.mul_(3)  # far from uniform
    return NeuralScorer(backbone.double(), head.double(), chunk=300)


def lanes(kind: str, text: FakeText, count: int) -> Iterator[tuple[int, int]]:
    """Where each stretch that starts from a fresh state begins and ends."""
    if kind == "streams":
        height = math.ceil(len(text.tokens) / count)
        yield from ((i, min(i + height, len(text.tokens))) for i in range(0, len(text.tokens), height))
    else:
        offsets = getattr(text, kind).tolist()
        yield from pairwise(offsets)


def plain(scorer: NeuralScorer, kind: str, text: FakeText, count: int) -> tuple[float, int, int]:
    """nats, first guesses that are right, guesses among the first five: one token at a time."""
    nats, top1, top5 = 0.0, 0, 0
    for begin, end in lanes(kind, text, count):
        state = scorer.backbone.initial_state(1)
        for i in range(begin, end):
            anew = i == 0 or (kind != "streams" and i == begin)
            given = BOUNDARY if anew else int(text.tokens[i - 1])
            x = scorer.backbone.embedding.weight[given][None]
            states = []
            for block, (h, c) in zip(scorer.backbone.blocks, state, strict=True):
                gates = x @ block.weight_ih.T + block.bias_ih + h @ block.weight_hh.T + block.bias_hh
                i_, f, g, o = gates.chunk(4, dim=1)
                c = f.sigmoid() * c + i_.sigmoid() * g.tanh()
                x = o.sigmoid() * c.tanh()
                states.append((x, c))
            state = tuple(states)
            scores = (x @ scorer.head.weight.T + scorer.head.bias)[0]
            probs = (scores - scores.max()).exp()
            target = int(text.tokens[i])
            nats -= math.log(probs[target] / probs.sum())
            rank = int((scores > scores[target]).sum())
            top1, top5 = top1 + (rank < 1), top5 + (rank < 5)
    return nats, top1, top5


@every_kind
@pytest.mark.parametrize("count", [1, 3])
def test_equal_to_a_plain_loop(scorer: NeuralScorer, kind: str, count: int) -> None:
    text = fake_text(101)
    windows = KINDS[kind](batch=count, length=9).build(text, SPECIALS, 0)
    with torch.no_grad():
        expected = plain(scorer, kind, text, count)
    measured = total(scorer, windows, CPU)
    assert measured.nats == pytest.approx(expected[0], rel=1e-12)
    assert (measured.top1, measured.top5, measured.tokens) == (*expected[1:], 101)
    assert measured.loss == pytest.approx(expected[0] / 101)


@every_kind
@pytest.mark.parametrize("length", [1, 7, 500])
def test_the_batch_does_not_matter(scorer: NeuralScorer, kind: str, length: int) -> None:
    """Rows side by side (columns of a stream apart, which are another question) and window lengths."""
    text = fake_text(300)
    one = total(scorer, KINDS[kind](batch=1, length=64).build(text, SPECIALS, 0), CPU)
    rows = 1 if kind == "streams" else 32
    many = total(scorer, KINDS[kind](batch=rows, length=length).build(text, SPECIALS, 0), CPU)
    assert many.nats == pytest.approx(one.nats, rel=1e-12)
    assert (many.tokens, many.top1, many.top5) == (one.tokens, one.top1, one.top5) == (300, one.top1, one.top5)


def test_with_and_without_ranks(scorer: NeuralScorer) -> None:
    windows = LinesConfig(batch=4, length=5).build(fake_text(), SPECIALS, 0)
    without = NeuralScorer(scorer.backbone, scorer.head, ranks=False, chunk=300)
    plainly = total(without, windows, CPU)
    assert plainly.nats == pytest.approx(total(scorer, windows, CPU).nats, rel=1e-12)
    assert plainly.top1 is None and plainly.top5 is None


def test_positions_without_target_hold_zeros(scorer: NeuralScorer) -> None:
    targets = torch.tensor([[3, -100, 5], [-100, -100, -100]])
    scores, _ = scorer.score(Inputs(tokens=torch.ones(2, 3, dtype=torch.int64)), targets, None)
    assert_same(scores.logp == 0, targets == -100)
    assert scores.rank is not None and not scores.rank[targets == -100].any()


def test_next_is_the_distribution_that_scores_use(scorer: NeuralScorer) -> None:
    tokens = torch.tensor([[1, 2, 3, 4]])
    log_probs, state = scorer.next(tokens, None)
    assert float(log_probs.exp().sum()) == pytest.approx(1)
    target = torch.tensor([[-100, -100, -100, 7]])
    scores, after = scorer.score(Inputs(tokens=tokens), target, None)
    assert float(scores.logp[0, 3]) == pytest.approx(float(log_probs[0, 7]))
    assert_same(after, state)


# --- the keys -------------------------------------------------------------------------------------


class FakeSplit:
    lossy = True
    lost: ClassVar = {"unknown": 2, "altered_lines": 0, "replaced": 0}
    counts = Counts(documents=1, lines=2, characters=40, bytes=50, words=9, tokens=8, unknown=2, altered_lines=0)


def test_metrics_by_hand() -> None:
    measured = metrics(Totals(nats=16.0, tokens=8, top1=2, top5=6, seconds=4.0), FakeSplit())
    assert measured == {
        "loss": 2.0,
        "perplexity": pytest.approx(7.38905609893065),
        "bits_per_character": pytest.approx(16 / 0.6931471805599453 / 40),
        "bits_per_byte": pytest.approx(16 / 0.6931471805599453 / 50),
        "lossy": True,
        "lost": {"unknown": 2, "altered_lines": 0, "replaced": 0},
        "unknown_rate": 0.25,
        "top1": 0.25,
        "top5": 0.75,
        "tokens": 8,
        "seconds": 4.0,
        "tokens_per_second": 2.0,
    }
    unranked = metrics(Totals(16.0, 8, None, None, 4.0), FakeSplit())
    assert unranked["top1"] is None and unranked["top5"] is None


def test_perplexity_of_a_hopeless_model_is_infinite() -> None:
    assert perplexity(0.0) == 1
    assert perplexity(5000.0) == math.inf


# --- a trained model ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["streams", "documents", "lines"])
def trained(
    request: pytest.FixtureRequest, corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> foretell.Trained:
    batches = {"kind": request.param, "batch": 4, "length": 10}
    recipe = tables(corpus, data__batches=batches, limit="3steps")
    return foretell.train(recipe, tmp_path_factory.mktemp("trained") / "run", quiet=True)


def test_batch_one_and_many(trained: foretell.Trained) -> None:
    one, many = trained.evaluate("test", batch=1), trained.evaluate("test", batch=32)
    for key in ("loss", "perplexity", "bits_per_byte", "top1", "top5", "tokens", "context"):
        assert many[key] == (pytest.approx(one[key], rel=1e-6) if isinstance(one[key], float) else one[key])


def test_every_token_of_the_file_counts(trained: foretell.Trained, corpus: dict[str, str]) -> None:
    text = Path(corpus["test"]).read_text()
    measured = trained.evaluate("test")
    assert measured["tokens"] == len(text.split()) + text.count("\n")
    bits = measured["loss"] * measured["tokens"] / math.log(2)
    assert measured["bits_per_byte"] == pytest.approx(bits / len(text.encode()))
    assert measured["bits_per_character"] == pytest.approx(bits / len(text))
    same = trained.evaluate(corpus["test"])
    assert same["loss"] == pytest.approx(measured["loss"], rel=1e-9)
    assert not measured["lossy"] and measured["unknown_rate"] == 0


def test_unknown_words_are_told(trained: foretell.Trained, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("the zebra sat\nthe cat sat\n")
    measured = trained.evaluate(str(tmp_path / "other.txt"))
    assert measured["lossy"]
    assert measured["unknown_rate"] == pytest.approx(1 / 8)


def test_scoring_texts_is_evaluating_them(trained: foretell.Trained, tmp_path: Path) -> None:
    text = "the cat sat\n"
    (tmp_path / "one.txt").write_text(text)
    (scored,) = trained.score([text])
    assert scored.tokens == ("the", "cat", "sat", "<eos>")
    assert scored.logp == pytest.approx(math.fsum(scored.token_logp))
    measured = trained.evaluate(str(tmp_path / "one.txt"))
    assert -scored.logp == pytest.approx(measured["loss"] * measured["tokens"], rel=1e-6)
    together = trained.score([text, "a dog", ""])
    assert together[0] == scored
    assert together[2].logp == 0 and together[2].tokens == ()


def test_features_are_means_of_the_last_layer(trained: foretell.Trained) -> None:
    features = trained.features(["the cat", "a"])
    assert features.shape == (2, 8) and features.dtype == np.float32
    ids = [trained.tokenizer.boundary, *trained.tokenizer.encode("the cat")]
    with torch.no_grad():
        hidden = trained.objective.backbone(Inputs(tokens=torch.tensor([ids])), None)
    assert np.allclose(features[0], hidden.last[0].mean(0).numpy(), atol=1e-6)
    assert trained.features([]).shape == (0, 8)


def test_a_split_that_is_not_there(trained: foretell.Trained) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        trained.evaluate("nowhere.txt")


@every_kind
def test_how_long_it_will_take(scorer: NeuralScorer, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Exact where each token takes the same time; the first call, which takes a hundred times that, does not count."""
    now, calls = 0.0, 0

    class Clocked:
        def score(self, inputs: Inputs, targets: torch.Tensor, state: Any) -> Any:
            nonlocal now, calls
            calls += 1
            now += 0.01 * int((targets != -100).sum()) * (100 if calls == 1 else 1)
            return scorer.score(inputs, targets, state)

    monkeypatch.setattr(scoring.time, "perf_counter", lambda: now)
    text = fake_text(300)
    windows = KINDS[kind](batch=2, length=7).build(text, SPECIALS, 0)
    assert expected_seconds(Clocked(), windows, CPU) == pytest.approx(3.0)
    assert calls <= 7 < len(windows)


def test_the_time_of_a_slow_model_is_measured_with_one_row(
    scorer: NeuralScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second per token and row: two calls, however large the batches are."""
    now, rows = 0.0, []

    class Slow:
        def score(self, inputs: Inputs, targets: torch.Tensor, state: Any) -> Any:
            nonlocal now
            now += int((targets != -100).sum())
            rows.append(len(targets))
            return scorer.score(inputs, targets, state)

    monkeypatch.setattr(scoring.time, "perf_counter", lambda: now)
    windows = KINDS["streams"](batch=20, length=7).build(fake_text(1400), SPECIALS, 0)
    assert expected_seconds(Slow(), windows, CPU) == pytest.approx(1400)
    assert rows == [1, 1]


def test_what_is_no_number_is_no_measurement() -> None:
    assert math.isnan(perplexity(math.nan)) and perplexity(800) == math.inf and perplexity(1.0) == math.e
    good = Totals(5.0, 3, 1, 2, 1.0)
    check_loss(good.loss, "runs/a")
    with pytest.raises(ConfigError, match=r"runs/a gives probabilities that are not numbers \(NaN\)"):
        check_loss(math.nan, "runs/a")
    with pytest.raises(ConfigError, match="runs/a gives some token of this text probability 0"):
        check_loss(math.inf, "runs/a")
    check_loss(math.inf, "runs/a", zeros=True)


def test_a_run_whose_probabilities_are_no_numbers_is_named(corpus: dict[str, str], tmp_path: Path) -> None:
    run = foretell.train(tables(corpus, limit="1steps"), tmp_path / "run", quiet=True)
    next(run.objective.head.parameters()).fill_(math.nan)
    for measuring in (lambda: run.evaluate("test"), lambda: foretell.mix([run, run], [0.5, 0.5]).evaluate("test")):
        with pytest.raises(ConfigError, match=r"run(, test)? gives probabilities that are not numbers"):
            measuring()
