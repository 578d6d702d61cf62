"""Lays tables out for the width of the terminal without breaking words, so that they can be copied.

A table that is too wide is shown as several ones below each other, each of which begins with the first column again;
long texts get lines of their own below their row. A word that is longer than the terminal is left to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

_GAP, _INDENT = 3, 2  # spaces between columns, and before what belongs to the line above
_READABLE = 24  # the least width to which a text of several words is folded


@dataclass
class Paragraph:
    """Text behind a head, folded between words; `hanging` spaces begin every line but the first, fewer where a word
    needs the room. Text whose no_wrap is set is one word."""

    text: Text
    head: str = ""
    hanging: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width, head = options.max_width, Text(self.head)
        indent = Text(" " * max(0, min(self.hanging, width - _least([self.text]))))
        for line in self.text.split(allow_blank=True):
            line.no_wrap = self.text.no_wrap
            first, *others = _folded(line, width - head.cell_len, console)
            if self.head and head.cell_len + first.cell_len > width:
                yield _whole(head)
            else:
                yield _whole(head + first)
                line = Text(" ").join(others)
            if line:
                yield from (_whole(indent + part) for part in _folded(line, width - indent.cell_len, console))
            head = indent


def foldable(text: RenderableType) -> RenderableType:
    """The same, with every text in it a paragraph."""
    if isinstance(text, Group):
        return Group(*map(foldable, text.renderables))
    if isinstance(text, str):
        return Paragraph(Text(text))
    return Paragraph(text) if isinstance(text, Text) else text


@dataclass
class _Column:
    title: str
    right: bool
    cells: list[Text] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Width of the longest line."""
        texts = (self.title, *(cell.plain for cell in self.cells))
        return max(cell_len(line) for text in texts for line in text.split("\n"))

    @property
    def least(self) -> int:
        """To which it can be folded: numbers are not, texts between words."""
        if self.right:
            return self.width
        return max(min(self.width, _READABLE), _least([Text(self.title), *self.cells]))


