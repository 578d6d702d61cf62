"""The partition of the output of a direct convolution into tiles of pixels that need the same taps.

The interior holds the pixels all of whose taps fall inside the input; its tiles run on over the ends of rows. Around it
lie the edge rows and the edge columns, without their corners. A tile holds MR pixels of one of these regions. Corners,
and the remainder of a region where that costs less than another tile, go into remainder tiles. These run all taps; a
pixel reads zeros for a tap outside the input.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import Any

from tvmconv.algorithms.microkernel.program import ON_STACK
from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Span:
    """The output positions of one axis.

    before: positions before the range in which every tap falls inside the input; inside: those in it; edges: all
    others, before and after it; edge_taps: taps inside the input, summed over the edges.
    """

    before: int
    inside: int
    edges: int
    edge_taps: int

    @classmethod
    def of(cls, size: int, stride: int, pad: int, taps: int, dilation: int, extent: int) -> Span:
        reached = [_reaching(size, stride, pad - tap * dilation, extent) for tap in range(taps)]
        first, end = max(start for start, _ in reached), min(end for _, end in reached)
        inside = max(0, end - first)
        everywhere = sum(max(0, end - start) for start, end in reached)
        return cls(first if inside else size, inside, size - inside, everywhere - inside * taps)


def _reaching(size: int, stride: int, pad: int, extent: int) -> tuple[int, int]:
    """The first position at which a tap reaches the input, and the first at which it is past the end."""
    return max(0, -(-pad // stride)), min(size, (extent - 1 + pad) // stride + 1)


@functools.lru_cache(maxsize=64)  # a tile is chosen among dozens
def spans(shape: ConvShape) -> tuple[Span, Span]:
    """The rows and the columns of the output."""
    return (
        Span.of(shape.oh, shape.sh, shape.ph, shape.kh, shape.dh + 1, shape.ih),
        Span.of(shape.ow, shape.sw, shape.pw, shape.kw, shape.dw + 1, shape.iw),
    )


@dataclass(frozen=True)
class Tiles:
    """The tiles of one image, in this order: interior, edge rows, edge columns, remainder tiles.

    interior: tiles of the interior; of_row, of_column: of one edge row, of one edge column; left_interior, left_row,
    left_column: pixels that the interior, one edge row and one edge column leave to the remainder tiles.
    """

    rows: Span
    columns: Span
    mr: int
    interior: int
    of_row: int
    of_column: int
    left_interior: int
    left_row: int
    left_column: int

    @classmethod
    def of(cls, shape: ConvShape, mr: int) -> Tiles:
        """The partition with the least work, of all choices of which regions leave their remainders."""
        rows, columns = spans(shape)
        inside = (rows.inside * columns.inside, columns.inside, rows.inside)
        choices = []
        for mixed in product((False, True), repeat=3):
            whole = [size // mr if mix else -(-size // mr) for size, mix in zip(inside, mixed, strict=True)]
            left = [size % mr if mix else 0 for size, mix in zip(inside, mixed, strict=True)]
            choices.append(cls(rows, columns, mr, *whole, *left))
        return min(choices, key=lambda tiles: tiles.work(shape))

    @property
    def edge_rows(self) -> int:
        """Tiles before the first edge column."""
        return self.interior + self.rows.edges * self.of_row

    @property
    def edges(self) -> int:
        """Tiles before the first remainder tile."""
        return self.edge_rows + self.columns.edges * self.of_column

    @property
    def remainder_pixels(self) -> tuple[int, int, int, int]:
        """Pixels of remainder tiles, cumulated: corners, interior, edge rows, edge columns."""
        corners = self.rows.edges * self.columns.edges
        interior = corners + self.left_interior
        in_rows = interior + self.rows.edges * self.left_row
        return corners, interior, in_rows, in_rows + self.columns.edges * self.left_column

    @property
    def remainders(self) -> int:
        return -(-self.remainder_pixels[-1] // self.mr)

    @property
    def remainder_height(self) -> int:
        """Height of a remainder tile, minimised without adding tiles."""
        return -(-self.remainder_pixels[-1] // self.remainders) if self.remainders else self.mr

    @property
    def count(self) -> int:
        return self.edges + self.remainders

    def taps(self, shape: ConvShape) -> int:
        """Taps, summed over all tiles."""
        return self._of_regions(shape) + self.remainders * shape.taps

    def work(self, shape: ConvShape) -> float:
        """Work, in taps of whole tiles."""
        return self._of_regions(shape) + self.remainders * shape.taps * self.remainder_height / self.mr

    def _of_regions(self, shape: ConvShape) -> int:
        in_rows, in_columns = self.rows.edge_taps * shape.kw, self.columns.edge_taps * shape.kh
        return self.interior * shape.taps + in_rows * self.of_row + in_columns * self.of_column


# Facts about a tile, by their index in a buffer: row and column of its first pixel; the columns FIRST … END−1 of its
# region; its number of pixels; the rows R0 … R1−1 and columns S0 … S1−1 of taps inside the input.
OY, OX, FIRST, END, COUNT, R0, R1, S0, S1 = FACTS = range(9)


@dataclass(frozen=True)
class Located:
    """The place of a tile, as TIR buffers on the stack: its facts, and row and column of each of its MR pixels."""

    facts: Any
    oy: Any
    ox: Any


def allocated_location(mr: int) -> Any:
    """Allocates the buffers for one tile; Located, as a value of the parser."""
    from tvm.script import tirx as T

    oy, ox, facts = (
        T.alloc_buffer((size,), "int32", scope="local", annotations=ON_STACK) for size in (mr, mr, len(FACTS))
    )
    return T.meta_var(Located(facts, oy, ox))


def locate_blocks(shape: ConvShape, tiles: Tiles) -> tuple[Any, Any]:
    """Two macros for tile t: its facts; then row and column of each of its pixels, the last one repeated."""
    from tvm.script import tirx as T

    MR, KH, KW, DH, DW = tiles.mr, shape.kh, shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, rows, columns = shape.ih, shape.iw, tiles.rows, tiles.columns
    WIDTH, CE = max(columns.inside, 1), max(columns.edges, 1)
    OF_ROW, OF_COLUMN = max(tiles.of_row, 1), max(tiles.of_column, 1)
    LEFT_ROW, LEFT_COLUMN = max(tiles.left_row, 1), max(tiles.left_column, 1)
    CORNERS, INTERIOR, IN_ROWS, _ = tiles.remainder_pixels
    HEIGHT = tiles.remainder_height

    def position(edge: Any, span: Span) -> Any:
        """The position of an edge row or column."""
        return edge + T.Select(edge < span.before, 0, span.inside)

    @T.inline
    def facts(place, t):
        at = T.meta_var(place.facts)
        # Taps inside the input are those with 0 ≤ h + r·DH < IH, and likewise along the width. Into memory (and from
        # there into registers), since TVM's simplifier is exponential in nested selects.
        with T.sblock("locate"):
            T.reads()
            T.writes(at[0:9])
            if t < tiles.interior:
                at[OY] = rows.before + t * MR // WIDTH
                at[OX] = columns.before + t * MR % WIDTH
                at[FIRST] = columns.before
                at[END] = columns.before + columns.inside
                at[COUNT] = T.min(rows.inside * columns.inside - t * MR, MR)
            elif t < tiles.edge_rows:
                at[OY] = position((t - tiles.interior) // OF_ROW, rows)
                at[OX] = columns.before + (t - tiles.interior) % OF_ROW * MR
                at[FIRST] = columns.before
                at[END] = columns.before + columns.inside
                at[COUNT] = T.min(columns.inside - (t - tiles.interior) % OF_ROW * MR, MR)
            elif t < tiles.edges:
                at[OY] = rows.before + (t - tiles.edge_rows) % OF_COLUMN * MR
                at[OX] = position((t - tiles.edge_rows) // OF_COLUMN, columns)
                at[FIRST] = at[OX]
                at[END] = at[OX] + 1
                at[COUNT] = T.min(rows.inside - (t - tiles.edge_rows) % OF_COLUMN * MR, MR)
            else:
                at[COUNT] = T.min(tiles.remainder_pixels[-1] - (t - tiles.edges) * HEIGHT, HEIGHT)
            if T.And(t >= tiles.interior, t < tiles.edges):
                at[R0] = T.min(T.max((DH - 1 + shape.ph - at[OY] * shape.sh) // DH, 0), KH)
                at[R1] = T.max(T.min((IH + DH - 1 + shape.ph - at[OY] * shape.sh) // DH, KH), at[R0])
                at[S0] = T.min(T.max((DW - 1 + shape.pw - at[OX] * shape.sw) // DW, 0), KW)
                at[S1] = T.max(T.min((IW + DW - 1 + shape.pw - at[OX] * shape.sw) // DW, KW), at[S0])
                if at[S1] == at[S0]:  # nothing but padding: no run of taps, not even an empty one
                    at[R1] = at[R0]
            else:
                at[R0] = 0
                at[R1] = KH
                at[S0] = 0
                at[S1] = KW

    @T.inline
    def pixels(place, t):
        at = T.meta_var(place.facts)
        oy = T.meta_var(place.oy)
        ox = T.meta_var(place.ox)
        for i in range(MR):
            with T.sblock("pixels"):
                vi = T.axis.spatial(MR, i)
                T.reads(at[0:9])
                T.writes(oy[vi], ox[vi])
                last: T.let[T.int32] = T.max(vi - 1, 0)
                if t >= tiles.edges:
                    number: T.let[T.int32] = (t - tiles.edges) * HEIGHT + T.min(vi, at[COUNT] - 1)
                    if number < CORNERS:
                        oy[vi] = position(T.truncdiv(number, CE), rows)
                        ox[vi] = position(T.truncmod(number, CE), columns)
                    elif number < INTERIOR:
                        inner: T.let[T.int32] = tiles.interior * MR + number - CORNERS
                        oy[vi] = rows.before + T.truncdiv(inner, WIDTH)
                        ox[vi] = columns.before + T.truncmod(inner, WIDTH)
                    elif number < IN_ROWS:
                        oy[vi] = position(T.truncdiv(number - INTERIOR, LEFT_ROW), rows)
                        ox[vi] = columns.before + tiles.of_row * MR + T.truncmod(number - INTERIOR, LEFT_ROW)
                    else:
                        oy[vi] = rows.before + tiles.of_column * MR + T.truncmod(number - IN_ROWS, LEFT_COLUMN)
                        ox[vi] = position(T.truncdiv(number - IN_ROWS, LEFT_COLUMN), columns)
                elif vi == 0:
                    oy[vi] = at[OY]
                    ox[vi] = at[OX]
                elif vi >= at[COUNT]:
                    oy[vi] = oy[last]
                    ox[vi] = ox[last]
                elif ox[last] + 1 < at[END]:
                    oy[vi] = oy[last]
                    ox[vi] = ox[last] + 1
                else:
                    oy[vi] = oy[last] + 1
                    ox[vi] = at[FIRST]

    return facts, pixels
