"""Which output pixels need the same taps, and how they make up the tiles of a direct convolution.

Interior pixels, all of whose taps fall inside the input, are counted on over the ends of their rows; next to it lie the
edge rows and the edge columns, without their corners. A tile holds MR pixels of one of these regions. What fills no
tile (the corners, and the remainder of a region where that costs less than a tile of its own) makes up mixed tiles,
which run all taps; a pixel without a tap reads zeros there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import Any

from tvmconv.workload.shape import ConvShape


@dataclass(frozen=True)
class Span:
    """Output positions of one axis: those before, inside and behind the range where every tap is inside the input.

    edge_taps: taps inside the input, summed over all positions before and behind.
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
    """The first position that a tap takes to the input or behind, and the first one that it takes behind it."""
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
    """The tiles of one image, in this order: interior, edge rows, edge columns, mixed ones.

    of_row and of_column count the tiles of one edge row and one edge column; the left_ numbers are pixels left to the
    mixed tiles by the interior, by one edge row, by one edge column.
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
        """With the least to compute."""
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
        """Tiles before the first mixed one."""
        return self.edge_rows + self.columns.edges * self.of_column

    @property
    def mixed_pixels(self) -> tuple[int, int, int, int]:
        """Pixels of mixed tiles: corners, with the interior's, with the edge rows', with the edge columns'."""
        corners = self.rows.edges * self.columns.edges
        interior = corners + self.left_interior
        in_rows = interior + self.rows.edges * self.left_row
        return corners, interior, in_rows, in_rows + self.columns.edges * self.left_column

    @property
    def mixed(self) -> int:
        return -(-self.mixed_pixels[-1] // self.mr)

    @property
    def mixed_height(self) -> int:
        """Pixels of a mixed tile: as few as make up so many of them."""
        return -(-self.mixed_pixels[-1] // self.mixed) if self.mixed else self.mr

    @property
    def count(self) -> int:
        return self.edges + self.mixed

    def taps(self, shape: ConvShape) -> int:
        """Taps that are run, summed over all tiles."""
        return self._of_regions(shape) + self.mixed * shape.taps

    def work(self, shape: ConvShape) -> float:
        """What there is to compute, in taps of whole tiles."""
        return self._of_regions(shape) + self.mixed * shape.taps * self.mixed_height / self.mr

    def _of_regions(self, shape: ConvShape) -> int:
        in_rows, in_columns = self.rows.edge_taps * shape.kw, self.columns.edge_taps * shape.kh
        return self.interior * shape.taps + in_rows * self.of_row + in_columns * self.of_column


# What locate finds out about a tile: row and column of its first pixel, the first column of its region and the one
# behind it, its pixels, the ranges of taps inside the input.
OY, OX, FIRST, END, COUNT, R0, R1, S0, S1 = FACTS = range(9)


def locate_blocks(shape: ConvShape, tiles: Tiles) -> tuple[Any, Any]:
    """Two macros: where tile t lies, into at[FACTS]; then row and column of each of its pixels, into oy[MR] and ox[MR].

    Behind a tile's last pixel it is repeated.
    """
    from tvm.script import tirx as T

    MR, KH, KW, DH, DW = tiles.mr, shape.kh, shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, rows, columns = shape.ih, shape.iw, tiles.rows, tiles.columns
    WIDTH, CE = max(columns.inside, 1), max(columns.edges, 1)
    OF_ROW, OF_COLUMN = max(tiles.of_row, 1), max(tiles.of_column, 1)
    LEFT_ROW, LEFT_COLUMN = max(tiles.left_row, 1), max(tiles.left_column, 1)
    CORNERS, INTERIOR, IN_ROWS, _ = tiles.mixed_pixels
    MIXED = tiles.mixed_height

    def behind(edge: Any, span: Span) -> Any:
        """The position of an edge row or column."""
        return edge + T.Select(edge < span.before, 0, span.inside)

    @T.inline
    def facts(at, t):
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
                at[OY] = behind((t - tiles.interior) // OF_ROW, rows)
                at[OX] = columns.before + (t - tiles.interior) % OF_ROW * MR
                at[FIRST] = columns.before
                at[END] = columns.before + columns.inside
                at[COUNT] = T.min(columns.inside - (t - tiles.interior) % OF_ROW * MR, MR)
            elif t < tiles.edges:
                at[OY] = rows.before + (t - tiles.edge_rows) % OF_COLUMN * MR
                at[OX] = behind((t - tiles.edge_rows) // OF_COLUMN, columns)
                at[FIRST] = at[OX]
                at[END] = at[OX] + 1
                at[COUNT] = T.min(rows.inside - (t - tiles.edge_rows) % OF_COLUMN * MR, MR)
            else:
                at[COUNT] = T.min(tiles.mixed_pixels[-1] - (t - tiles.edges) * MIXED, MIXED)
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
    def pixels(at, t, oy, ox):
        for i in range(MR):
            with T.sblock("pixels"):
                vi = T.axis.spatial(MR, i)
                T.reads(at[0:9])
                T.writes(oy[vi], ox[vi])
                last: T.let[T.int32] = T.max(vi - 1, 0)
                if t >= tiles.edges:
                    mixed: T.let[T.int32] = (t - tiles.edges) * MIXED + T.min(vi, at[COUNT] - 1)
                    if mixed < CORNERS:
                        oy[vi] = behind(T.truncdiv(mixed, CE), rows)
                        ox[vi] = behind(T.truncmod(mixed, CE), columns)
                    elif mixed < INTERIOR:
                        inner: T.let[T.int32] = tiles.interior * MR + mixed - CORNERS
                        oy[vi] = rows.before + T.truncdiv(inner, WIDTH)
                        ox[vi] = columns.before + T.truncmod(inner, WIDTH)
                    elif mixed < IN_ROWS:
                        oy[vi] = behind(T.truncdiv(mixed - INTERIOR, LEFT_ROW), rows)
                        ox[vi] = columns.before + tiles.of_row * MR + T.truncmod(mixed - INTERIOR, LEFT_ROW)
                    else:
                        oy[vi] = rows.before + tiles.of_column * MR + T.truncmod(mixed - IN_ROWS, LEFT_COLUMN)
                        ox[vi] = behind(T.truncdiv(mixed - IN_ROWS, LEFT_COLUMN), columns)
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
