"""Spans of words and the four usual ways to write them as tags.

word      U.N.    official  Ekeus   heads   for    Baghdad  Basra
IOB1      I-ORG   O         I-PER   O       O      I-LOC    B-LOC     B only where a span follows one of its kind
IOB2      B-ORG   O         B-PER   O       O      B-LOC    B-LOC     B begins every span
IO        I-ORG   O         I-PER   O       O      I-LOC    I-LOC     such neighbours become one
BIOES     S-ORG   O         S-PER   O       O      S-LOC    S-LOC     E ends a span, S is one of a single word
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Scheme = Literal["iob1", "iob2", "io", "bioes"]
OUTSIDE = "O"
MARKS: dict[Scheme, tuple[str, ...]] = {
    "iob1": ("I", "B"),
    "iob2": ("B", "I"),
    "io": ("I",),
    "bioes": ("B", "I", "E", "S"),
}
GOING_ON: dict[Scheme, tuple[str, ...]] = {"iob1": (), "iob2": ("I",), "io": (), "bioes": ("I", "E")}
"""marks that no span begins with"""


class Span(NamedTuple):
    """Words `start` up to `end`, which is left out, and what they are."""

    label: str
    start: int
    end: int


def split_tag(tag: str) -> tuple[str, str]:
    """`B-creative-work` as `B` and `creative-work`."""
    mark, _, label = tag.partition("-")
    return mark, label


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans in tags of any of the schemes, even where they break its rules, as predictions do.

    A tag goes on with the span before it if it is an I or E behind a B or I of the same label (conlleval.pl).
    """
    spans: list[Span] = []
    start = 0
    before, label_before = OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        mark, label = split_tag(tag)
        if before in ("B", "I") and mark in ("I", "E") and label == label_before:
            before = mark
            continue
        if before != OUTSIDE:
            spans.append(Span(label_before, start, place))
        start, before, label_before = place, mark, label
    return spans


def tags_of(spans: Sequence[Span], words: int, scheme: Scheme) -> tuple[str, ...]:
    """So many tags for spans that are in order and do not overlap."""
    tags = [OUTSIDE] * words
    before: Span | None = None
    for span in spans:
        size = span.end - span.start
        adjoins = before is not None and before.end == span.start and before.label == span.label
        for place, mark in enumerate(marks_of(size, scheme, adjoins), span.start):
            tags[place] = f"{mark}-{span.label}"
        before = span
    return tuple(tags)


def marks_of(size: int, scheme: Scheme, adjoins: bool) -> str:
    """The marks of a span; `adjoins`: one of the same label ends right before it."""
    if scheme == "bioes":
        return "S" if size == 1 else "B" + "I" * (size - 2) + "E"
    begins = scheme == "iob2" or (scheme == "iob1" and adjoins)
    return ("B" if begins else "I") + "I" * (size - 1)


def convert(tags: Sequence[str], scheme: Scheme) -> tuple[str, ...]:
    """Tags of any scheme in another; IO cannot tell two spans of one label apart that adjoin."""
    return tags_of(spans_of(tags), len(tags), scheme)


def faults(tags: Sequence[str], scheme: Scheme) -> Iterator[tuple[int, str]]:
    """Where tags break the rules of a scheme, and how.

    In IOB1 a B where I would do is no fault: CoNLL-2003 has two, and what is meant is clear.
    """
    before, label_before = OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        mark, label = split_tag(tag)
        inside = before in ("B", "I") and label == label_before
        if problem := malformed(tag, scheme):
            yield place, problem
            mark, label = OUTSIDE, ""
        elif mark in GOING_ON[scheme] and not inside:
            yield place, f"{tag} follows no B-{label} or I-{label}"
        elif scheme == "bioes" and before in ("B", "I") and mark not in ("I", "E"):
            yield place - 1, f"the span of {label_before} ends without an E-{label_before}"
        before, label_before = mark, label


def malformed(tag: str, scheme: Scheme) -> str:
    """What is wrong with a tag by itself."""
    mark, label = split_tag(tag)
    if tag == OUTSIDE or (mark in MARKS[scheme] and label):
        return ""
    known = ", ".join(f"{mark}-…" for mark in MARKS[scheme])
    return f"{tag!r} is no tag of {scheme.upper()} (O, {known})"
