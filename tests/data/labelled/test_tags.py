"""Tag schemes: a table written by hand, round trips, and seqeval, which reads tags as conlleval.pl does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from foretell.data.labelled.tags import MARKS, Scheme, Span, convert, faults, spans_of, tags_of

TABLE: dict[Scheme, str] = {
    "iob1": "I-ORG O I-PER I-PER I-LOC B-LOC I-LOC I-ORG I-LOC",
    "iob2": "B-ORG O B-PER I-PER B-LOC B-LOC I-LOC B-ORG B-LOC",
    "io": "I-ORG O I-PER I-PER I-LOC I-LOC I-LOC I-ORG I-LOC",
    "bilou": "U-ORG O B-PER L-PER U-LOC B-LOC L-LOC U-ORG U-LOC",
    "bmes": "S-ORG O B-PER E-PER S-LOC B-LOC E-LOC S-ORG S-LOC",
    "bioes": "S-ORG O B-PER E-PER S-LOC B-LOC E-LOC S-ORG S-LOC",
}
SPANS = [
    Span("ORG", 0, 1),
    Span("PER", 2, 4),
    Span("LOC", 4, 5),
    Span("LOC", 5, 7),
    Span("ORG", 7, 8),
    Span("LOC", 8, 9),
]
LABELS = st.sampled_from(["x", "y-z"])
ANY_TAGS = st.lists(st.one_of(st.just("O"), st.builds("{}-{}".format, st.sampled_from("BIES"), LABELS)), max_size=12)
exact = pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes", "bilou", "bmes"])


@st.composite
def spans(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Spans in order, some adjoining, and a number of words."""
    found, place = [], 0
    for label, gap, size in draw(st.lists(st.tuples(LABELS, st.integers(0, 2), st.integers(1, 3)), max_size=5)):
        found.append(Span(label, place + gap, place + gap + size))
        place += gap + size
    return found, place + draw(st.integers(0, 2))


@exact
def test_the_table(scheme: Scheme) -> None:
    assert spans_of(TABLE[scheme].split()) == SPANS
    assert tags_of(SPANS, 9, scheme) == tuple(TABLE[scheme].split())


def test_io_joins_neighbours_of_one_label() -> None:
    assert tags_of(SPANS, 9, "io") == tuple(TABLE["io"].split())
    assert spans_of(TABLE["io"].split())[2] == Span("LOC", 4, 7)


@exact
@given(spans())
def test_spans_come_back_from_tags(scheme: Scheme, case: tuple[list[Span], int]) -> None:
    found, words = case
    tags = tags_of(found, words, scheme)
    assert len(tags) == words
    assert spans_of(tags) == found
    assert list(faults(tags, scheme)) == []
    assert convert(convert(tags, "bioes"), scheme) == tags


@given(ANY_TAGS)
def test_spans_of_any_tags_are_those_of_seqeval(tags: list[str]) -> None:
    assert [(span.label, span.start, span.end - 1) for span in spans_of(tags)] == get_entities(tags)


@pytest.mark.parametrize("scheme", ["iob2", "bioes"])
@given(ANY_TAGS)
def test_tags_are_faulty_unless_they_are_those_of_their_spans(scheme: Scheme, tags: list[str]) -> None:
    """What a scheme allows is exactly what it writes."""
    assert (not list(faults(tags, scheme))) == (tags_of(spans_of(tags), len(tags), scheme) == tuple(tags))


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("iob2", "B-x I-y O I-x", [(1, "I-y follows no B-y or I-y"), (3, "I-x follows no B-x or I-x")]),
        ("iob1", "B-x I-x B-x O B-x", []),
        ("io", "I-x B-x", [(1, "'B-x' is not a tag of IO (O, I-…)")]),
        ("bioes", "B-x O", [(0, "the span of x ends without an E-x")]),
        ("bioes", "O B-x", [(1, "the span of x ends without an E-x")]),
        ("bioes", "S-x E-x", [(1, "E-x follows no B-x or I-x")]),
        ("iob2", "O B-", [(1, "'B-' is not a tag of IOB2 (O, B-…, I-…)")]),
        ("iob2", "o BI-x", [(i, f"{t!r} is not a tag of IOB2 (O, B-…, I-…)") for i, t in enumerate(["o", "BI-x"])]),
    ],
)  # fmt: skip
def test_faults_say_where_and_how(scheme: Scheme, tags: str, expected: list[tuple[int, str]]) -> None:
    assert list(faults(tags.split(), scheme)) == expected


def test_every_scheme_has_marks() -> None:
    assert set(MARKS) == set(TABLE)
