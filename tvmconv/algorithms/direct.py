"""Direct convolution: the loop nest itself, without extra memory. It never refuses: groups and depthwise are its own.

A register tile holds MR output pixels that need the same taps, so that padding costs no test in the inner loop: taps
outside the input are left out of the loops' ranges. Those are pixels of the interior, where all taps fall inside,
counted on over the ends of its rows; pixels of one output row near the upper or lower edge; or of one column near the
left or right one. What is left are the corners. Each would be a tile of its own; instead MR of them make up a tile that
runs all taps, in which a pixel without a tap reads zeros, kept with the weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tvmconv.algorithms import depthwise
from tvmconv.algorithms.ir import BYTES, ON_STACK, Algorithm, Program, no_preparation, phase_function
from tvmconv.algorithms.matrix import MatrixView
from tvmconv.algorithms.packing import PackedLayout, pack_function
from tvmconv.algorithms.pixel_product import Taps, pixel_product, product_program
from tvmconv.algorithms.pixels import PixelView, swapped
from tvmconv.algorithms.register_tile import multiply_block, write_back_block
from tvmconv.algorithms.sweep import Sweep, tiles_of_block
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile


class Span:
    """Output positions of one axis: those before, inside and behind the range where every tap is inside the input."""

    def __init__(self, size: int, stride: int, pad: int, taps: int, dilation: int, extent: int) -> None:
        first = [o * stride - pad for o in range(size)]
        self.taps = [sum(0 <= f + t * dilation < extent for t in range(taps)) for f in first]  # inside, by position
        inside = [o for o, count in enumerate(self.taps) if count == taps]
        self.before, self.inside = (inside[0], len(inside)) if inside else (size, 0)
        self.edges = size - self.inside


def spans(shape: ConvShape) -> tuple[Span, Span]:
    """The rows and the columns of the output."""
    return (
        Span(shape.oh, shape.sh, shape.ph, shape.kh, shape.dh + 1, shape.ih),
        Span(shape.ow, shape.sw, shape.pw, shape.kw, shape.dw + 1, shape.iw),
    )


class Direct(Algorithm):
    """No workspace."""

    name = "direct"
    layout = "nhwc"
    summary = "the loop nest, groups and depthwise included; never refuses"

    def rejects(self, shape: ConvShape) -> str | None:
        return None

    def view(self, shape: ConvShape, tile: Tile) -> MatrixView:
        if shape.depthwise:
            return MatrixView(1, shape.m, depthwise.packed_layout(shape, tile))
        layout = PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, tile)
        zeros = max(layout.kc, tile.nr) if Tiles(shape, tile).corners else 0
        return MatrixView(1, shape.m, replace(layout, zeros=zeros))

    def work(self, shape: ConvShape, tile: Tile) -> int:
        return Tiles(shape, tile).taps

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        if shape.depthwise:
            return depthwise.program(shape, tile)
        view = self.view(shape, tile)
        tiles = Tiles(shape, tile)
        return Program(
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(),
                "run": loop_nest(shape, view.layout, tiles),
            },
            phases=(sweep(shape, view.layout, tiles).phase("run"),),
            images=1,
            packed_bytes=view.layout.elements * BYTES,
        )


class DirectNchw(Algorithm):
    """No workspace. Taps over the edge are masked lanes; depthwise has tiles of one output channel."""

    name = "direct"
    layout = "nchw"
    summary = Direct.summary

    def rejects(self, shape: ConvShape) -> str | None:
        return None

    def view(self, shape: ConvShape, tile: Tile) -> PixelView:
        return PixelView(shape, PackedLayout(shape.g, shape.ocg, shape.taps, shape.icg, swapped(tile)), tile)

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        return product_program(shape, view, pixel_product("run", view, Taps.ALL, steps=view.layout.k_blocks))


class Tiles:
    """The tiles of one image, in this order: interior, edge rows, edge columns, corners."""

    def __init__(self, shape: ConvShape, tile: Tile) -> None:
        self.rows, self.columns = spans(shape)
        self.interior = -(-self.rows.inside * self.columns.inside // tile.mr)
        self.of_row = -(-self.columns.inside // tile.mr)  # of one edge row, without its corners
        self.of_column = -(-self.rows.inside // tile.mr)
        self.corners = -(-self.rows.edges * self.columns.edges // tile.mr)
        self.edge_rows = self.interior + self.rows.edges * self.of_row  # tiles before the first edge column
        self.edges = self.edge_rows + self.columns.edges * self.of_column
        self.count = self.edges + self.corners
        self.taps = self._taps(shape)

    def _taps(self, shape: ConvShape) -> int:
        """Taps that are run, summed over all tiles: what there is to compute."""
        in_rows = sum(count for count in self.rows.taps if count < shape.kh) * shape.kw
        in_columns = sum(count for count in self.columns.taps if count < shape.kw) * shape.kh
        whole = (self.interior + self.corners) * shape.taps
        return whole + in_rows * self.of_row + in_columns * self.of_column


def sweep(shape: ConvShape, layout: PackedLayout, tiles: Tiles) -> Sweep:
    """The tiles of all images, as they are counted."""
    block = tiles_of_block(tiles.count, layout.tile)
    return Sweep(shape.mb * layout.groups, layout.panels, tiles.count, block, layout.k_blocks)


def loop_nest(shape: ConvShape, layout: PackedLayout, tiles: Tiles) -> Any:
    """The phase that computes units first … last−1 of the sweep."""
    from tvm.script import tirx as T

    MR, NR, KR = layout.tile.mr, layout.tile.nr, layout.tile.kr
    G, P, KB, TAPS, KC, _ = layout.weights_shape
    order = sweep(shape, layout, tiles)
    TB, BT = order.blocks, order.block
    rows, columns = tiles.rows, tiles.columns
    KH, KW, DH, DW = shape.kh, shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, IC, OW = shape.ih, shape.iw, shape.ic, shape.ow
    WIDTH, CE = max(columns.inside, 1), max(columns.edges, 1)
    OF_ROW, OF_COLUMN = max(tiles.of_row, 1), max(tiles.of_column, 1)
    # Where neighbouring taps' channels lie together in x, a row of taps is one run; else each tap is a run of its own.
    MERGED = DW == 1 and G == 1 and KB == 1
    OY, OX, FIRST, END, COUNT, R0, R1, S0, S1 = range(9)
    multiply = multiply_block(layout, steps=tiles.taps // TB * KC // KR)
    write_back = write_back_block(layout, place=lambda pixel, i: pixel[i])

    def behind(edge: Any, span: Span) -> Any:
        """The position of an edge row or column."""
        return edge + T.Select(edge < span.before, 0, span.inside)

    @T.inline
    def locate(at, t):
        # Where tile t lies: its first pixel, the first column of its region and the one behind it, its pixels. Then
        # the ranges of taps inside the input, which are those with 0 ≤ h + r·DH < IH, and likewise along the width.
        # Into memory (and from there into registers), since TVM's simplifier is exponential in nested selects.
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
                at[COUNT] = T.min(rows.edges * columns.edges - (t - tiles.edges) * MR, MR)
            if t < tiles.edges:
                at[R0] = T.min(T.max((DH - 1 + shape.ph - at[OY] * shape.sh) // DH, 0), KH)
                at[R1] = T.max(T.min((IH + DH - 1 + shape.ph - at[OY] * shape.sh) // DH, KH), at[R0])
                at[S0] = T.min(T.max((DW - 1 + shape.pw - at[OX] * shape.sw) // DW, 0), KW)
                at[S1] = T.max(T.min((IW + DW - 1 + shape.pw - at[OX] * shape.sw) // DW, KW), at[S0])
            else:
                at[R0] = 0
                at[R1] = KH
                at[S0] = 0
                at[S1] = KW

    @T.inline
    def pixels(at, t, oy, ox):
        # Row and column of each of the tile's pixels; behind the last one it is repeated.
        for i in range(MR):
            with T.sblock("pixels"):
                vi = T.axis.spatial(MR, i)
                T.reads(at[0:9])
                T.writes(oy[vi], ox[vi])
                last: T.let[T.int32] = T.max(vi - 1, 0)
                if t >= tiles.edges:
                    corner: T.let[T.int32] = (t - tiles.edges) * MR + T.min(vi, at[COUNT] - 1)
                    oy[vi] = behind(corner // CE, rows)
                    ox[vi] = behind(corner % CE, columns)
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

    @T.inline
    def run(x, operand, packed, y, workspace, address, image, first, last):
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        weights = T.decl_buffer(
            (layout.weight_elements,), "float32", data=packed, elem_offset=layout.weights_offset, align=4
        )
        Y = T.decl_buffer((shape.mb * shape.m, shape.oc), "float32", data=y, align=4)
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        oy = T.alloc_buffer((MR,), "int32", scope="local", annotations=ON_STACK)
        ox = T.alloc_buffer((MR,), "int32", scope="local", annotations=ON_STACK)
        pixel = T.alloc_buffer((MR,), "int32", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        run_row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        at = T.alloc_buffer((9,), "int32", scope="local", annotations=ON_STACK)
        ahead = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for part, kb in T.grid(order.touched(first, last), KB):
            segment: T.let[T.int32] = order.segment(part, first)
            before: T.let[T.int32] = order.before(segment, first)
            ahead[0] = ((segment // (P * TB) % G * P + segment % P) * KB + kb + 1) * layout.block
            for it in range(order.behind(segment, last) - before):
                with T.sblock("tile"):
                    u = T.axis.spatial(order.segments, segment)
                    vkb = T.axis.reduce(KB, kb)
                    vit = T.axis.spatial(BT, before + it)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u % P
                    g: T.let[T.int32] = u // (P * TB) % G
                    n: T.let[T.int32] = u // (P * TB * G)
                    t: T.let[T.int32] = u // P % TB * BT + vit
                    corners: T.let[T.bool] = t >= tiles.edges
                    channel: T.let[T.int32] = g * layout.channels + vkb * KC
                    panel: T.let[T.int32] = ((g * P + p) * KB + vkb) * TAPS
                    locate(at, t)
                    pixels(at, t, oy, ox)
                    s0: T.let[T.int32] = at[S0]
                    s1: T.let[T.int32] = at[S1]
                    for i in range(MR):
                        with T.sblock("rows"):
                            vi = T.axis.spatial(MR, i)
                            T.reads(oy[vi], ox[vi])
                            T.writes(row[vi], pixel[vi])
                            h: T.let[T.int64] = T.cast(n * IH + oy[vi] * shape.sh - shape.ph, "int64")
                            w: T.let[T.int32] = ox[vi] * shape.sw - shape.pw
                            row[vi] = x + ((h * IW + w) * IC + channel) * BYTES
                            pixel[vi] = n * shape.m + oy[vi] * OW + ox[vi]
                    for r, q in T.grid(at[R1] - at[R0], T.Select(corners, KW, 1) if MERGED else s1 - s0):
                        for i in range(MR):
                            with T.sblock("run_rows"):
                                vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                                T.reads(row[vi])
                                T.writes(run_row[vi])
                                tap: T.let[T.int32] = (at[R0] + vr) * DH * IW + (s0 + vq) * DW
                                run_row[vi] = row[vi] + T.cast(tap, "int64") * (IC * BYTES)
                        if corners:
                            for i in range(MR):
                                with T.sblock("zero_rows"):
                                    vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                                    T.reads(oy[vi], ox[vi])
                                    T.writes(run_row[vi])
                                    h: T.let[T.int32] = oy[vi] * shape.sh - shape.ph + vr * DH
                                    w: T.let[T.int32] = ox[vi] * shape.sw - shape.pw + vq * DW
                                    if T.Or(T.Or(h < 0, h >= IH), T.Or(w < 0, w >= IW)):
                                        run_row[vi] = operand + layout.zeros_offset * BYTES
                        start: T.let[T.int64] = T.cast((panel + (at[R0] + r) * KW + s0 + q) * KC, "int64")
                        length: T.let[T.int32] = (
                            T.Select(corners, IC // KR, (s1 - s0) * (IC // KR)) if MERGED else KC // KR
                        )
                        multiply(acc, run_row, weights, ahead, start, 0, r, q, length)
                    write_back(acc, Y, bias, bounds, g, p, pixel, at[COUNT], vkb)

    return phase_function("run", run)
