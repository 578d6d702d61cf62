"""Direct convolution: the loop nest itself, without extra memory. It never refuses: groups and depthwise are its own.

A register tile holds MR output pixels that need the same taps, so that padding costs no test in the inner loop: taps
outside the input are left out of the loops' ranges. Those are MR neighbours of one output row, where no tap falls over
the left or right edge; MR neighbours of one column near these edges, where none falls over the upper or lower one; and
single pixels in the corners.
"""

from __future__ import annotations

from typing import Any

from tvmconv.algorithms.ir import BYTES, ON_STACK, Algorithm, Phase, Program, no_preparation, phase_function
from tvmconv.algorithms.matrix import MatrixView
from tvmconv.algorithms.packing import PackedLayout, pack_function
from tvmconv.algorithms.register_tile import multiply_block, write_back_block
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
        """A tile covers pixels of one row (or column), so its height is chosen for these; depthwise is one group whose
        output channels are all channels."""
        groups, oc = (1, shape.oc) if shape.depthwise else (shape.g, shape.ocg)
        pixels = spans(shape)[1].inside or 1
        return MatrixView(1, pixels, PackedLayout(groups, oc, shape.taps, shape.icg, tile, overlap=shape.depthwise))

    def work(self, shape: ConvShape, tile: Tile) -> int:
        return Tiles(shape, tile).taps

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        tiles = Tiles(shape, tile)
        return Program(
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(),
                "run": loop_nest(shape, view.layout, tiles),
            },
            phases=(Phase("run", shape.mb * view.layout.groups * view.layout.panels * tiles.blocks),),
            images=1,
            packed_bytes=view.layout.elements * BYTES,
        )


