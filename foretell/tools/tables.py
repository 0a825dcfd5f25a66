"""Tables for a terminal of any width: columns by priority, numbers and intervals in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from foretell.errors import printable

GAP = 2
"""blanks between columns"""
NAME = 16
"""characters down to which names wrap"""
WORD = 12
"""characters up to which a word of a heading is not broken"""
NARROWEST = 8
"""characters down to which a column wraps where nothing else is left"""
PIECES = re.compile(r"\s+|[^\s/+_,=-]*[/+_,=-]+|[^\s/+_,=-]+")
"""what a line is broken between: blanks, and after the marks that names are made of"""

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column of a table; by default one of numbers that is always shown in full."""

    heading: str = ""
    priority: int = 1
    """1: always shown; of the others, those of the highest number are left out first"""
    align: Literal["left", "right"] = "right"
    wraps: int | None = None
    """characters down to which its cells may wrap; None: they never do"""

    @classmethod
    def names(cls, heading: str = "", priority: int = 1) -> Column:
        """Names, which wrap only where they are long."""
        return cls(heading, priority, "left", NAME)

    @classmethod
    def texts(cls, heading: str = "", priority: int = 1, *, least: int = 24) -> Column:
        """Sentences."""
        return cls(heading, priority, "left", least)

    @classmethod
    def words(cls, heading: str = "", priority: int = 1) -> Column:
        """Words that are never broken."""
        return cls(heading, priority, "left")


@dataclass
class Section:
    """Rows under a line of their own, and the style of each."""

    label: str = ""
    rows: list[tuple[list[Text], str]] = field(default_factory=list)


class ResponsiveTable:
    """Rows under headings. Where the terminal is too narrow, headings and names wrap, then columns are left out by
    priority, which a line below the table says; where even the first columns do not fit, each row is a paragraph."""

    def __init__(self, *columns: Column, title: str = "", notes: Sequence[str] = ()):
        self.columns = columns
        self.title = title
        self.notes = list(notes)
        self.sections = [Section()]

    def add(self, *cells: Cell, style: str = "") -> None:
        """Add a row; cells that are missing at its end are empty."""
        given = [cell if isinstance(cell, Text) else Text(printable(cell, keep="\n")) for cell in cells]
        rest = [Text()] * (len(self.columns) - len(given))
        self.sections[-1].rows.append(([*given, *rest], style))

    def section(self, label: str = "") -> None:
        """Draw a line below the rows so far, with a label for those that follow."""
        self.sections.append(Section(printable(label)))

    def fits(self, width: int) -> bool:
        """Whether all columns fit, with no name wrapped."""
        return total([self.natural(column) for column in self.filled()]) <= width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(printable(self.title), "italic")
        shown, left_out = self.chosen(options.max_width)
        if (widths := self.widths(shown, options.max_width)) is None:
            yield from self.paragraphs(shown)
        else:
            yield from self.drawn(shown, widths)
        if left_out:
            headings = ", ".join(self.columns[column].heading for column in left_out)
            yield Text(f"not shown at this width: {headings} (--json has all)", "dim")
        for note in self.notes:
            yield Text(printable(note, keep="\n"), "dim")

    # --- which columns, and how wide ----------------------------------------------------------------

    def filled(self) -> list[int]:
        """The columns that have something in a cell; the first one always."""
        return [column for column in range(len(self.columns)) if not column or any(self.cells(column))]

    def cells(self, column: int) -> Iterator[Text]:
        """The cells of a column."""
        return (cells[column] for section in self.sections for cells, _ in section.rows)

    def natural(self, column: int) -> int:
        """The width of a column in which nothing wraps."""
        return max(self.content(column), cell_len(self.columns[column].heading))

    def content(self, column: int) -> int:
        """The width of the longest line in its cells."""
        return max((cell_len(line) for cell in self.cells(column) for line in cell.plain.split("\n")), default=0)

    def least(self, column: int, narrowest: int | None = None) -> int:
        """The width down to which a column may be narrowed; `narrowest` replaces its own limit."""
        chosen, content = self.columns[column], self.content(column)
        if chosen.wraps is not None:
            content = min(content, chosen.wraps if narrowest is None else narrowest)
        return max(content, unbroken(chosen.heading), 1)

    def chosen(self, width: int) -> tuple[list[int], list[int]]:
        """The columns to show and those to leave out, in order."""
        shown, left_out = self.filled(), []
        while total([self.least(column) for column in shown]) > width:
            last = max(shown, key=lambda column: (self.columns[column].priority, column))
            if self.columns[last].priority == 1:
                break
            shown.remove(last)
            left_out.append(last)
        return shown, sorted(left_out)

    def widths(self, shown: Sequence[int], width: int) -> list[int] | None:
        """The width of each column; None where they cannot be made narrow enough.

        Room beyond the least widths goes to the cells if none has to wrap then, or else to headings first.
        """
        for narrowest in (None, NARROWEST):
            widths = [self.least(column, narrowest) for column in shown]
            if total(widths) <= width:
                break
        else:
            return None
        contents = [self.content(column) for column in shown]
        headings = [cell_len(self.columns[column].heading) for column in shown]
        wraps = total([*map(max, widths, contents)]) > width
        for wanted in (headings, contents) if wraps else (contents, headings):
            widths = widened(widths, wanted, width)
        return widths

    # --- drawing ------------------------------------------------------------------------------------

    def drawn(self, shown: Sequence[int], widths: Sequence[int]) -> Iterator[RenderableType]:
        """The table: sections alike, with lines between them."""
        heads = any(self.columns[column].heading for column in shown)
        for number, section in enumerate(self.sections):
            if section.label or (number and section.rows):
                line = f"{section.label} " if section.label else ""
                yield Text(line + "─" * max(0, total(widths) - cell_len(line)), "dim")
            part = Table(box=None, show_header=heads and not number, header_style="dim", pad_edge=False)
            part.padding = (0, GAP, 0, 0)
            for column, width in zip(shown, widths, strict=True):
                mine = self.columns[column]
                head = folded(Text(mine.heading), width)
                part.add_column(head, justify=mine.align, width=width, no_wrap=True, vertical="top")
            for cells, style in section.rows:
                fitted = zip(shown, widths, strict=True)
                part.add_row(*(folded(cells[column], width) for column, width in fitted), style=style)
            if section.rows or part.show_header:
                yield part

    def paragraphs(self, shown: Sequence[int]) -> Iterator[RenderableType]:
        """A paragraph per row: its name, then what follows with its headings."""
        for section in self.sections:
            if section.label:
                yield Text(section.label, "dim")
            for cells, style in section.rows:
                known = [f"{self.columns[n].heading} {cells[n].plain}".strip() for n in shown[1:] if cells[n]]
                yield Text(cells[0].plain, style or "bold")
                yield Padding(Text(", ".join(known)), (0, 0, 0, GAP))


