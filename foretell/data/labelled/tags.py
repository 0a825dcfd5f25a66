"""Spans of words and the usual ways to write them as tags.

word      U.N.    official  Ekeus   heads   for    Baghdad  Basra
IOB1      I-ORG   O         I-PER   O       O      I-LOC    B-LOC     B only where a span follows one of its kind
IOB2      B-ORG   O         B-PER   O       O      B-LOC    B-LOC     B begins every span
IO        I-ORG   O         I-PER   O       O      I-LOC    I-LOC     such neighbours become one
BIOES     S-ORG   O         S-PER   O       O      S-LOC    S-LOC     E ends a span, S is one of a single word
BILOU     U-ORG   O         U-PER   O       O      U-LOC    U-LOC     the same, with L for E and U for S
BMES      S-ORG   O         S-PER   O       O      S-LOC    S-LOC     the same as BIOES, with M for I
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from foretell.strict_json import shown

Scheme = Literal["iob2", "iob1", "io", "bioes", "bilou", "bmes"]
OUTSIDE = "O"
MARKS: dict[Scheme, tuple[str, ...]] = {
    "iob2": ("B", "I"),
    "iob1": ("I", "B"),
    "io": ("I",),
    "bioes": ("B", "I", "E", "S"),
    "bilou": ("B", "I", "L", "U"),
    "bmes": ("B", "M", "E", "S"),
}
GOING_ON: dict[Scheme, str] = {"iob2": "I", "iob1": "", "io": "", "bioes": "IE", "bilou": "IL", "bmes": "ME"}
"""marks that no span starts with"""
ENDING: dict[Scheme, str] = {"bioes": "E", "bilou": "L", "bmes": "E"}
"""the mark that ends a span of several words, in schemes that have one"""
MEANING = {"M": "I", "L": "E", "U": "S"}
"""marks of BMES and BILOU in those of BIOES"""


class Span(NamedTuple):
    """Words `start` up to but not including `end`, with their label."""

    label: str
    start: int
    end: int


def split_tag(tag: str) -> tuple[str, str]:
    """`B-creative-work` as `B` and `creative-work`."""
    mark, _, label = tag.partition("-")
    return mark, label


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans in tags of any scheme, also of tags that break its rules, as predictions may.

    A tag continues the span before it if it is an I or E after a B or I of the same label (conlleval.pl).
    """
    spans: list[Span] = []
    start = 0
    before, label_before = OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        mark, label = split_tag(tag)
        mark = MEANING.get(mark, mark)
        if before in ("B", "I") and mark in ("I", "E") and label == label_before:
            before = mark
            continue
        if before != OUTSIDE:
            spans.append(Span(label_before, start, place))
        start, before, label_before = place, mark, label
    return spans


def tags_of(spans: Sequence[Span], words: int, scheme: Scheme) -> tuple[str, ...]:
    """Tags of `words` words for spans that are in order and do not overlap."""
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
    """The marks of a span; `adjoins`: a span of the same label ends right before it."""
    if scheme in ENDING:
        begin, inside, end, single = MARKS[scheme]
        return single if size == 1 else begin + inside * (size - 2) + end
    begins = scheme == "iob2" or (scheme == "iob1" and adjoins)
    return ("B" if begins else "I") + "I" * (size - 1)


def convert(tags: Sequence[str], scheme: Scheme) -> tuple[str, ...]:
    """Convert tags to another scheme; IO cannot separate adjoining spans of one label."""
    return tags_of(spans_of(tags), len(tags), scheme)


def faults(tags: Sequence[str], scheme: Scheme) -> Iterator[tuple[int, str]]:
    """The positions where tags break the rules of a scheme, and how.

    In IOB1 a B in place of an I is accepted: CoNLL-2003 has two, and they are unambiguous.
    """
    before, label_before = OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        mark, label = split_tag(tag)
        inside = before in ("B", "I", "M") and label == label_before
        if problem := malformed(tag, scheme):
            yield place, problem
            mark, label = OUTSIDE, ""
        elif mark in GOING_ON[scheme] and not inside:
            yield place, f"{tag} follows no B-{label} or {GOING_ON[scheme][0]}-{label}"
        elif scheme in ENDING and before in ("B", "I", "M") and mark not in GOING_ON[scheme]:
            yield place - 1, f"the span of {label_before} ends without an {ENDING[scheme]}-{label_before}"
        before, label_before = mark, label


def malformed(tag: str, scheme: Scheme) -> str:
    """Reason a tag is malformed, or ""."""
    mark, label = split_tag(tag)
    if tag == OUTSIDE or (mark in MARKS[scheme] and label):
        return ""
    known = ", ".join(f"{mark}-…" for mark in MARKS[scheme])
    return f"{shown(tag)} is not a tag of {scheme.upper()} (O, {known})"


def better_scheme(sentences: Sequence[Sequence[str]], scheme: Scheme) -> str:
    """What to write where a scheme takes few of these sentences and another one nearly all; else nothing.

    Where no tag begins with B both IOB1 and IO fit: they differ in whether neighbours of one label are two spans.
    """
    marked = [tags for tags in sentences if any(tag != OUTSIDE for tag in tags)]
    lost = {other: sum(any(True for _ in faults(tags, other)) for tags in marked) for other in MARKS}
    least = min(lost.values())
    if 10 * lost[scheme] <= len(marked) or 10 * least > lost[scheme]:
        plain = sum(all(split_tag(tag)[1] == "" for tag in tags) for tags in marked)
        return 'data.reader.scheme = "none"' if lost[scheme] and 2 * plain > len(marked) else ""
    found = [other for other in MARKS if lost[other] == least]
    fitting = " or ".join(f'"{other}"' for other in (found[:2] if found[0] == "iob1" else found[:1]))
    return f"data.reader.scheme = {fitting}" + (f", which fits all but {least}" if least else "")
