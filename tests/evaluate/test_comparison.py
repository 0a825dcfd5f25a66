"""Where models differ, against plain loops over tokens and lines."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from foretell.data.store.store_builder import Counts
from foretell.data.text_files import Piece
from foretell.data.tokenizers.kinds import WordConfig
from foretell.evaluate.comparison import Parts, RawText, by_frequency, by_position, snippet, sums, worst_tokens

DRAW = np.random.default_rng(0)


@dataclass
class Split:
    counts: Counts
    documents: np.ndarray
    lines: np.ndarray
    document_bytes: np.ndarray


def split(documents: int, lines: list[int]) -> Split:
    """Documents of one line each, or all lines in one document."""
    ends = np.concatenate([[0], np.cumsum(lines)])
    counts = Counts(tokens=int(ends[-1]), documents=documents, lines=len(lines), bytes=7 * int(ends[-1]))
    edges = ends if documents == len(lines) else np.array([0, ends[-1]])
    return Split(counts, edges, ends, 7 * np.diff(edges))


def test_sums_of_stretches() -> None:
    assert sums(np.array([1.0, 2, 4, 8]), np.array([0, 1, 1, 4])).tolist() == [1, 0, 14]


def test_documents_are_the_parts_where_there_are_enough() -> None:
    lengths = DRAW.integers(1, 30, 25).tolist()
    text = split(25, lengths)
    parts = Parts.of(text, None)
    nats = DRAW.random(text.counts.tokens)
    assert parts.kind == "documents" and parts.bytes.tolist() == text.document_bytes.tolist()
    expected = [math.fsum(nats[a:b]) for a, b in zip(text.lines, text.lines[1:], strict=False)]
    assert parts.losses(nats, text) == pytest.approx(expected)


@pytest.mark.parametrize("known", [True, False])
def test_else_blocks_of_whole_lines(known: bool) -> None:
    """The same blocks for every tokenizer, as they are made of bytes."""
    line_bytes = DRAW.integers(1, 200, 3000)
    line_bytes[500] = 20_000  # one line longer than a block
    coarse, fine = split(1, (line_bytes // 7 + 1).tolist()), split(1, line_bytes.tolist())
    coarse.counts.bytes = fine.counts.bytes = int(line_bytes.sum())
    parts = Parts.of(coarse, RawText("", line_bytes) if known else None)
    assert parts.kind == "blocks" and 80 < len(parts.bytes) < 110
    assert parts.bytes.sum() == pytest.approx(line_bytes.sum())
    assert (np.diff(parts.edges) > 0).all() and parts.edges[0] == 0 and parts.edges[-1] == 3000
    usual = np.delete(parts.bytes, np.argmax(parts.bytes))[:-1]
    assert np.abs(usual - line_bytes.sum() / 100).mean() < (200 if known else 400)
    for text in (coarse, fine):
        nats = np.ones(text.counts.tokens)
        assert parts.losses(nats, text).sum() == text.counts.tokens
        assert (parts.losses(nats, text) == np.diff(text.lines[parts.edges])).all()


def test_raw_text() -> None:
    pieces = [Piece("ab\n", False), Piece("ü", False), Piece("x\n", False), Piece("end", True), Piece("z\n", True)]
    raw = RawText.read(pieces)
    assert raw.line_bytes.tolist() == [3, 4, 3, 2]
    assert raw.digest == RawText.read([Piece("ab\nüx\nend", True), Piece("z\n", True)]).digest
    assert raw.digest != RawText.read([Piece("ab\nüx\nendz\n", True)]).digest


def test_by_frequency() -> None:
    counts = np.array([0, 1, 9, 10, 99, 100, 12345])
    tokens = DRAW.integers(0, 7, 500)
    nats = DRAW.random(500)
    names = {0: 0, 1: 1, 2: 1, 3: 10, 4: 10, 5: 100, 6: 10000}
    expected = defaultdict(list)
    for token, loss in zip(tokens.tolist(), nats.tolist(), strict=True):
        expected[names[token]].append(loss)
    found = by_frequency(tokens, nats, counts, 1000)
    assert [bucket["from"] for bucket in found] == [0, 1, 10, 100, 10000]
    assert [bucket["to"] for bucket in found] == [0, 9, 99, 999, 99999]
    for bucket in found:
        losses = expected[bucket["from"]]
        assert bucket["tokens"] == len(losses)
        assert bucket["loss"] == pytest.approx(sum(losses) / len(losses))
    assert sum(bucket["bits_per_byte"] for bucket in found) == pytest.approx(nats.sum() / math.log(2) / 1000)


def test_by_position() -> None:
    starts = np.array([0, 3, 3, 12, 13])
    nats = DRAW.random(13)
    found = {bucket["from"]: bucket for bucket in by_position(starts, nats, 50)}
    assert {begin: bucket["tokens"] for begin, bucket in found.items()} == {0: 3, 1: 2, 2: 3, 4: 4, 8: 1}
    assert found[2]["loss"] == pytest.approx((nats[2] + nats[5] + nats[6]) / 3) and found[2]["to"] == 3
    assert found[0]["loss"] == pytest.approx((nats[0] + nats[3] + nats[12]) / 3)


def test_worst_tokens() -> None:
    tokenizer = WordConfig(min_count=1).train(["the cat sat on the mat\n"])
    ids = np.array(tokenizer.encode("the cat sat on the mat\nthe cat\n"))
    nats = np.ones(len(ids))
    other = np.ones(len(ids))
    nats[1], nats[8], nats[2] = 3.0, 5.0, 6.0  # cat, cat, sat
    nats[3] = 0.5
    found = worst_tokens(ids, nats, other, tokenizer)
    assert [(f["token"], f["occurrences"]) for f in found] == [("cat", 2), ("sat", 1)]
    assert found[0]["excess_bits"] == pytest.approx(6 / math.log(2))
    assert found[0]["context"] == "the cat sat on the mat⏎the[ cat]⏎"
    assert found[0]["context_excess_bits"] == pytest.approx(4 / math.log(2))
    assert snippet(ids, 6, tokenizer) == "the cat sat on the mat[⏎]the cat⏎"
