"""Direct convolution: the loop nest itself, without extra memory. It never refuses: groups and depthwise are its own.

A register tile holds MR output pixels that need the same taps, so that padding costs no test in the inner loop: taps
outside the input are left out of the loops' ranges. Those are MR neighbours of one output row, where no tap falls over
the left or right edge; MR neighbours of one column near these edges, where none falls over the upper or lower one; and
single pixels in the corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmconv.algorithms.ir import ON_STACK, PLAIN_C, Phase, Program, no_preparation
from tvmconv.algorithms.packing import pack_function
from tvmconv.algorithms.register_tile import BYTES, MatrixView, write_back_block
from tvmconv.shape import ConvShape
from tvmconv.tile import Tile


@dataclass(frozen=True)
class Span:
    """Output positions of one axis: those before, inside and behind the range where every tap is inside the input."""

    size: int
    before: int
    inside: int

    @classmethod
    def of(cls, size: int, stride: int, pad: int, reach: int, extent: int) -> Span:
        """reach: from the first tap to the last one, in input positions; extent: of the input."""
        inside = [o for o in range(size) if o * stride >= pad and o * stride - pad + reach < extent]
        return cls(size, inside[0], len(inside)) if inside else cls(size, size, 0)

    @property
    def edges(self) -> int:
        return self.size - self.inside


class Direct:
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
        columns = Span.of(shape.ow, shape.sw, shape.pw, (shape.kw - 1) * (shape.dw + 1), shape.iw)
        return MatrixView(
            1, groups, columns.inside or 1, oc, shape.taps, shape.icg, tile, shape.depthwise, whole_k=True
        )

    def workspace(self, shape: ConvShape, tile: Tile, threads: int = 1) -> int:
        return 0

    def module(self, shape: ConvShape, tile: Tile) -> Program:
        view = self.view(shape, tile)
        tiles = Tiles(shape, tile.mr)
        return Program(
            functions={
                "pack": pack_function(shape, view.layout),
                "prepare": no_preparation(),
                "run": loop_nest(shape, view, tiles),
            },
            phases=(Phase("run", shape.mb * view.groups * view.layout.panels * tiles.strips),),
            images=1,
            packed_bytes=view.layout.elements * BYTES,
        )


class Tiles:
    """The tiles of one image, by strips: a strip is an output row, or a column near an edge."""

    def __init__(self, shape: ConvShape, mr: int) -> None:
        self.rows = Span.of(shape.oh, shape.sh, shape.ph, (shape.kh - 1) * (shape.dh + 1), shape.ih)
        self.columns = Span.of(shape.ow, shape.sw, shape.pw, (shape.kw - 1) * (shape.dw + 1), shape.iw)
        self.row_strips = shape.oh if self.columns.inside else 0
        self.row_tiles = -(-self.columns.inside // mr)  # of one output row
        self.column_tiles = -(-self.rows.inside // mr)  # of one edge column, without its corners
        self.edge_tiles = self.column_tiles + self.rows.edges  # with its corners
        self.strips = self.row_strips + self.columns.edges


def loop_nest(shape: ConvShape, view: MatrixView, tiles: Tiles) -> Any:
    """The phase that computes strips first … last−1 of all images, groups and panels, strips running fastest."""
    from tvm.ir import PointerType, PrimType
    from tvm.script import tirx as T

    tile, layout = view.tile, view.layout
    MR, NR = tile.mr, tile.nr
    G, P, _, _, _, _ = layout.weights_shape
    rows, columns = tiles.rows, tiles.columns
    KH, KW, DH, DW = shape.kh, shape.kw, shape.dh + 1, shape.dw + 1
    IH, IW, IC, OW = shape.ih, shape.iw, shape.ic, shape.ow
    # Where neighbouring taps' channels lie together in x, a row of taps is one run; else each tap is a run of its own.
    MERGED = DW == 1 and G == 1 and not shape.depthwise
    RUNS, RUN = (1, KW * IC) if MERGED else (KW, view.channels)
    KR = tile.kr
    OY, OX, COUNT, R0, R1, S0, S1 = range(7)
    DEPTHWISE = shape.depthwise
    F32 = PointerType(PrimType("float32"))
    write_back = write_back_block(layout)

    @T.prim_func(s_tir=True)
    def run(
        x: T.int64,
        packed: T.handle("float32"),
        y: T.handle("float32"),
        workspace: T.handle("float32"),
        address: T.int64,
        image: T.int32,
        first: T.int32,
        last: T.int32,
    ):
        T.func_attr({"global_symbol": "run", "tirx.noalias": True, "calling_conv": PLAIN_C})
        bounds = T.decl_buffer((2,), "float32", data=packed, align=4)
        bias = T.decl_buffer(layout.bias_shape, "float32", data=packed, elem_offset=layout.bias_offset, align=4)
        W = T.decl_buffer((G, P, KH, RUNS, RUN, NR), "float32", data=packed, elem_offset=layout.weights_offset, align=4)
        Y = T.decl_buffer((shape.mb * shape.m, shape.oc), "float32", data=y, align=4)
        acc = T.alloc_buffer((MR, NR), "float32", scope="local", annotations=ON_STACK)
        row = T.alloc_buffer((MR,), "int64", scope="local", annotations=ON_STACK)
        at = T.alloc_buffer((7,), "int32", scope="local", annotations=ON_STACK)
        for unit in range(last - first):
            strip: T.let[T.int32] = (first + unit) % tiles.strips
            along_row: T.let[T.bool] = strip < tiles.row_strips
            for it in range(T.Select(along_row, tiles.row_tiles, tiles.edge_tiles)):
                with T.sblock("tile"):
                    u = T.axis.spatial(shape.mb * G * P * tiles.strips, first + unit)
                    vit = T.axis.spatial(max(tiles.row_tiles, tiles.edge_tiles), it)
                    T.reads()
                    T.writes()
                    p: T.let[T.int32] = u // tiles.strips % P
                    g: T.let[T.int32] = u // (tiles.strips * P) % G
                    n: T.let[T.int32] = u // (tiles.strips * P * G)
                    s: T.let[T.int32] = u % tiles.strips
                    horizontal: T.let[T.bool] = s < tiles.row_strips
                    corner: T.let[T.int32] = vit - tiles.column_tiles
                    edge: T.let[T.int32] = s - tiles.row_strips
                    # Where the tile lies: first output pixel, pixels, ranges of taps inside the input, which are those
                    # with 0 ≤ h + r·DH < IH, and likewise along the width. In memory (and from there in
                    # registers), since TVM's simplifier is exponential in nested selects that it can look into.
                    with T.sblock("place"):
                        T.reads()
                        T.writes(at[0:7])
                        if horizontal:
                            at[OY] = s
                            at[OX] = columns.before + vit * MR
                            at[COUNT] = T.min(columns.inside - vit * MR, MR)
                        else:
                            at[OX] = edge + T.Select(edge < columns.before, 0, columns.inside)
                            if corner < 0:
                                at[OY] = rows.before + vit * MR
                                at[COUNT] = T.min(rows.inside - vit * MR, MR)
                            else:
                                at[OY] = corner + T.Select(corner < rows.before, 0, rows.inside)
                                at[COUNT] = 1
                        at[R0] = T.min(T.max((DH - 1 + shape.ph - at[OY] * shape.sh) // DH, 0), KH)
                        at[R1] = T.max(T.min((IH + DH - 1 + shape.ph - at[OY] * shape.sh) // DH, KH), at[R0])
                        at[S0] = T.min(T.max((DW - 1 + shape.pw - at[OX] * shape.sw) // DW, 0), KW)
                        at[S1] = T.max(T.min((IW + DW - 1 + shape.pw - at[OX] * shape.sw) // DW, KW), at[S0])
                    r0: T.let[T.int32] = at[R0]
                    r1: T.let[T.int32] = at[R1]
                    s0: T.let[T.int32] = at[S0]
                    s1: T.let[T.int32] = at[S1]
                    h: T.let[T.int64] = T.cast(n * IH + at[OY] * shape.sh - shape.ph, "int64")
                    w: T.let[T.int32] = at[OX] * shape.sw - shape.pw
                    channel: T.let[T.int32] = layout.panel_start(p) if DEPTHWISE else g * view.channels
                    pixel: T.let[T.int64] = (h * IW + w) * IC + channel
                    stride: T.let[T.int32] = T.Select(horizontal, shape.sw * IC, shape.sh * IW * IC)
                    for i in range(MR):
                        with T.sblock("rows"):
                            vi = T.axis.spatial(MR, i)
                            T.reads()
                            T.writes(row[vi])
                            row[vi] = x + (pixel + T.cast(T.min(vi, at[COUNT] - 1) * stride, "int64")) * BYTES
                    for r, q, co, ci in T.grid(
                        r1 - r0, 1 if MERGED else s1 - s0, ((s1 - s0) * IC if MERGED else RUN) // KR, KR
                    ):
                        for i, j in T.grid(MR, NR):
                            with T.sblock("update"):
                                vi, vj, vr, vq, vco, vci = T.axis.remap("SSRRRR", [i, j, r, q, co, ci])
                                T.reads(row[vi])
                                T.writes(acc[vi, vj])
                                with T.init():
                                    acc[vi, vj] = T.float32(0)
                                tap: T.let[T.int32] = s0 + vq
                                k: T.let[T.int32] = vco * KR + vci
                                start: T.let[T.handle("float32")] = T.reinterpret(F32, row[vi])
                                X = T.decl_buffer((IH * IW * IC,), "float32", data=start, align=4)
                                offset: T.let[T.int64] = T.cast(((r0 + vr) * DH * IW + tap * DW) * IC, "int64") + k
                                acc[vi, vj] = (
                                    acc[vi, vj]
                                    + X[offset + (vj if DEPTHWISE else 0)]
                                    * W[g, p, r0 + vr, 0 if MERGED else tap, (s0 * IC if MERGED else 0) + k, vj]
                                )
                    m: T.let[T.int32] = n * shape.m + at[OY] * OW + at[OX]
                    write_back(acc, Y, bias, bounds, g, p, m, T.Select(horizontal, 1, OW), at[COUNT], 0)

    return run
