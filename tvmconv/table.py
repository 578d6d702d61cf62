"""Tables that fit the terminal without breaking a word: names, paths and numbers can always be copied.

A table that is too wide is shown as several ones below each other, each of which begins with the first column again;
long texts get lines of their own below their row. A word that is longer than the terminal is left to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

_GAP, _INDENT = 3, 2  # spaces between columns, and before what belongs to the line above
_READABLE = 24  # the least width to which a text of several words is folded


@dataclass
class Paragraph:
    """Text that is folded between words alone; `hanging` spaces begin every line but the first."""

    text: Text
    hanging: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        indent = " " * self.hanging
        for line in self.text.split(allow_blank=True):
            first, *others = _folded(line, options.max_width, console) or [Text()]
            rest = _folded(Text(" ").join(others), options.max_width - self.hanging, console) if others else []
            yield from (_whole(part) for part in (first, *(Text(indent).append_text(part) for part in rest)))


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
        """Of the longest line."""
        return max(line.cell_len for cell in (Text(self.title), *self.cells) for line in cell.split(allow_blank=True))

    @property
    def least(self) -> int:
        """To which it can be folded: numbers are not, texts between words."""
        if self.right:
            return self.width
        words = [word for cell in (self.title, *map(str, self.cells)) for word in cell.split()]
        return max([min(self.width, _READABLE), *(Text(word).cell_len for word in words)])


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
            yield _Band(self._columns, widths)
            return
        count = self._keys(width // 2)
        keys, others = self._columns[:count], self._columns[count:]
        long = [column for column in others if column.width > width // 2]
        short = [column for column in others if column.width <= width // 2]
        key_width = _together([key.width for key in keys])
        beside = key_width <= width // 2
        groups = _groups(short, width - (key_width + _GAP if beside else _INDENT)) or [[]]
        for group in groups:
            columns = [*keys, *group] if beside else group
            widths = [column.width for column in columns]
            yield _Band(columns, widths, above=() if beside else keys, below=long if group is groups[-1] else ())

    def _keys(self, width: int) -> int:
        """How many of the first columns tell all rows apart: 1 if these are wider."""
        for count in range(1, len(self._columns)):
            keys = self._columns[:count]
            if _together([key.width for key in keys]) > width:
                break
            if len({*zip(*(map(str, key.cells) for key in keys), strict=True)}) == self._height:
                return count
        return 1


@dataclass
class _Band:
    """Columns side by side, each so wide; `above` and `below` each row are those that have lines of their own."""

    columns: Sequence[_Column]
    widths: Sequence[int]
    above: Sequence[_Column] = ()
    below: Sequence[_Column] = ()

    @property
    def width(self) -> int:
        beside = self._indent + _together(self.widths)
        return max([beside, *(column.width for column in self.above)])

    @property
    def _indent(self) -> int:
        return _INDENT if self.above else 0

    def header(self, console: Console) -> Iterator[RenderableType]:
        yield from (Text(column.title, "bold") for column in self.above)
        yield from self._beside([Text(column.title, "bold") for column in self.columns], console)

    def row(self, row: int, console: Console) -> Iterator[RenderableType]:
        for column in self.above:
            yield from map(_whole, column.cells[row].split())
        yield from self._beside([column.cells[row] for column in self.columns], console)
        for column in self.below:
            if column.cells[row]:
                title = f"{column.title}: " if column.title else ""
                text = Text(" " * _INDENT + title).append_text(column.cells[row])
                yield Paragraph(text, hanging=2 * _INDENT)

    def _beside(self, cells: Sequence[Text], console: Console) -> Iterator[Text]:
        blocks = [_folded(cell, width, console) for cell, width in zip(cells, self.widths, strict=True)]
        for parts in zip_longest(*blocks, fillvalue=Text()):
            line = Text(" " * self._indent)
            for column, width, part in zip(self.columns, self.widths, parts, strict=True):
                padding = " " * (width - part.cell_len)
                line.append_text(Text(padding).append_text(part) if column.right else part.copy().append(padding))
                line.append(" " * _GAP)
            line.rstrip()
            yield _whole(line)


def _side_by_side(columns: Sequence[_Column], width: int) -> list[int] | None:
    """How wide each column is if all stand side by side, texts being folded where that is needed; None if none can."""
    key, *others = columns
    widths, least = [column.width for column in columns], [key.width, *(column.least for column in others)]
    if _together(least) > width:
        return None
    while (excess := _together(widths) - width) > 0:
        widest = max((index for index in range(len(columns)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] = max(least[widest], widths[widest] - excess)
    return widths


def _groups(columns: Iterable[_Column], width: int) -> list[list[_Column]]:
    """The columns in groups that fit the width side by side."""
    groups: list[list[_Column]] = []
    for column in columns:
        if groups and _together([other.width for other in (*groups[-1], column)]) <= width:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _together(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1) if widths else 0


def _folded(text: Text, width: int, console: Console) -> list[Text]:
    """The lines of a text, folded between words."""
    text = text.copy()
    text.overflow = "ignore"  # given to wrap instead, it would fold nothing
    lines = [*text.wrap(console, max(1, width))]
    for line in lines:
        line.rstrip()
    return lines


def _whole(line: Text) -> Text:
    """A line that is not folded again."""
    line.no_wrap, line.overflow = True, "ignore"
    return line