class Table:
    """Columns and rows. The first column says what the row is about, and is never folded, nor are numbers, which stand
    on the right."""

    def __init__(self, *titles: str) -> None:
        self._columns = [_Column(title, right=False) for title in titles]
        self._sections: set[int] = set()

    def add_column(self, title: str, justify: str = "left") -> None:
        self._columns.append(_Column(title, right=justify == "right"))

    def add_row(self, *cells: object) -> None:
        """A cell is shown as it is if it is a Text, else as str gives it; None leaves it empty."""
        for column, cell in zip(self._columns, cells, strict=True):
            column.cells.append(cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)))

    def add_section(self) -> None:
        """A line between the last row and the next."""
        self._sections.add(self._height)

    @property
    def _height(self) -> int:
        return len(self._columns[0].cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for band in self._bands(options.max_width):
            rule = Text("─" * min(band.width, options.max_width))
            yield Text()
            yield from band.header(console)
            yield rule
            for row in range(self._height):
                if row in self._sections:
                    yield rule
                yield from band.row(row, console)
        yield Text()

    def _bands(self, width: int) -> Iterator[_Band]:
        """The tables that this one is shown as; a single one if it fits the width."""
        if widths := _side_by_side(self._columns, width):
            yield _Band([_Line(self._columns, widths)])
            return
        half = width // 2
        count = self._keys(half)
        first, others = self._columns[: count or 1], self._columns[count or 1 :]
        long = [column for column in others if column.width > half]
        short = [column for column in others if column.width <= half]
        if count:
            groups = _groups(short, width - _together(first) - _GAP) or [[]]
            bands = [_Band([_Line([*first, *group])]) for group in groups]
        else:
            groups = _groups(short, width - 2 * _INDENT)
            if groups and self._is_told_by(first):
                parts = [[_Line(group, indent=_INDENT)] for group in groups]
            else:
                parts = [[_Line(group, indent=_INDENT * (2 if at else 1)) for at, group in enumerate(groups)]]
            bands = [_Band(part, first[0]) for part in parts]
        yield from bands[:-1]
        yield replace(bands[-1], below=long)

    def _keys(self, width: int) -> int:
        """Number of leading columns that identify rows; 0 if these are too wide."""
        counts = range(1, len(self._columns))
        fitting = (count for count in counts if _together(self._columns[:count]) <= width)
        return next((count for count in fitting if self._is_told_by(self._columns[:count])), 0)

    def _is_told_by(self, keys: Sequence[_Column]) -> bool:
        """Whether no two rows have the same cells in these columns."""
        return len({*zip(*(map(str, key.cells) for key in keys), strict=True)}) == self._height


@dataclass
class _Line:
    """Columns side by side, each as wide as it needs to be if nothing else is said, behind an indent."""

    columns: Sequence[_Column]
    widths: Sequence[int] = ()
    indent: int = 0

    def __post_init__(self) -> None:
        self.widths = self.widths or [column.width for column in self.columns]

    @property
    def width(self) -> int:
        return self.indent + sum(self.widths) + _GAP * (len(self.widths) - 1)

    def cells(self, cells: Sequence[Text], console: Console) -> Iterator[Text]:
        blocks = [_folded(cell, width, console) for cell, width in zip(cells, self.widths, strict=True)]
        for parts in zip_longest(*blocks, fillvalue=Text()):
            line = Text(" " * self.indent)
            for column, width, part in zip(self.columns, self.widths, parts, strict=True):
                padding = Text(" " * (width - part.cell_len))
                line = line.append_text(padding + part if column.right else part + padding).append(" " * _GAP)
            line.rstrip()
            yield _whole(line)


@dataclass
class _Band:
    """Lines of columns, one below the other for each row. `heading` stands alone before the rows that have it in
    common; `below` each row are columns that stand alone, in lines that say what they are."""

    lines: Sequence[_Line]
    heading: _Column | None = None
    below: Sequence[_Column] = ()

    @property
    def width(self) -> int:
        return max([*(line.width for line in self.lines), self.heading.width if self.heading else 0])

    def header(self, console: Console) -> Iterator[RenderableType]:
        if self.heading:
            yield Text(self.heading.title, "bold")
        for line in self.lines:
            yield from line.cells([Text(column.title, "bold") for column in line.columns], console)

    def row(self, row: int, console: Console) -> Iterator[RenderableType]:
        if self.heading and (not row or self.heading.cells[row] != self.heading.cells[row - 1]):
            yield from map(_whole, self.heading.cells[row].split())
        for line in self.lines:
            yield from line.cells([column.cells[row] for column in line.columns], console)
        for column in self.below:
            if column.cells[row]:
                title = f"{column.title}: " if column.title else ""
                yield Paragraph(column.cells[row], head=" " * _INDENT + title, hanging=2 * _INDENT)


def _side_by_side(columns: Sequence[_Column], width: int) -> list[int] | None:
    """Widths of the columns if all stand side by side, with texts folded where needed; None if that does not fit."""
    key, *others = columns
    widths, least = [column.width for column in columns], [key.width, *(column.least for column in others)]
    room = width - _GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    while (excess := sum(widths) - room) > 0:
        widest = max((index for index in range(len(columns)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] = max(least[widest], widths[widest] - excess)
    return widths


def _groups(columns: Iterable[_Column], width: int) -> list[list[_Column]]:
    """The columns in groups that fit the width side by side."""
    groups: list[list[_Column]] = []
    for column in columns:
        if groups and _together([*groups[-1], column]) <= width:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _together(columns: Sequence[_Column]) -> int:
    """The width of columns side by side."""
    return _Line(columns).width


def _folded(text: Text, width: int, console: Console) -> list[Text]:
    """The lines of a text, folded between words."""
    if "\n" not in text.plain and text.cell_len <= width:
        return [text]  # most cells, and this is faster
    text = text.copy()
    text.overflow = "ignore"  # given to wrap instead, it would fold nothing
    lines = [*text.wrap(console, max(1, width))] or [text]
    for line in lines:
        line.rstrip()
    return lines


def _least(texts: Iterable[Text]) -> int:
    """The width of the longest word."""
    words = ([text.plain] if text.no_wrap else text.plain.split() for text in texts)
    return max((cell_len(word) for own in words for word in own), default=0)


def _whole(line: Text) -> Text:
    """A line that is not folded again."""
    line.no_wrap, line.overflow = True, "ignore"
    return line
