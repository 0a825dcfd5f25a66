"""Log-probabilities of lines."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from foretell.api.mixed import Mixed
from foretell.api.trained import Trained
from foretell.data.files import missing
from foretell.data.text_files import BOUNDARY, Report, count_replaced, mended, numbered_lines, stored_lines
from foretell.errors import ConfigError
from foretell.evaluate.lines import Reader, Scored, score_texts
from foretell.run import Record

T = TypeVar("T")
Model = Trained | Mixed
Context = Literal["lines", "carried"]
CHARACTERS, LINES = 1 << 18, 4096
"""bounds of a chunk of lines, which is scored at once and held in memory"""
STDIN = Path("-")


class Line(NamedTuple):
    """A line of running text, with its newline; empty for a line that only ends a document."""

    text: str
    ends_document: bool = False
    """whether a document boundary follows"""


def read_lines(paths: Sequence[Path], report: Report) -> Iterator[str]:
    """The lines of files (`-` or none: stdin), without their newlines.

    A line ends at a newline only. Invalid UTF-8 becomes U+FFFD and is counted in `report`.
    """
    return (mended(line).text for line in stored_lines_of(paths, report))


def stored_lines_of(paths: Sequence[Path], report: Report) -> Iterator[str]:
    """Like `read_lines`, but invalid UTF-8 becomes surrogates, so that stored bytes can be counted."""
    for path in paths or [STDIN]:
        yield from (line.removesuffix("\n") for line in stored_text(path, report))


def read_running(paths: Sequence[Path], report: Report, lone: bool, eager: bool = False) -> Iterator[Line]:
    """The lines of files as one running text with document boundaries, as in a corpus of these files.

    The end of a file and a line `<|endofdoc|>` end a document. A boundary follows each of several documents, and a
    single one if `lone`. Whether there are several shows only at the next document, so one line is held back, unless
    `eager`.
    """
    held: list[Line] = []  # the last line of text, and the lines after it that only end its document
    ended = several = False
    for path in paths or [STDIN]:
        for text in stored_text(path, report):
            mark = text.startswith(BOUNDARY) and text.rstrip() == BOUNDARY
            if eager:
                yield Line("", True) if mark else Line(text)
            elif mark:
                held.append(Line(""))
                ended = True
            else:
                several = several or (ended and any(line.text for line in held))
                yield from with_boundary(held, ended)
                held, ended = [Line(text)], False
        ended = True
    yield from with_boundary(held, several or lone)


def with_boundary(lines: Sequence[Line], ends: bool) -> Iterator[Line]:
    """The lines; if `ends`, the one with text ends a document."""
    yield from (line._replace(ends_document=bool(ends and line.text)) for line in lines)


def stored_text(path: Path, report: Report) -> Iterator[str]:
    """The lines of a file or of stdin with their newlines, invalid UTF-8 as surrogates."""
    if path != STDIN and not path.exists():
        raise missing(path)
    stored = numbered_lines(sys.stdin.buffer, Path("stdin")) if path == STDIN else stored_lines(path)
    for _, line in stored:
        report.replaced += count_replaced(line)
        yield line.decode(errors="surrogateescape")


def chunks(lines: Iterable[T], eager: bool, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Lines in chunks that fit into memory; `eager`: one at a time, for interactive input."""
    chunk: list[T] = []
    total = 0
    for line in lines:
        chunk.append(line)
        total += size(line)
        if eager or total >= CHARACTERS or len(chunk) >= LINES:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def score_lines(model: Model, lines: Iterable[str], *, end: bool = True, eager: bool = False) -> Iterator[Scored]:
    """Score each line from a fresh state, in order, in constant memory.

    `end`: the newline belongs to a line and is predicted too.
    """
    scorer, tokenizer, device = model.static.scorer(ranks=False), model.tokenizer, model.device
    for chunk in chunks(lines, eager, len):
        yield from score_texts(scorer, tokenizer, [line + "\n" for line in chunk] if end else chunk, device)


