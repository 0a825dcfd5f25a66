"""Lines in, log-probabilities out; and lists of hypotheses put into a better order."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from foretell.api.mixing import Mixed
from foretell.api.trained import Trained
from foretell.data.text_files import BOUNDARY, Report, count_replaced, mended, numbered_lines, stored_lines
from foretell.errors import ConfigError
from foretell.evaluate.lines import Reader, Scored, score_texts
from foretell.run import Record

T = TypeVar("T")
Model = Trained | Mixed
Context = Literal["lines", "carried"]
CHARACTERS = 1 << 18  # of lines scored side by side, and held in memory
LINES = 4096
STDIN = Path("-")


class Line(NamedTuple):
    """A line of a running text, with its newline; empty where a line only ended a document."""

    text: str
    ends_document: bool = False
    """whether a boundary closes the document behind it"""


def read_lines(paths: Sequence[Path], report: Report) -> Iterator[str]:
    """The lines of some files (`-` or none: stdin), without their newlines.

    A line ends at a newline and nowhere else; invalid UTF-8 becomes U+FFFD and is counted in the report.
    """
    return (mended(line).text for line in stored_lines_of(paths, report))


def stored_lines_of(paths: Sequence[Path], report: Report) -> Iterator[str]:
    """The same with invalid UTF-8 kept as `surrogateescape` does, so that what is stored can be counted."""
    for path in paths or [STDIN]:
        yield from (line.removesuffix("\n") for line in stored_text(path, report))


def read_running(paths: Sequence[Path], report: Report, lone: bool, eager: bool = False) -> Iterator[Line]:
    """The lines of some files as one running text, closed by boundaries as a corpus of these files would be.

    A file's end and a line `<|endofdoc|>` end a document. Each is closed where there are several, a `lone` one on
    request. That is known only at the next document, so a line is held back, unless `eager`.
    """
    held: list[Line] = []  # the last line of text, and those behind it that only ended its document
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
                yield from closed(held, ended)
                held, ended = [Line(text)], False
        ended = True
    yield from closed(held, several or lone)


def closed(lines: Sequence[Line], ends: bool) -> Iterator[Line]:
    """The lines, of which that with text, if there is one, ends a document or not."""
    yield from (line._replace(ends_document=bool(ends and line.text)) for line in lines)


def stored_text(path: Path, report: Report) -> Iterator[str]:
    """The lines of a file or of stdin, newlines kept, and invalid UTF-8 as `surrogateescape` does."""
    if path != STDIN and not path.exists():
        raise ConfigError("no such file", file=path, remedy="name text files, or - for stdin")
    stored = numbered_lines(sys.stdin.buffer, Path("stdin")) if path == STDIN else stored_lines(path)
    for _, line in stored:
        report.replaced += count_replaced(line)
        yield line.decode(errors="surrogateescape")


def chunks(lines: Iterable[T], eager: bool, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Lines in lists that fit into memory; `eager`: one by one, as for someone who types them."""
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
    """What the model says of each line from a fresh state, in order, in constant memory.

    `end`: the newline belongs to a line and is predicted too.
    """
    scorer, tokenizer, device = model.scorer(ranks=False), model.tokenizer, model.device
    for chunk in chunks(lines, eager, len):
        yield from score_texts(scorer, tokenizer, [line + "\n" for line in chunk] if end else chunk, device)


def score_running(model: Model, lines: Iterable[Line], *, eager: bool = False) -> Iterator[Scored]:
    """What the model says of each line given all those before it: in sum, what `evaluate` says of the text."""
    reader = Reader(model.scorer(ranks=False), model.tokenizer, model.device)
    for chunk in chunks(lines, eager, lambda line: len(line.text)):
        texts, ends = zip(*chunk, strict=True)
        yield from reader.score(texts, ends)


def scores(
    model: Model, paths: Sequence[Path], report: Report, context: Context, end: bool, eager: bool = False
) -> Iterator[Scored]:
    """What the model says of each line of some files: read alone ("lines"), or given those before it ("carried")."""
    if context == "lines":
        return score_lines(model, stored_lines_of(paths, report), end=end, eager=eager)
    if not end:
        raise ConfigError("carried context reads the ends of lines, so they count; leave --no-end out")
    return score_running(model, read_running(paths, report, model.tokenizer.ends_lines, eager), eager=eager)


# --- output ---------------------------------------------------------------------------------------

COLUMNS = ("logp", "tokens", "unknown", "bits_per_byte", "bits_per_character", "perplexity", "lossy")


def record(scored: Scored, tokens: bool) -> Record:
    """A line's figures for JSON; with `tokens` the surprisal of each in bits."""
    figures: Record = {"text": scored.text.removesuffix("\n")} | dict(zip(COLUMNS, figures_of(scored), strict=True))
    if tokens:
        bits = [-logp / math.log(2) for logp in scored.token_logp]
        figures["surprisal_bits"] = [list(pair) for pair in zip(scored.tokens, bits, strict=True)]
    return figures


def row(scored: Scored) -> str:
    """A line's figures between tabs: the columns of `COLUMNS`; what is not defined is empty."""
    return "\t".join("" if value is None else written(value) for value in figures_of(scored))


def token_rows(number: int, scored: Scored) -> Iterator[str]:
    """A row for each token of a line: the line's number, the token, its surprisal in bits."""
    for token, logp in zip(scored.tokens, scored.token_logp, strict=True):
        yield f"{number}\t{escaped(token)}\t{written(-logp / math.log(2))}"


def figures_of(scored: Scored) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
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
    """Six digits after the point; whole numbers plain, yes and no as 1 and 0."""
    return str(int(value)) if isinstance(value, int) else f"{value:.6f}"


def escaped(token: str) -> str:
    """A token on one line and without tabs."""
    return token.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def summed(records: Sequence[Record]) -> Record:
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
    """The rows of `foretell score`, as they become known."""
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
    """The same as one JSON object, which has to be held in memory."""
    report = Report()
    found = [record(scored, tokens) for scored in scores(model, paths, report, context, end)]
    result = summed(found) | {"replaced": report.replaced}
    warn(report)
    return result


def warn(report: Report) -> None:
    """Say on stderr what could not be read."""
    if report.replaced:
        sys.stderr.write(f"{report.replaced} places are not valid UTF-8, read as U+FFFD\n")
