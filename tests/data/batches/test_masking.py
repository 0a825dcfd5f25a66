"""Which tokens are hidden: how many, how, whole words and runs of them, and always the same for the same row."""

import time
from collections.abc import Iterator
from functools import cache
from itertools import groupby, islice
from typing import Any

import numpy as np
import pytest
import torch
from builders import assert_same, members
from numpy.typing import NDArray

from foretell.config import validate
from foretell.data.batches.masking import (
    Draws,
    Masked,
    MaskingChoice,
    MaskingConfig,
    NGramMaskingConfig,
    TokenMaskingConfig,
    WholeWordMaskingConfig,
)
from foretell.data.batches.packing import FullConfig, Passages, SegmentPairConfig
from foretell.data.text_files import split_pieces
from foretell.data.tokenizers.kinds import BPEConfig, TokenizerConfig, UnigramConfig, WordConfig, WordPieceConfig
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.types import IGNORED

ENOUGH = 60_000
"""tokens that statistics are of"""


class Prose:
    """Random words of a few syllables, in lines and documents, as tokens of some vocabulary."""

    def __init__(self, config: TokenizerConfig, size: int = ENOUGH):
        random = np.random.default_rng(7)
        syllables = ["ka", "lo", "mi", "ten", "ru", "sha", "bol", "vi"]
        words = ["".join(random.choice(syllables, random.integers(1, 5))) for _ in range(300)]
        lines = [" ".join(random.choice(words, random.integers(4, 20))) + ".\n" for _ in range(size // 15)]
        self.tokenizer: Tokenizer = config.train(split_pieces("".join(lines[:300])))
        ids, lengths = self.tokenizer.encode_pieces(lines)
        self.tokens = ids[:size]
        self.lines = np.minimum(np.concatenate([[0], np.cumsum(lengths)]), len(self.tokens))
        self.documents = self.lines[::20] if len(self.lines) % 20 == 1 else np.append(self.lines[::20], self.lines[-1])


TOKENIZERS: dict[str, TokenizerConfig] = {
    "wordpiece": WordPieceConfig(size=120, specials="bert"),
    "bpe": BPEConfig(size=350, specials="roberta"),
    "unigram": UnigramConfig(size=120, specials="bert"),
}


@cache
def prose_of(kind: str) -> Prose:
    """Text in the tokens of this kind."""
    return Prose(TOKENIZERS[kind])


every_tokenizer = pytest.mark.parametrize("kind", TOKENIZERS)
every_masking = pytest.mark.parametrize(
    "masking", [member() for member in members(MaskingChoice)], ids=lambda m: m.kind
)


def masked(kind: str, masking: MaskingConfig, rows: Any = None, seed: int = 1) -> tuple[Passages, Masked]:
    prose = prose_of(kind)
    plain = (rows or FullConfig(batch=32, length=128)).build(prose, prose.tokenizer.specials, seed)
    return plain, Masked(plain, masking, prose.tokenizer, seed)


def rows_of(plain: Passages, hidden: Masked) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """What stood there, what stands there now, and what is to be guessed, row by row of an epoch."""
    for k in range(len(plain)):
        before, after = plain[k], hidden[k]
        lengths = before.inputs.lengths
        for row in range(len(before.targets)):
            end = None if lengths is None else int(lengths[row])
            yield tuple(x[row, :end].numpy() for x in (before.inputs.tokens, after.inputs.tokens, after.targets))


@every_masking
@every_tokenizer
def test_shares_in_the_long_run(kind: str, masking: MaskingConfig) -> None:
    """15 % of the text; of these 80 % the mask, 10 % another token, 10 % what was there. Never a special token."""
    specials = prose_of(kind).tokenizer.specials
    text = chosen = masks = same = 0
    replaced = []
    for before, after, targets in rows_of(*masked(kind, masking)):
        hit = targets != IGNORED
        assert np.array_equal(before[hit], targets[hit])
        assert np.array_equal(before[~hit], after[~hit])
        assert not np.isin(targets[hit], specials.marks).any()
        text += int((~np.isin(before, specials.marks)).sum())
        chosen += int(hit.sum())
        masks += int((after[hit] == specials.mask).sum())
        same += int((after[hit] == before[hit]).sum())
        other = hit & (after != before) & (after != specials.mask)
        replaced += after[other].tolist()
    assert text > 5e4
    assert chosen / text == pytest.approx(0.15, abs=0.003)
    assert masks / chosen == pytest.approx(0.8, abs=0.01)
    assert same / chosen == pytest.approx(0.1 + 0.1 / prose_of(kind).tokenizer.size, abs=0.01)
    assert not set(replaced) & set(specials.ids)
    counts = np.bincount(replaced, minlength=prose_of(kind).tokenizer.size)
    allowed = np.setdiff1d(np.arange(len(counts)), specials.ids)
    assert counts[allowed].std() < 2 * np.sqrt(counts[allowed].mean())  # all as often, as a Poisson count has it


@pytest.mark.parametrize(
    ("settings", "masks", "same"),
    [({"mask": 0.85, "random": 0.0}, 0.85, 0.15), ({"mask": 1.0, "random": 0.0}, 1.0, 0.0)],
    ids=["electra", "all"],
)
def test_other_ways_to_hide(settings: dict[str, float], masks: float, same: float) -> None:
    found = np.array(
        [
            (
                (after[hit] == prose_of("bpe").tokenizer.specials.mask).sum(),
                (after[hit] == before[hit]).sum(),
                hit.sum(),
            )
            for before, after, targets in rows_of(*masked("bpe", TokenMaskingConfig(**settings)))
            for hit in [targets != IGNORED]
        ]
    ).sum(0)
    assert found[0] / found[2] == pytest.approx(masks, abs=0.01)
    assert found[1] / found[2] == pytest.approx(same, abs=0.01)


def test_random_tokens_as_published_may_be_special() -> None:
    seen: set[int] = set()
    for before, after, _ in rows_of(*masked("bpe", TokenMaskingConfig(mask=0.0, random=1.0, replacements="all"))):
        seen |= set(after[after != before].tolist())
    assert set(prose_of("bpe").tokenizer.specials.marks) <= seen


def test_budgets_of_rows_by_hand() -> None:
    candidates, lengths = np.array([98, 98]), np.array([101, 101])
    uniform = np.array([0.0, 0.999])
    ours = TokenMaskingConfig()
    assert ours.budget(candidates, lengths, uniform).tolist() == [14, 15]  # 14.7
    bert = TokenMaskingConfig(rounding="nearest", of="row", most=20)
    assert bert.budget(candidates, lengths, uniform).tolist() == [15, 15]  # 15.15
    assert bert.budget(np.array([1, 500]), np.array([3, 512]), uniform).tolist() == [1, 20]
    assert ours.budget(np.array([0, 1]), np.array([2, 3]), uniform).tolist() == [0, 1]
    assert bert.budget(np.array([0]), np.array([2]), np.array([0.5])).tolist() == [0]  # nothing there to be hidden


@pytest.mark.parametrize("masking", [WholeWordMaskingConfig(), NGramMaskingConfig()], ids=lambda m: m.kind)
@every_tokenizer
def test_words_are_hidden_whole(kind: str, masking: MaskingConfig) -> None:
    """Words found apart from the table: by the marks of each kind, and where letters go on letters or a blank."""
    tokenizer, several = prose_of(kind).tokenizer, 0
    spelled = [tokenizer.token(token).replace("▁", " ") for token in range(tokenizer.size)]
    for before, _, targets in islice(rows_of(*masked(kind, masking)), 300):
        word: list[bool] = []
        last = ""
        for token, target in zip(before.tolist(), targets.tolist(), strict=True):
            text = "" if token in tokenizer.specials.ids else spelled[token]
            letters = text[:1].isalpha() and (last[-1:].isalpha() or last == " ")
            if not (text.startswith("##") if kind == "wordpiece" else letters):
                assert len(set(word)) <= 1
                several += len(word) > 1 and word[0]
                word = []
            word += [target != IGNORED] * bool(text)
            last = text
    assert several > 100


def test_lengths_of_runs() -> None:
    """n words with a probability proportional to 1 / n: 6/11, 3/11 and 2/11 of 1, 2 and 3.

    Runs are told apart where they do not touch, as few do at a small rate, and the last of a row is cut to the budget,
    so rows are long.
    """
    prose = Prose(WordConfig(specials="bert"), 3 * ENOUGH)
    rows = FullConfig(batch=32, length=2048, ends="anywhere").build(prose, prose.tokenizer.specials, 1)
    hidden = Masked(rows, NGramMaskingConfig(rate=0.03), prose.tokenizer, 1)
    runs = np.zeros(10)
    for before, _, targets in rows_of(rows, hidden):
        text = ~np.isin(before, prose.tokenizer.specials.marks)
        for hit, run in groupby((targets != IGNORED)[text]):
            if hit:
                runs[len(list(run))] += 1
    shares = runs / runs.sum()
    assert runs.sum() > 2000
    assert shares[1:4] == pytest.approx(np.array([6, 3, 2]) / 11, abs=0.025)


def test_every_place_is_as_likely() -> None:
    hits = np.zeros(128)
    rows = 0
    plain, hidden = masked("bpe", TokenMaskingConfig(), FullConfig(batch=32, length=128, ends="anywhere"))
    for before, _, targets in rows_of(plain, hidden):
        if len(before) == 128:
            hits += targets != IGNORED
            rows += 1
    share = hits[2:-2] / rows
    assert share.std() < 1.3 * np.sqrt(0.15 * 0.85 / rows)
    assert hits[0] == hits[-1] == 0


def test_drawing_with_replacement_hides_fewer() -> None:
    found = {
        repeats: sum(
            int((targets != IGNORED).sum())
            for *_, targets in rows_of(*masked("bpe", TokenMaskingConfig(repeats=repeats)))
        )
        for repeats in (False, True)
    }
    # of n places drawn with replacement among N, 1 - (1 - 1/N)^n are different ones
    assert found[True] / found[False] == pytest.approx((1 - np.exp(-0.15)) / 0.15, abs=0.01)


# --- the same row, the same mask ------------------------------------------------------------------


@every_masking
def test_the_mask_of_a_row_is_its_own(masking: MaskingConfig) -> None:
    """It is the same whatever is in the batch beside it, and another in the next epoch."""
    small = masked("bpe", masking, FullConfig(batch=3, length=128))
    large = masked("bpe", masking, FullConfig(batch=50, length=128))

    def by_text(pair: tuple[Passages, Masked]) -> dict[tuple[int, ...], tuple[list[int], list[int]]]:
        return {tuple(before): (after.tolist(), targets.tolist()) for before, after, targets in rows_of(*pair)}

    one, other = by_text(small), by_text(large)
    assert one == other


@every_masking
def test_masks_are_dynamic_or_repeat(masking: MaskingConfig) -> None:
    def epochs(copies: int | None) -> list[set[tuple[int, ...]]]:
        plain, hidden = masked("bpe", masking, SegmentPairConfig(batch=32, pairs="sop", copies=copies))
        found, k = [], 0
        for epoch in range(5):
            size = plain.size(epoch)
            found.append({tuple(row) for i in range(k, k + size) for row in hidden[i].inputs.tokens.tolist()})
            k += size
        return found

    dynamic, static = epochs(None), epochs(2)
    assert len(dynamic[0] & dynamic[1]) + len(dynamic[0] & dynamic[2]) < 5
    common = [len(static[0] & static[i]) / len(static[0]) for i in range(1, 5)]
    assert common[0] < 0.01 and common[2] < 0.01
    assert common[1] > 0.7 and common[3] > 0.7  # those that are padded as before


@every_masking
def test_random_access_is_sequential_access(masking: MaskingConfig) -> None:
    _, one = masked("unigram", masking)
    _, other = masked("unigram", masking)
    in_order = [one[k] for k in range(len(one) + 3)]
    for k in np.random.default_rng(0).permutation(len(in_order)).tolist():
        assert_same(other[k], in_order[k])


@every_masking
def test_places_are_those_of_the_targets(masking: MaskingConfig) -> None:
    _, hidden = masked("bpe", masking)
    batch = hidden[0]
    for targets, places in zip(batch.targets, batch.target_positions, strict=True):
        assert places[places >= 0].tolist() == (targets != IGNORED).nonzero()[:, 0].tolist()


def test_random_numbers_are_uniform_and_apart() -> None:
    draws = Draws(5, 3, np.arange(200), 128)
    kinds = {purpose: draws.places(purpose).ravel() for purpose in ("choice", "kind", "token", "length")}
    for numbers in kinds.values():
        counts = np.histogram(numbers, 50, (0, 1))[0]
        expected = len(numbers) / 50
        assert ((counts - expected) ** 2 / expected).sum() < 100  # chi square of 49 degrees: 99.998 %
    assert abs(np.corrcoef(list(kinds.values())) - np.eye(4)).max() < 0.03
    assert not np.array_equal(Draws(6, 3, np.arange(2), 8).places("kind"), Draws(5, 3, np.arange(2), 8).places("kind"))
    assert not np.array_equal(Draws(5, 4, np.arange(2), 8).places("kind"), Draws(5, 3, np.arange(2), 8).places("kind"))


@every_masking
def test_a_batch_is_masked_in_no_time(masking: MaskingConfig) -> None:
    """32 rows of 128: far below a training step, also on a busy machine (its own processor time counts)."""
    _, hidden = masked("bpe", masking)
    hidden[0]
    begin = time.process_time()
    for k in range(10):
        hidden[k]
    assert (time.process_time() - begin) / 10 < 0.02


# --- leaks ----------------------------------------------------------------------------------------


def test_a_hidden_token_is_not_in_the_inputs() -> None:
    """Another token in its place changes the target and nothing else."""
    plain, hidden = masked("bpe", TokenMaskingConfig())
    text = plain.text.tokens
    batch, place = hidden[0], plain.epoch(0).layout.first[plain.epoch(0).groups[0]]
    mask = prose_of("bpe").tokenizer.specials.mask
    found = 0
    try:
        for row in range(len(batch.targets)):
            masks = ((batch.inputs.tokens[row] == mask) & (batch.targets[row] != IGNORED)).nonzero()[:, 0].tolist()
            for t in masks[:2]:
                at, before = int(place[row, 0]) + t - 1, int(batch.targets[row, t])
                assert text[at] == before
                text[at] = before - 1 if before - 1 not in prose_of("bpe").tokenizer.specials.ids else before + 1
                other = hidden[0]
                assert torch.equal(other.inputs.tokens, batch.inputs.tokens)
                assert int(other.targets[row, t]) == text[at] != before
                text[at] = before
                found += 1
    finally:
        assert found > 20


# --- what is refused ------------------------------------------------------------------------------


def test_what_is_hidden_is_at_most_all() -> None:
    with pytest.raises(ConfigError, match="sum to more than 1"):
        validate(TokenMaskingConfig, {"mask": 0.9, "random": 0.2}, "test")


def test_masks_need_a_token() -> None:
    tokenizer = WordConfig().train(["a b\n"])
    with pytest.raises(ConfigError, match="specials"):
        Masked(masked("bpe", TokenMaskingConfig())[0], TokenMaskingConfig(), tokenizer, 1)


def test_rows_without_text_to_hide() -> None:
    """A row of nothing but special tokens has no targets, and costs nothing."""
    prose = prose_of("bpe")

    class Bare:
        tokens = np.full(6, prose.tokenizer.boundary, np.uint16)
        tokens[0] = prose.tokenizer.encode("ka")[0]
        documents, lines = np.array([0, 6]), np.array([0, 1, 6])

    rows = FullConfig(length=5).build(Bare(), prose.tokenizer.specials, 0)
    for masking in (TokenMaskingConfig(rate=1.0), WholeWordMaskingConfig(rate=1.0), NGramMaskingConfig(rate=1.0)):
        hidden = Masked(rows, masking, prose.tokenizer, 0)
        assert sum(int((hidden[k].targets != IGNORED).sum()) for k in range(len(hidden))) == 1
        assert torch.is_tensor(hidden[0].target_positions)