def score_running(model: Model, lines: Iterable[Line], *, eager: bool = False) -> Iterator[Scored]:
    """Score each line given all lines before it; the sum is the score of `evaluate` for the text."""
    reader = Reader(model.scorer(ranks=False), model.tokenizer, model.device)
    for chunk in chunks(lines, eager, lambda line: len(line.text)):
        texts, ends = zip(*chunk, strict=True)
        yield from reader.score(texts, ends)


def scores(
    model: Model, paths: Sequence[Path], report: Report, context: Context, end: bool, eager: bool = False
) -> Iterator[Scored]:
    """Score each line of files: alone (`lines`), or given the lines before it (`carried`)."""
    if context == "lines":
        return score_lines(model, stored_lines_of(paths, report), end=end, eager=eager)
    if not end:
        raise ConfigError("--context carried always predicts line ends; leave out --no-end")
    return score_running(model, read_running(paths, report, model.tokenizer.ends_lines, eager), eager=eager)


# --- output ---------------------------------------------------------------------------------------

COLUMNS = ("logp", "tokens", "unknown", "bits_per_byte", "bits_per_character", "perplexity", "lossy")


def record(scored: Scored, tokens: bool) -> Record:
    """Figures of a line as a JSON object; with `tokens` also the surprisal of each token in bits."""
    figures: Record = {"text": scored.text.removesuffix("\n")} | dict(zip(COLUMNS, figures_of(scored), strict=True))
    if tokens:
        bits = [-logp / math.log(2) for logp in scored.token_logp]
        figures["surprisal_bits"] = [list(pair) for pair in zip(scored.tokens, bits, strict=True)]
    return figures


def row(scored: Scored) -> str:
    """Figures of a line, `COLUMNS` separated by tabs; undefined ones are empty."""
    return "\t".join("" if value is None else written(value) for value in figures_of(scored))


def token_rows(number: int, scored: Scored) -> Iterator[str]:
    """One row per token: number of the line, token, surprisal in bits."""
    for token, logp in zip(scored.tokens, scored.token_logp, strict=True):
        yield f"{number}\t{escaped(token)}\t{written(-logp / math.log(2))}"


def figures_of(scored: Scored) -> tuple[Any, ...]:
    """Values of `COLUMNS`."""
    return (
        scored.logp,
        len(scored.tokens),
        scored.unknown,
        scored.bits_per_byte,
        scored.bits_per_character,
        scored.perplexity,
        scored.lossy,
    )


def written(value: float) -> str:
    """A number with six decimals; integers plain, booleans as 1 and 0."""
    return str(int(value)) if isinstance(value, int) else f"{value:.6f}"


def escaped(token: str) -> str:
    """A token with newlines, tabs and backslashes escaped."""
    return token.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def combined(records: Sequence[Record]) -> Record:
    """All lines as one JSON object."""
    logp = math.fsum(line["logp"] for line in records)
    return {
        "lines": list(records),
        "logp": logp,
        "tokens": sum(line["tokens"] for line in records),
        "unknown": sum(line["unknown"] for line in records),
        "lossy": any(line["lossy"] for line in records),
    }


def print_scores(
    model: Model,
    paths: Sequence[Path],
    *,
    context: Context = "lines",
    end: bool = True,
    tokens: bool = False,
    header: bool = False,
) -> Iterator[str]:
    """The rows of `foretell score`, one by one."""
    report = Report()
    eager = not paths and sys.stdin.isatty()
    if header:
        yield "\t".join(("line", "token", "surprisal_bits") if tokens else COLUMNS)
    for number, scored in enumerate(scores(model, paths, report, context, end, eager), 1):
        yield from token_rows(number, scored) if tokens else [row(scored)]
    warn(report)


def all_scores(
    model: Model, paths: Sequence[Path], *, context: Context = "lines", end: bool = True, tokens: bool = False
) -> Record:
    """All scores as one JSON object, held in memory."""
    report = Report()
    lines = [record(scored, tokens) for scored in scores(model, paths, report, context, end)]
    result = combined(lines) | {"replaced": report.replaced}
    warn(report)
    return result


def warn(report: Report) -> None:
    """Warn on stderr of invalid UTF-8."""
    if report.replaced:
        sys.stderr.write(f"{report.replaced} places are not valid UTF-8, read as U+FFFD\n")