def facts(rows: Iterable[tuple[str, Cell]], title: str = "") -> ResponsiveTable:
    """Names and values; long values wrap."""
    table = ResponsiveTable(Column.words(), Column.texts(), title=title)
    for name, value in rows:
        table.add(Text(printable(name), "dim"), value)
    return table


def spaced(*parts: RenderableType) -> Group:
    """Tables and texts with an empty line between them."""
    return Group(*parts[:1], *(item for part in parts[1:] for item in (Text(), part)))


class FirstFit:
    """The first of several tables that fits the terminal in full, or else the last one."""

    def __init__(self, *tables: ResponsiveTable):
        self.tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield next((table for table in self.tables if table.fits(options.max_width)), self.tables[-1])


def widened(widths: Sequence[int], wanted: Sequence[int], width: int) -> list[int]:
    """Widths as wanted, as far as there is room: those that lack least come first, the others share the rest."""
    widths, lacking = list(widths), [max(0, want - own) for own, want in zip(widths, wanted, strict=True)]
    in_need = sorted((lack, number) for number, lack in enumerate(lacking) if lack)
    for rank, (lack, number) in enumerate(in_need):
        widths[number] += min(lack, (width - total(widths)) // (len(in_need) - rank))
    return widths


def total(widths: Sequence[int]) -> int:
    """The width of columns with the gaps between them."""
    return sum(widths) + GAP * max(0, len(widths) - 1)


def folded(text: Text, width: int) -> Text:
    """A text in lines of at most `width` characters, broken at blanks, after marks in names, or else anywhere."""
    if all(cell_len(line) <= width for line in text.plain.split("\n")):
        return text
    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        ends, used, place = [], 0, 0
        for piece in PIECES.findall(line.plain):
            for part in chop_cells(piece, width) if cell_len(piece) > width and not piece.isspace() else [piece]:
                if used and not part.isspace() and used + cell_len(part) > width:
                    ends.append(place)
                    used = 0
                used += cell_len(part)
                place += len(part)
        lines += line.divide(ends)
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def unbroken(heading: str) -> int:
    """The width of the longest part of a heading, which is broken at blanks, and at marks where it is long."""
    parts = [part for word in heading.split() for part in (PIECES.findall(word) if len(word) > WORD else [word])]
    return max(map(cell_len, parts), default=0)
