"""Adaptive softmax: clusters by frequency whatever the ids, torch's own as a peer, cutoffs that are the cheapest."""

import numpy as np
import pytest
import torch
from builders import assert_same, tables
from torch import Tensor, nn

import foretell
from foretell.data.store.store import load_counts
from foretell.errors import ConfigError
from foretell.nn.embedding import TokenEmbedding
from foretell.nn.frequency_bands import Bands
from foretell.nn.heads import AdaptiveHead, AdaptiveHeadConfig
from foretell.nn.vocabulary_transfer import Matching, carry_over

VOCABULARY, WIDTH = 13, 8
COUNTS = np.array([7, 0, 90, 3, 3, 1, 250, 12, 3, 40, 0, 5, 30])


def built(
    cutoffs: tuple[int, ...], tied: bool = False, counts: np.ndarray | None = COUNTS, seed: int = 0
) -> AdaptiveHead:
    torch.manual_seed(seed)
    embedding = TokenEmbedding(VOCABULARY, WIDTH)
    head = AdaptiveHeadConfig(cutoffs=cutoffs, tied=tied, divide=2).build(WIDTH, VOCABULARY, embedding, counts).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


def by_the_equation(head: AdaptiveHead, hidden: Tensor) -> Tensor:
    """[N, V] p(word) = p(first band), or p(tail) p(word | tail), word by word in plain loops."""
    order = sorted(range(VOCABULARY), key=lambda token: (-COUNTS[token], token))
    bounds, rows = head.bands.bounds, head.words.rows()
    bias, tail_bias = head.bias, head.tail_bias
    found = torch.zeros(len(hidden), VOCABULARY, dtype=torch.float64)
    for n, h in enumerate(hidden):
        first = [torch.exp(rows[0][i] @ h + bias[i]) for i in range(bounds[1])]
        tails = [torch.exp(vector @ h + b) for vector, b in zip(head.tails, tail_bias, strict=True)]
        total = sum([*first, *tails])
        for place, score in enumerate(first):
            found[n, order[place]] = score / total
        for tail, score in enumerate(tails, 1):
            narrow = head.words.project(h, tail)
            within = [torch.exp(row @ narrow + bias[bounds[tail] + i]) for i, row in enumerate(rows[tail])]
            for i, part in enumerate(within):
                found[n, order[bounds[tail] + i]] = score / total * part / sum(within)
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "cutoffs", [(), (1,), (12,), (5,), (4, 8), (1, 2), (3, 4, 5), (2, 5, 9, 12), tuple(range(1, VOCABULARY))], ids=str
)
def test_every_number_of_clusters_is_the_equation(cutoffs: tuple[int, ...], tied: bool) -> None:
    """None, one, several, and with a single word in them: three of awd-lstm-lm's bugs (#123, #41)."""
    head = built(cutoffs, tied)
    hidden = torch.randn(4, WIDTH, dtype=torch.float64)
    exact = by_the_equation(head, hidden)
    assert_same(head.log_probs(hidden).exp(), exact, 1e-12)
    assert_same(exact.sum(1), torch.ones(4, dtype=torch.float64), 1e-12)
    for token in range(VOCABULARY):
        assert_same(head.nll(hidden, torch.full((4,), token)), -exact[:, token].log(), 1e-10)


def test_equal_to_torchs_own_where_ids_are_sorted() -> None:
    ours = built((4, 7), counts=None)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(WIDTH, VOCABULARY, cutoffs=[4, 7], div_value=2.0, head_bias=True).double()
    with torch.no_grad():
        ours.bias[4:] = 0  # torch has none in its tails
        theirs.head.weight.copy_(torch.cat([ours.words.tables[0], ours.tails]))
        theirs.head.bias.copy_(torch.cat([ours.bias[:4], ours.tail_bias]))
        for i, tail in enumerate(theirs.tail):
            tail[0].weight.copy_(ours.words.projections[i].t())
            tail[1].weight.copy_(ours.words.tables[i + 1])
    hidden, targets = torch.randn(30, WIDTH, dtype=torch.float64), torch.randint(VOCABULARY, (30,))
    assert_same(-ours.nll(hidden, targets), theirs(hidden, targets).output, 1e-12)
    assert_same(ours.log_probs(hidden), theirs.log_prob(hidden), 1e-12)


def test_clusters_go_by_frequency_whatever_the_ids() -> None:
    """First-seen order made awd-lstm-lm's clusters wrong; here ids in any other order give the same clusters."""
    bands = Bands(VOCABULARY, COUNTS, (3, 6))
    assert [sorted(bands.tokens_of(band)) for band in range(3)] == [[2, 6, 9], [0, 7, 12], [1, 3, 4, 5, 8, 10, 11]]
    assert COUNTS[bands.tokens].tolist() == sorted(COUNTS, reverse=True)
    distinct = COUNTS * VOCABULARY + np.arange(VOCABULARY)  # no ties
    origin = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(3))
    for tied in (True, False):
        old, new = built((3, 6), tied, distinct), built((3, 6), tied, distinct[origin.numpy()], seed=1)
        state = carry_over(old.state_dict(), rows_of(old), rows_of(new), Matching(origin, 0))
        new.load_state_dict(state)
        hidden = torch.randn(5, WIDTH, dtype=torch.float64)
        assert_same(new.log_probs(hidden), old.log_probs(hidden)[:, origin], 1e-12)


def rows_of(head: AdaptiveHead) -> dict[str, object]:
    return head.token_rows() | {f"words.{name}": rows for name, rows in head.words.token_rows().items()}


@pytest.mark.parametrize("cutoffs", [(13,), (5, 5), (7, 3)], ids=str)
def test_impossible_cutoffs_are_refused(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="they have to rise and stay below the vocabulary's 13 tokens"):
        built(cutoffs)


# --- in a run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [{"kind": "word"}, {"kind": "byte"}], ids=["word", "byte"])
def test_a_run_is_laid_out_by_its_own_counts(corpus: dict[str, str], tmp_path, tokenizer: dict[str, str]) -> None:
    """Loading needs no text; going on with other text, the vocabulary the same, keeps the layout."""
    head = {"kind": "adaptive", "cutoffs": [5, 9], "tied": True, "bias_start": "unigram"}
    words = {"kind": "adaptive", "cutoffs": [5, 9], "divide": 2}
    recipe = tables(corpus, data__tokenizer=tokenizer, head=head, model__embedding=words)
    run = foretell.train(recipe, tmp_path / "run", quiet=True)
    counts = load_counts(run.run.counts_file)
    with run.text("train") as text:
        assert counts.tolist() == np.bincount(text.tokens, minlength=run.tokenizer.size).tolist()
    bands = run.objective.head.bands
    assert (np.diff(counts[bands.tokens]) <= 0).all()
    assert not [name for name in run.weights if "order" in name or "place" in name]
    score = run.score(["the cat sat"])[0].logp
    other = {split: corpus["valid"] for split in corpus}
    kept = {"kind": "file", "path": str(run.run.path)}
    more = tables(
        other, data__tokenizer=kept, head=head, model__embedding=words, init=str(run.run.path), limit="1steps"
    )
    more["optimizer"] = {"kind": "sgd", "learning_rate": 1e-12}
    again = foretell.train(more, tmp_path / "more", quiet=True)
    assert load_counts(again.run.counts_file).tolist() == counts.tolist()
    assert again.score(["the cat sat"])[0].logp == pytest.approx(score, abs=1e-5)
    again.run.counts_file.unlink()
    with pytest.raises(ConfigError, match=r"token-counts\.npy: is missing"):
        foretell.load(again.run.path)
