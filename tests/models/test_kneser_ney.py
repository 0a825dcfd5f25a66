"""Estimation against the formulas written out with dictionaries, and against KenLM's own output."""

import csv
import gzip
import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import foretell
from foretell.data.preparing import prepared
from foretell.models import kneser_ney
from foretell.models.ngram import NGram, NGramConfig

BOUNDARY, VOCABULARY = 0, 9
NO_STARTS = np.zeros(0, dtype=np.int64)


def random_text(seed: int, length: int = 400) -> np.ndarray:
    """Skewed, with some regularity, boundaries now and then, and one word that never comes."""
    random = np.random.default_rng(seed)
    tokens = np.minimum(random.geometric(0.35, length), VOCABULARY - 1) - 1
    tokens[1::3] = (tokens[::3][: len(tokens[1::3])] * 2 + 1) % (VOCABULARY - 1)
    return tokens.astype(np.uint16)


class Plain:
    """Interpolated modified Kneser-Ney by the book: Chen and Goodman 1999, section 3; sentences as KenLM has them."""

    def __init__(self, sentences: Sequence[Sequence[int]], order: int, prune: Sequence[int], fallback: Sequence[float]):
        self.order, self.prune = order, prune
        self.counts: list[Counter[tuple]] = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            padded = ["<s>", *sentence]
            for end in range(1, len(padded)):
                for n in range(1, order + 1):
                    if end - n + 1 >= 0:
                        self.counts[n][tuple(padded[end - n + 1 : end + 1])] += 1
        self.adjusted: list[dict[tuple, int]] = [{}]
        for n in range(1, order + 1):
            before = defaultdict(set)
            for gram in self.counts[n + 1] if n < order else ():
                before[gram[1:]].add(gram[0])
            plain = n == order
            own = {g: c if plain or g[0] == "<s>" else len(before[g]) for g, c in self.counts[n].items()}
            self.adjusted.append(own)
        self.discounts = [self.discount(n, fallback) for n in range(1, order + 1)]

    def discount(self, n: int, fallback: Sequence[float]) -> list[float]:
        have = Counter(self.adjusted[n].values())
        if not all(have[k] for k in (1, 2, 3)):
            return [0.0, *fallback]
        y = have[1] / (have[1] + 2 * have[2])
        found = [k - (k + 1) * y * have[k + 1] / have[k] for k in (1, 2, 3)]
        return [0.0, *(found if all(0 < d <= k for k, d in enumerate(found, 1)) else fallback)]

    def p(self, word: int, context: tuple) -> float:
        n = len(context) + 1
        lower = self.p(word, context[1:]) if n > 1 else 1 / VOCABULARY
        grams = {g: a for g, a in self.adjusted[n].items() if g[:-1] == context}
        total = sum(grams.values())
        if not total:
            return lower
        limit = self.prune[n - 1]
        kept = {g: a for g, a in grams.items() if n == 1 or self.counts[n][g] > limit}
        discount = self.discounts[n - 1]
        freed = sum(discount[min(a, 3)] if g in kept else a for g, a in grams.items())
        own = kept.get((*context, word), 0)
        return (own - discount[min(own, 3)]) / total + freed / total * lower