class Tiles:
    """The tiles of one image, by strips: a strip is an output row, or a column near an edge.

    A block of strips is swept with one block of weights before the next one.
    """

    def __init__(self, shape: ConvShape, tile: Tile) -> None:
        self.rows, self.columns = spans(shape)
        self.row_strips = shape.oh if self.columns.inside else 0
        self.row_tiles = -(-self.columns.inside // tile.mr)  # of one output row
        self.column_tiles = -(-self.rows.inside // tile.mr)  # of one edge column, without its corners
        self.edge_tiles = self.column_tiles + self.rows.edges  # with its corners
        self.strips = self.row_strips + self.columns.edges
        self.block = min(self.strips, -(-tile.mc // shape.ow)) if tile.mc > 0 else self.strips
        self.blocks = -(-self.strips // self.block)
        self.taps = self._taps(shape)

    def _taps(self, shape: ConvShape) -> int:
        """Taps inside the input, summed over all tiles: what there is to compute."""
        edge_rows = sum(count for count in self.rows.taps if count < shape.kh) + shape.kh * self.column_tiles
        edge_columns = sum(count for count in self.columns.taps if count < shape.kw)
        return sum(self.rows.taps) * shape.kw * self.row_tiles + edge_rows * edge_columns


def loop_nest(shape: ConvShape, layout: PackedLayout, tiles: Tiles) -> Any:
    """The phase that computes units first … last−1: a panel on a block of strips, panels running fastest."""
    from tvm.script import tirx as T

    MR, NR, KR = layout.tile.mr, layout.tile.nr, layout.tile.kr
    G, P, KB, TAPS, KC, _ = layout.weights_shape
    SB, BS = tiles.blocks, tiles.block
    rows, columns = tiles.rows, tiles.columns
    KH, KW, DH, DW = shape.kh, shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, IC, OW = shape.ih, shape.iw, shape.ic, shape.ow
    DEPTHWISE = shape.depthwise
    # Where neighbouring taps' channels lie together in x, a row of taps is one run; else each tap is a run of its own.
    MERGED = DW == 1 and G == 1 and KB == 1 and not DEPTHWISE
    OY, OX, COUNT, R0, R1, S0, S1 = range(7)
    multiply = multiply_block(layout, steps=tiles.taps // SB * KC // KR, depthwise=DEPTHWISE)
    write_back = write_back_block(layout)

    @T.inline
    def place(at, strip, it):
        # Where tile `it` of a strip lies: first output pixel, pixels, and ranges of taps inside the input, which are
        # those with 0 ≤ h + r·DH < IH, and likewise along the width. Into memory (and from there into registers),
        # since TVM's simplifier is exponential in nested selects that it can look into.
        corner: T.let[T.int32] = it - tiles.column_tiles
        edge: T.let[T.int32] = strip - tiles.row_strips
        with T.sblock("place"):
            T.reads()
            T.writes(at[0:7])
            if strip < tiles.row_strips:
                at[OY] = strip
                at[OX] = columns.before + it * MR
                at[COUNT] = T.min(columns.inside - it * MR, MR)
            else:
                at[OX] = edge + T.Select(edge < columns.before, 0, columns.inside)
                if corner < 0:
                    at[OY] = rows.before + it * MR
                    at[COUNT] = T.min(rows.inside - it * MR, MR)
                else:
                    at[OY] = corner + T.Select(corner < rows.before, 0, rows.inside)
                    at[COUNT] = 1
            at[R0] = T.min(T.max((DH - 1 + shape.ph - at[OY] * shape.sh) // DH, 0), KH)
            at[R1] = T.max(T.min((IH + DH - 1 + shape.ph - at[OY] * shape.sh) // DH, KH), at[R0])
            at[S0] = T.min(T.max((DW - 1 + shape.pw - at[OX] * shape.sw) // DW, 0), KW)
            at[S1] = T.max(T.min((IW + DW - 1 + shape.pw - at[OX] * shape.sw) // DW, KW), at[S0])

    @T.inline
    def run(x, packed, y, workspace, address, image, first, last):
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        weights = T.decl_buffer(
            (layout.weight_elements,), "float32", data=packed, elem_offset=layout.weights_offset, align=4
        )
        Y = T.decl_buffer((shape.mb * shape.m, shape.oc), "float32", data=y, align=4)
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        run_row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        at = T.alloc_buffer((7,), "int32", scope="local", annotations=ON_STACK)
        ahead = T.alloc_buffer((1,), "int32", scope="local", annotations=ON_STACK)
        for unit, kb in T.grid(last - first, KB):
            ahead[0] = (((first + unit) // (P * SB) % G * P + (first + unit) % P) * KB + kb + 1) * layout.block
            for sb in range(T.min(BS, tiles.strips - (first + unit) // P % SB * BS)):
                strip: T.let[T.int32] = (first + unit) // P % SB * BS + sb
                for it in range(T.Select(strip < tiles.row_strips, tiles.row_tiles, tiles.edge_tiles)):
                    with T.sblock("tile"):
                        u = T.axis.spatial(shape.mb * G * SB * P, first + unit)
                        vkb = T.axis.reduce(KB, kb)
                        vsb = T.axis.spatial(BS, sb)
                        vit = T.axis.spatial(max(tiles.row_tiles, tiles.edge_tiles), it)
                        T.reads()
                        T.writes()
                        p: T.let[T.int32] = u % P
                        g: T.let[T.int32] = u // (P * SB) % G
                        n: T.let[T.int32] = u // (P * SB * G)
                        s: T.let[T.int32] = u // P % SB * BS + vsb
                        horizontal: T.let[T.bool] = s < tiles.row_strips
                        place(at, s, vit)
                        s0: T.let[T.int32] = at[S0]
                        s1: T.let[T.int32] = at[S1]
                        h: T.let[T.int64] = T.cast(n * IH + at[OY] * shape.sh - shape.ph, "int64")
                        w: T.let[T.int32] = at[OX] * shape.sw - shape.pw
                        channel: T.let[T.int32] = layout.panel_start(p) if DEPTHWISE else g * layout.channels + vkb * KC
                        pixel: T.let[T.int64] = (h * IW + w) * IC + channel
                        stride: T.let[T.int32] = T.Select(horizontal, shape.sw * IC, shape.sh * IW * IC)
                        panel: T.let[T.int32] = ((g * P + p) * KB + vkb) * TAPS
                        for i in range(MR):
                            with T.sblock("rows"):
                                vi = T.axis.spatial(MR, i)
                                T.reads()
                                T.writes(row[vi])
                                row[vi] = x + (pixel + T.cast(T.min(vi, at[COUNT] - 1) * stride, "int64")) * BYTES
                        for r, q in T.grid(at[R1] - at[R0], 1 if MERGED else s1 - s0):
                            for i in range(MR):
                                with T.sblock("run_rows"):
                                    vi, vr, vq = T.axis.remap("SSS", [i, r, q])
                                    T.reads(row[vi])
                                    T.writes(run_row[vi])
                                    tap: T.let[T.int32] = (at[R0] + vr) * DH * IW + (s0 + vq) * DW
                                    run_row[vi] = row[vi] + T.cast(tap, "int64") * (IC * BYTES)
                            start: T.let[T.int64] = T.cast((panel + (at[R0] + r) * KW + s0 + q) * KC, "int64")
                            length: T.let[T.int32] = (s1 - s0) * (IC // KR) if MERGED else KC // KR
                            multiply(acc, run_row, weights, ahead, start, 0, r, q, length)
                        m: T.let[T.int32] = n * shape.m + at[OY] * OW + at[OX]
                        write_back(acc, Y, bias, bounds, g, p, m, T.Select(horizontal, 1, OW), at[COUNT], vkb)

    return phase_function("run", run)