def sentences_of(tokens: np.ndarray, starts: Sequence[int]) -> list[list[int]]:
    """A sentence ends with a boundary, or before a place where the context begins anew."""
    sentences: list[list[int]] = [[]]
    for place, token in enumerate(tokens.tolist()):
        if place in starts and sentences[-1]:
            sentences.append([])
        sentences[-1].append(token)
        if token == BOUNDARY:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("prune", [(0, 0, 0, 0), (0, 0, 1, 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_are_those_of_the_formulas(order: int, prune: tuple[int, ...], seed: int) -> None:
    tokens = random_text(seed)
    starts = [0, 37, 200]
    config = NGramConfig(order=order, prune=prune[:order], omit_newest=False)
    model = config.fit(tokens, np.array(starts), BOUNDARY, VOCABULARY)
    plain = Plain(sentences_of(tokens, starts), order, prune, config.fallback)
    for context in [[], [3], [1, 3], [BOUNDARY], [5, BOUNDARY, 2], *np.random.default_rng(1).integers(0, 9, (6, 3))]:
        text = np.array([[BOUNDARY] * order + list(context)])
        logp, _ = model.logp(np.repeat(text[:, -order:], VOCABULARY, 0), np.arange(VOCABULARY)[:, None])
        known = ("<s>", *context)[-(order - 1) :] if order > 1 else ()
        if BOUNDARY in context:  # nothing reaches beyond it
            cut = len(context) - list(context)[::-1].index(BOUNDARY)
            known = ("<s>", *list(context)[cut:])[-(order - 1) :] if order > 1 else ()
        wanted = [plain.p(word, tuple(int(w) if w != "<s>" else w for w in known)) for word in range(VOCABULARY)]
        np.testing.assert_allclose(np.exp(logp[:, 0]), wanted, rtol=2e-6)
        assert sum(wanted) == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(model.distribution(text)[0], logp[:, 0], atol=2e-6)


@pytest.mark.parametrize("order", [4, 5, 6, 9, 15])
@pytest.mark.parametrize("ends", [True, False], ids=["lines", "documents"])
def test_orders_above_the_longest_line_are_empty(order: int, ends: bool) -> None:
    """Lines of at most 3 words make n-grams of at most 5: `<s>`, the words, `</s>`; of documents without an end, 4."""
    lines = [[3, 1, 4], [1], [2, 3], [3, 1, 2], [4, 1, 3], [1, 2], [2], [3, 1, 4]]
    if ends:
        lines = [[*line, BOUNDARY] for line in lines]
    tokens = np.concatenate(lines).astype(np.uint16)
    starts = np.cumsum([0, *map(len, lines)])[:-1]
    config = NGramConfig(order=order, omit_newest=False)
    model = config.fit(tokens, starts, BOUNDARY, VOCABULARY)
    longest = min(order, max(map(len, lines)) + 1)
    assert [len(one) > 0 for one in model.orders] == [True] * longest + [False] * (order - longest)
    plain = Plain(lines, order, [0] * order, config.fallback)
    for context in ([], [3], [3, 1], [3, 1, 4], [2, 2], [1, 2, 3, 4, 1], [4, 3, 1]):
        text = np.array([[BOUNDARY] * order + context])
        logp = model.distribution(text)[0].astype(np.float64)
        known = ("<s>", *context)[-(order - 1) :]
        np.testing.assert_allclose(np.exp(logp), [plain.p(word, known) for word in range(VOCABULARY)], rtol=2e-6)
        assert np.exp(logp).sum() == pytest.approx(1, abs=1e-6)
        looked_up, _ = model.logp(np.repeat(text[:, -order:], VOCABULARY, 0), np.arange(VOCABULARY)[:, None])
        np.testing.assert_allclose(looked_up[:, 0], logp, atol=2e-6)
        ranks = model.ranks(np.repeat(text[:, -order:], VOCABULARY, 0), np.arange(VOCABULARY)[:, None])[:, 0]
        assert ranks.tolist() == [min(int((logp > own + 1e-6).sum()), 5) for own in logp]


def test_empty_orders_are_told_once() -> None:
    lines = NGramConfig(order=7).fit(np.array([1, 2, 0] * 9, dtype=np.uint16), NO_STARTS, BOUNDARY, 4)
    *orders, last = kneser_ney.summary_lines(lines.reports)
    assert len(orders) == 4 and all(f"order {n}:" in line for n, line in enumerate(orders, 1))
    assert last == "no line is long enough for orders 5 and above; they are empty"
    assert kneser_ney.summary_lines(lines.reports[:5], "document")[-1] == (
        "no document is long enough for order 5; it is empty"
    )
    assert kneser_ney.summary_lines(lines.reports[:4]) == orders


def test_training_on_lines_of_one_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of names is text too: of order 5, what it holds is a model of order 3."""
    random = np.random.default_rng(0)
    names = ["".join(random.choice(list("aeioubdfgklm"), 3)) for _ in range(300)]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    file = str(tmp_path / "names.txt")
    data = {"corpus": {"train": file, "valid": file, "test": file}, "tokenizer": {"kind": "word"}}
    perplexities = []
    for order in (5, 3):
        recipe = {"name": "names", "data": data, "model": {"kind": "ngram", "order": order}}
        run = foretell.train(recipe, tmp_path / str(order))
        said = capsys.readouterr().err
        assert said.count("no line is long enough for orders 4 and above; they are empty") == (order == 5)
        perplexities.append(run.evaluate("test")["perplexity"])
    assert perplexities[0] == pytest.approx(perplexities[1], rel=1e-9)


def test_an_order_that_is_pruned_whole_gives_its_probability_to_the_one_below() -> None:
    tokens = random_text(2)
    model = NGramConfig(order=3, prune=(0, 0, 10_000)).fit(tokens, NO_STARTS, BOUNDARY, VOCABULARY)
    shorter = NGramConfig(order=3).fit(tokens, NO_STARTS, BOUNDARY, VOCABULARY)
    assert len(model.orders[2]) == 0 < len(model.orders[1])
    assert len(kneser_ney.summary_lines(model.reports)) == 3  # nothing is too long: it was there
    for context in ([3, 1], [5, 2], [BOUNDARY, 1]):
        found = model.distribution(np.array([context]))
        assert np.exp(found.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)
        lower = NGram([*shorter.orders[:2], model.orders[2]], BOUNDARY)
        lower.orders[1].backoff[:] = 0
        np.testing.assert_allclose(found, lower.distribution(np.array([context])), atol=2e-6)


def test_no_discount_is_nothing() -> None:
    """With counts of counts 4, 1, 1 the formula gives 0 for the count 2, and unseen words no probability at all."""
    found, why = kneser_ney.discounts((4, 1, 1, 0), (0.5, 1.0, 1.5))
    assert found == (0.5, 1.0, 1.5) and why == "the discount for the count 2 would be 0.000"


def test_large_numbers_of_words() -> None:
    """The model is the same as with the words numbered from 0."""
    tokens = random_text(4).astype(np.uint32)
    far = np.where(tokens == BOUNDARY, BOUNDARY, tokens.astype(np.uint32) + 500_000)
    near = NGramConfig(order=7).fit(tokens, NO_STARTS, BOUNDARY, 600_000)
    away = NGramConfig(order=7).fit(far, NO_STARTS, BOUNDARY, 600_000)
    assert [len(order) for order in near.orders] == [len(order) for order in away.orders]
    for one, other in zip(near.orders[1:], away.orders[1:], strict=True):
        np.testing.assert_array_equal(np.sort(one.logp), np.sort(other.logp))


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ((0, 3, 2, 1), "no n-gram has the count 1"),
        ((5, 0, 2, 1), "no n-gram has the count 2"),
        ((5, 3, 0, 1), "no n-gram has the count 3"),
        ((1, 1, 9, 1), "would be"),
    ],
)
def test_where_discounts_cannot_be_estimated_the_fallback_is_told(counts: tuple[int, ...], problem: str) -> None:
    found, why = kneser_ney.discounts(counts, (0.5, 1.0, 1.5))
    assert found == (0.5, 1.0, 1.5)
    assert problem in why


def test_a_tiny_text_works_and_says_what_was_done() -> None:
    model = NGramConfig(order=3).fit(np.array([1, 2, 0], dtype=np.uint16), NO_STARTS, BOUNDARY, 4)
    assert all(report.fallback for report in model.reports)
    assert "set, as no n-gram has the count" in str(model.reports[0])
    for context in ([0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 3, 3]):
        assert np.exp(model.distribution(np.array([context]))).sum() == pytest.approx(1, abs=1e-6)


def test_the_newest_word() -> None:
    tokens = np.array([3, 1, 0, 2, 1, 3, 0], dtype=np.uint16)
    assert kneser_ney.newest_word(tokens, 0, 4) == 2


# --- the Penn Treebank ----------------------------------------------------------------------------

DATA = Path(os.environ.get("FORETELL_DATA", "/nowhere"))
GOLDEN = DATA.parent / "golden" / "kenlm" / "ptb-test-word-scores.tsv.gz"


def fitted(order: int) -> tuple[NGram, np.ndarray]:
    """The model of the training split and the test split's tokens."""
    store = prepared("ptb", foretell.load_recipe("ngram-5").data.tokenizer)
    text, tokenizer = store.split("train"), store.tokenizer
    model = NGramConfig(order=order).fit(text.tokens, NO_STARTS, tokenizer.boundary, tokenizer.size)
    return model, np.asarray(store.split("test").tokens, dtype=np.int64)


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the Penn Treebank and KenLM's scores of its test split")
@pytest.mark.parametrize(("order", "perplexity"), [pytest.param(3, 148.281, marks=pytest.mark.slow), (5, 141.186)])
def test_every_word_of_the_penn_treebank_scores_as_in_kenlm(order: int, perplexity: float) -> None:
    model, tokens = fitted(order)
    text = np.concatenate([np.full(order, model.boundary), tokens[:-1]])[None]
    logp, matched = model.logp(text, tokens[None])
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    theirs = np.array([float(row[f"order{order}_log10"]) for row in rows])
    np.testing.assert_allclose(logp[0] / math.log(10), theirs, atol=1e-4)
    assert matched[0].tolist() == [int(row[f"order{order}_matched"]) for row in rows]
    assert math.exp(-logp.mean()) == pytest.approx(perplexity, abs=0.002)
